"""The steps of a naming, as plain functions: state and tools in, what changed out.

A node may run twice (a crash between its work and its checkpoint): drawing and scoring are ledgered, seeds
are hashes, and a proposer answers the same view the same, so a repetition costs nothing and changes
nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agent.budget import Budget, Grant, Refusal, Spent
from agent.concluding import measured, raceable
from agent.events import Asked, Event, Happening, Judged, Observed, Planned, Raced, Scored
from agent.judge import Case, judge
from agent.plans import ConcludePlan, Plan, ShowPlan, proposals_of
from agent.proposer import Hint, Turn, View
from agent.race import Track, run_race
from agent.recording import explain, fired_images
from agent.records import Proposal, Trial
from agent.rivals import race_record
from agent.seeds import seeds_of
from agent.shots import Wanted, control_activations, draw_shots, every, score_shots
from agent.state import NamingState, Shot
from agent.toolbox import Toolbox
from agent.verdict import Bars
from sae.feature import Exemplar
from tools.errors import ToolError
from tools.protocols import GeneratorCard

BANDS: tuple[tuple[float, float, int], ...] = ((0.99, 1.0, 4), (0.9, 0.99, 3), (0.5, 0.9, 3), (0.0, 0.5, 2))
"""Quantile bands (low, high, count) of the exemplars first shown."""
HINTS = 12
"""Prompts of earlier runs that are shown."""
STIRRED = 0.6
"""Race AUROC from which a winner is judged although none of its images fired."""


def observe(state: NamingState, toolbox: Toolbox) -> NamingState:
    """What is known before any drawing; after a show plan, one more band of exemplars."""
    plan = state.get("plan")
    if isinstance(plan, ShowPlan):
        return _show_more(state, toolbox, plan=plan)
    index = state["feature"].index
    facts = toolbox.exemplars.facts(index)
    found: list[Exemplar] = []
    for low, high, count in BANDS if facts.density > 0 else ():
        found += toolbox.exemplars(index, count=count, low=low, high=high)
    exemplars = tuple({each.image: each for each in found}.values())
    fires = toolbox.bank.prompts_that_fire(index, top=HINTS)
    hints = tuple(
        Hint(prompt=untemplated(each.prompt, toolbox.draw.card), activation=each.activation, images=each.n)
        for each in fires
    )
    _tell(
        state, toolbox, node="observe", what=Observed(facts=facts, exemplars=len(exemplars), hints=len(hints))
    )
    return {"facts": facts, "exemplars": exemplars, "hints": hints}


def propose(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Ask the proposer for a plan, and grant of it what the budget allows."""
    budget, proposer = budget_of(state), toolbox.proposer
    stop = budget.exhausted(paid=proposer.paid)
    turn = Turn(plan=ConcludePlan())
    if budget.may_ask(paid=proposer.paid):
        turn = proposer.plan(view_of(state, toolbox, must_conclude=stop is not None))
    plan: Plan = turn.plan
    if stop is not None and not (isinstance(plan, ConcludePlan) and plan.candidates):
        plan = ConcludePlan(reason=f"the limit of {stop} is reached")
    grant = budget.grant(
        proposals_of(plan), Counter(each.proposal.prompt for each in state.get("trials", ()))
    )
    for call in turn.calls:
        _tell(state, toolbox, node="propose", what=Asked(call=call))
    _tell(state, toolbox, node="propose", what=_planned(plan, grant))
    spent = budget.spent
    return {
        "plan": plan,
        "granted": grant.proposals,
        "refused": (*state.get("refused", ()), *grant.refused),
        "spent": spent.model_copy(update={"rounds": spent.rounds + 1, "usage": spent.usage + turn.usage}),
    }


