"""The steps of a naming, as plain functions: state and tools in, what changed out.

A node may run twice (a crash between its work and its checkpoint): drawing and scoring are ledgered, seeds
are hashes, and a proposer answers the same view the same, so a repetition costs nothing and changes
nothing.
"""

from __future__ import annotations

from collections import Counter

from agent.bookkeeping import budget_of, charged, tell, trial_of
from agent.budget import Grant, Refusal
from agent.concluding import measured, raceable
from agent.events import Asked, Judged, Planned, Scored
from agent.judge import Case, judge
from agent.plans import ConcludePlan, Plan, ShowPlan, proposals_of
from agent.proposer import Turn, View
from agent.recording import explain
from agent.reward import Scale
from agent.seeds import seeds_of
from agent.shots import draw_shots, every, score_shots
from agent.sight import look
from agent.state import NamingState
from agent.told import with_told
from agent.toolbox import Toolbox


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
    grant = _granted(plan, state)
    for call in turn.calls:
        tell(state, toolbox, node="propose", what=Asked(call=call))
    tell(state, toolbox, node="propose", what=_planned(plan, grant, turn=turn))
    spent = budget.spent
    return {
        "plan": plan,
        "hypotheses": turn.hypotheses or state.get("hypotheses", ()),
        "granted": grant.proposals,
        "refused": (*state.get("refused", ()), *grant.refused),
        "spent": spent.model_copy(update={"rounds": spent.rounds + 1, "usage": spent.usage + turn.usage}),
    }


def draw(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Draw the granted prompts with the seeds of this round, common to them.

    The next round has others: what a prompt leaves open (a colour, a place) goes with the seed, and over two
    seeds alone it would pass for what the feature responds to.
    """
    settings, each = state["settings"], state["settings"].per_prompt
    start = (state["spent"].rounds - 1) * each
    seeds = seeds_of(settings.seed, "search", start=start, count=each)
    wanted = every((proposal.prompt for proposal in state["granted"]), seeds)
    shots = draw_shots(toolbox, wanted, template=toolbox.draw.card.search_template)
    return {"shots": tuple(shots), "spent": charged(state, shots)}


def score(state: NamingState, toolbox: Toolbox) -> NamingState:
    """Score what was drawn, bank it, and turn it into trials."""
    template = toolbox.draw.card.search_template
    shots = score_shots(toolbox, state["shots"], index=state["feature"].index, bank=template)
    trials = tuple(trial_of(proposal, shots) for proposal in state["granted"])
    refused = [Refusal(prompt=trial.proposal.prompt, why=trial.fault) for trial in trials if trial.fault]
    tell(state, toolbox, node="score", what=Scored(trials=trials, search=state["spent"].search))
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
    if "self-check" in state["settings"].without:
        kept = tuple(each.model_copy(update={"fires": (), "rests": ()}) for each in kept)
    racing = kept or measured(state.get("trials", ()), Scale.of(state["facts"]))
    return {"candidates": tuple(with_told(each, state["facts"].readings) for each in racing)}


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
    tell(state, toolbox, node="judge", what=told)
    return {"judgement": judgement, "spent": spent.model_copy(update={"sealed": images})}


def record(state: NamingState, toolbox: Toolbox) -> NamingState:
    """The explanation, from everything before it."""
    seen = look(state, toolbox)
    return {"explanation": explain(state, proposer=toolbox.proposer, now=toolbox.clock(), sightings=seen)}


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
        images_per_prompt=settings.per_prompt,
        images_left=budget.left(),
        race_left=budget.left(race=True),
        must_conclude=must_conclude,
        without=settings.without,
    )


def _granted(plan: Plan, state: NamingState) -> Grant:
    wanted, tries = proposals_of(plan), "contradictions" not in state["settings"].without
    barred = [each for each in wanted if not tries and "contradict" in (plan.kind, each.intent)]
    drawn = Counter(each.proposal.prompt for each in state.get("trials", ()))
    grant = budget_of(state).grant([each for each in wanted if each not in barred], drawn)
    refused = tuple(Refusal(prompt=each.prompt, why="this run tries to refute nothing") for each in barred)
    return Grant(proposals=grant.proposals, refused=(*refused, *grant.refused))


def _planned(plan: Plan, grant: Grant, *, turn: Turn) -> Planned:
    told = Planned(plan=plan.kind, granted=grant.proposals, refused=grant.refused, hypotheses=turn.hypotheses)
    if not isinstance(plan, ConcludePlan):
        return told
    names = tuple(each.name for each in plan.candidates)
    return told.model_copy(update={"reason": plan.reason, "names": names})
