"""What the race measured of each name, against the control set."""

from __future__ import annotations

from agent.plans import Candidate
from agent.race import Outcome
from agent.records import Rival
from agent.shots import activations
from agent.state import RaceRecord
from agent.toolbox import Toolbox
from tools.protocols import Floats


def race_record(outcome: Outcome, control: Floats, *, toolbox: Toolbox, threshold: float) -> RaceRecord:
    """The race as it is kept: every name with its AUROC on images of its own prompts, the winner first."""
    rivals = [
        _rival(each, outcome, control=control, toolbox=toolbox, threshold=threshold) for each in outcome.order
    ]
    return RaceRecord(
        shots=outcome.shots,
        rivals=tuple(rivals),
        winner=outcome.order[0] if outcome.order else None,
        decided=outcome.decided,
        score=rivals[0].auroc if rivals else None,
        check=outcome.check,
    )


def _rival(
    candidate: Candidate, outcome: Outcome, *, control: Floats, toolbox: Toolbox, threshold: float
) -> Rival:
    own = activations(shot for shot in outcome.shots if shot.prompt in candidate.prompts)
    if not len(own):
        return Rival(name=candidate.name, auroc=None, auroc_ci=None, rate=None, n_images=0)
    score = toolbox.cosy(own, control, threshold=threshold)
    return Rival(
        name=candidate.name,
        auroc=score.auroc,
        auroc_ci=score.auroc_ci,
        rate=score.activation_rate,
        n_images=len(own),
    )