def draw(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Draw the granted prompts with the seeds of this round, common to them.

    The next round has others: what a prompt leaves open (a colour, a place) goes with the seed, and over two
    seeds alone it would pass for what the feature responds to.
    """
    settings, each = state["settings"], state["settings"].images_per_prompt
    start = (state["spent"].rounds - 1) * each
    seeds = seeds_of(settings.seed, "search", start=start, count=each)
    wanted = every((proposal.prompt for proposal in state["granted"]), seeds)
    shots = draw_shots(toolbox, wanted, template=toolbox.draw.card.search_template)
    return {"shots": tuple(shots), "spent": charged(state, shots)}


def score(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Score what was drawn, bank it, and turn it into trials."""
    template = toolbox.draw.card.search_template
    shots = score_shots(toolbox, state["shots"], index=state["feature"].index, bank=template)
    trials = tuple(_trial(proposal, shots) for proposal in state["granted"])
    refused = [Refusal(prompt=trial.proposal.prompt, why=trial.fault) for trial in trials if trial.fault]
    _tell(state, toolbox, node="score", what=Scored(trials=trials, search=state["spent"].search))
    return {
        "trials": (*state.get("trials", ()), *trials),
        "refused": (*state.get("refused", ()), *refused),
        "shots": (),
        "granted": (),
    }


def conclude(state: NamingState, toolbox: Toolbox) -> NamingState:
    """The names that race: the proposer's that can be drawn; where there are none, the best measured
    prompts."""
    plan = state["plan"]
    proposed = plan.candidates if isinstance(plan, ConcludePlan) else ()
    kept = raceable(proposed, toolbox.draw.card)
    return {"candidates": kept or measured(state.get("trials", ()), state["facts"].p99)}


def race(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Race the names on fresh seeds."""
    index, settings = state["feature"].index, state["settings"]
    template = toolbox.draw.card.search_template

    def arena(wanted: Sequence[Wanted]) -> list[Shot]:
        return score_shots(
            toolbox, draw_shots(toolbox, wanted, template=template), index=index, bank=template
        )

    images = budget_of(state).left(race=True)
    outcome = run_race(state["candidates"], Track(arena, images, state["facts"].p99, settings.seed))
    control = control_activations(toolbox, index)
    kept = race_record(outcome, control, toolbox=toolbox, threshold=state["facts"].threshold)
    spent = charged(state, outcome.shots)
    winner = kept.winner.name if kept.winner else None
    told = Raced(rivals=kept.rivals, winner=winner, decided=kept.decided, search=spent.search)
    _tell(state, toolbox, node="race", what=told)
    return {"raced": kept, "spent": spent}


def judge_winner(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Hand the winner to the sealed judge."""
    winner = state["raced"].winner
    if winner is None:
        raise ValueError("The judge was called without a winner; the race must come first.")
    settings, spent = state["settings"], state["spent"]
    images = settings.limits.sealed
    case = Case(
        feature=state["feature"], facts=state["facts"], candidate=winner, images=images, seed=settings.seed
    )
    judgement = judge(toolbox, case)
    told = Judged(
        name=winner.name, sealed=judgement.sealed, floor=judgement.floor, floor_names=judgement.floor_names
    )
    _tell(state, toolbox, node="judge", what=told)
    return {"judgement": judgement, "spent": spent.model_copy(update={"sealed": images})}


def record(state: NamingState, toolbox: Toolbox) -> NamingState:
    """The explanation, from everything before it."""
    return {"explanation": explain(state, proposer=toolbox.proposer, now=toolbox.clock())}


def after_observe(state: NamingState) -> str:
    """Features that say nothing end here: never on, or nearly always."""
    facts = state["facts"]
    return "record" if facts.density <= 0 or facts.density >= Bars().dense else "propose"


def after_propose(state: NamingState) -> str:
    """Draw what was granted; look again; conclude; or, when nothing was granted, ask for another plan."""
    if isinstance(state["plan"], ConcludePlan):
        return "conclude"
    if isinstance(state["plan"], ShowPlan):
        return "observe"
    return "draw" if state["granted"] else "propose"


def after_conclude(state: NamingState) -> str:
    """Without a name there is no race."""
    return "race" if state["candidates"] else "record"


def after_race(state: NamingState) -> str:
    """A name on which nothing ever fired is not worth sealed images."""
    stirred = fired_images(state) > 0 or (state["raced"].score or 0.0) >= STIRRED
    return "judge" if state["raced"].winner is not None and stirred else "record"


def budget_of(state: NamingState) -> Budget:
    """The run's budget as it stands."""
    settings = state["settings"]
    return Budget(settings.limits, state["spent"], settings.images_per_prompt)


def view_of(state: NamingState, toolbox: Toolbox, *, must_conclude: bool) -> View:
    """What the proposer may know."""
    budget, settings = budget_of(state), state["settings"]
    return View(
        feature=state["feature"],
        facts=state["facts"],
        exemplars=state.get("exemplars", ()),
        hints=state.get("hints", ()),
        trials=state.get("trials", ()),
        refused=state.get("refused", ()),
        card=toolbox.draw.card,
        round=budget.spent.rounds,
        seed=settings.seed,
        images_per_prompt=settings.images_per_prompt,
        images_left=budget.left(),
        race_left=budget.left(race=True),
        must_conclude=must_conclude,
    )


def charged(state: NamingState, shots: Sequence[Shot]) -> Spent:
    """What was spent once these shots of the search are charged."""
    spent = state["spent"]
    return spent.model_copy(update={"search": spent.search + sum(shot.charged for shot in shots)})


def untemplated(prompt: str, card: GeneratorCard) -> str:
    """A drawn prompt without the generator's search template."""
    before, _, after = card.search_template.partition("{}")
    return prompt.removeprefix(before).removesuffix(after)


def _show_more(state: NamingState, toolbox: Toolbox, *, plan: ShowPlan) -> NamingState:
    try:
        more = toolbox.exemplars(state["feature"].index, count=plan.count, low=plan.low, high=plan.high)
    except ToolError as error:
        return {"refused": (*state.get("refused", ()), Refusal(prompt="show", why=str(error)))}
    known = {each.image: each for each in (*state["exemplars"], *more)}
    told = Observed(facts=state["facts"], exemplars=len(known), hints=len(state["hints"]))
    _tell(state, toolbox, node="observe", what=told)
    return {"exemplars": tuple(sorted(known.values(), key=lambda each: -each.activation))}


def _planned(plan: Plan, grant: Grant) -> Planned:
    told = Planned(plan=plan.kind, granted=grant.proposals, refused=grant.refused)
    if not isinstance(plan, ConcludePlan):
        return told
    names = tuple(each.name for each in plan.candidates)
    return told.model_copy(update={"reason": plan.reason, "names": names})


def _trial(proposal: Proposal, shots: Sequence[Shot]) -> Trial:
    mine = [shot for shot in shots if shot.prompt == proposal.prompt]
    drawn = [shot for shot in mine if shot.charged]
    return Trial(
        proposal=proposal,
        images=tuple(shot.image for shot in drawn),
        seeds=tuple(shot.seed for shot in drawn),
        activations=tuple(shot.activation for shot in drawn),
        fault=next((shot.fault for shot in mine if not shot.charged), None),
    )


def _tell(state: NamingState, toolbox: Toolbox, *, node: str, what: Happening) -> None:
    spent = state.get("spent", Spent())
    toolbox.emit(Event(run=state["run"], at=toolbox.clock(), node=node, round=spent.rounds, what=what))
