"""The name whose text lies nearest a decoder direction, as Discover-then-Name and MSAE name features.

Plain cosine (arXiv 2407.14499, 2502.20578): no mean is taken off the texts. It works only where the
dictionary reads the shared output space of an image-text model.
"""

from __future__ import annotations

import numpy as np

from evals.answer import Answer, Step
from evals.per_owner import PerOwner
from evals.plain_condition import PlainCondition
from evals.subject import Case, Subject
from evals.wordlist import names_of
from tools.protocols import Floats

SHOWN = 5


class Cosine(PlainCondition):
    """argmax over the list of names of cos(decoder row, text in the generator's search template)."""

    @property
    def title(self) -> str:
        """What reports call it."""
        return "decoder cosine"

    def lacks(self, subject: Subject) -> str | None:
        """A decoder whose directions can be compared with texts."""
        joint = subject.joint
        return None if joint is not None and joint.holds_decoder else "a decoder in a joint image-text space"

    def answer(self, case: Case) -> Answer:
        """The nearest name. A direction of length 0 has none."""
        direction = case.subject.decoder()[case.feature.index]
        length = float(np.linalg.norm(direction))
        if length == 0:
            return Answer(name=None, code="no_direction")
        names = names_of(case.subject.lexicon)
        cosines = self._texts(case, names) @ (direction / length)
        best = np.argsort(-cosines, kind="stable")[:SHOWN]
        steps = tuple(Step(text=names[at], score=float(cosines[at])) for at in best)
        return Answer(name=steps[0].text, score=steps[0].score, steps=steps)

    def _texts(self, case: Case, names: tuple[str, ...]) -> Floats:
        joint, template = case.subject.joint, case.toolbox.draw.card.search_template
        if joint is None:
            raise ValueError(f"Dictionary {case.subject.dictionary} has no image-text model; see lacks().")
        return _known.get(
            case.subject, template, lambda: joint.texts([template.format(name) for name in names])
        )


_known: PerOwner[Floats] = PerOwner()
