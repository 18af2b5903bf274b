"""The first node: what is known of a feature before any drawing."""

from __future__ import annotations

from collections.abc import Collection

from agent.bookkeeping import tell
from agent.budget import Refusal
from agent.events import Observed
from agent.plans import ShowPlan
from agent.proposer import Hint
from agent.request import Ablation
from agent.state import NamingState
from agent.toolbox import Toolbox
from agent.verdict import Bars
from sae.feature import Exemplar
from tools.errors import ToolError
from tools.protocols import FeatureFacts, GeneratorCard

BANDS: tuple[tuple[float, float, int], ...] = ((0.99, 1.0, 4), (0.9, 0.99, 3), (0.5, 0.9, 3), (0.0, 0.5, 2))
"""Quantile bands (low, high, count) of the exemplars first shown."""
KNOWN = 400
"""Prompts of earlier runs that are known: as many that fired, and as many that did not."""


def observe(state: NamingState, toolbox: Toolbox) -> NamingState:
    """What is known before any drawing; after a show plan, one more band of exemplars."""
    plan = state.get("plan")
    if isinstance(plan, ShowPlan):
        return _show_more(state, toolbox, plan=plan)
    index, without = state["feature"].index, state["settings"].without
    facts = known_facts(toolbox.exemplars.facts(index), without)
    found: list[Exemplar] = []
    for low, high, count in BANDS if facts.density > 0 and "exemplars" not in without else ():
        found += toolbox.exemplars(index, count=count, low=low, high=high)
    exemplars = tuple({each.image: each for each in found}.values())
    hints = () if "bank" in without else known_prompts(toolbox, index)
    tell(
        state, toolbox, node="observe", what=Observed(facts=facts, exemplars=len(exemplars), hints=len(hints))
    )
    return {"facts": facts, "exemplars": exemplars, "hints": hints}


def after_observe(state: NamingState) -> str:
    """Features that say nothing end here: never on, or nearly always."""
    facts = state["facts"]
    return "record" if facts.density <= 0 or facts.density >= Bars().dense else "propose"


def known_facts(facts: FeatureFacts, without: Collection[Ablation]) -> FeatureFacts:
    """The facts that a run without some parts has: for all of it, the unit of its rewards included."""
    hidden: dict[str, tuple[()]] = {}
    if "vocabulary" in without:
        hidden |= {"vocabulary": ()}
    if "tags" in without:
        hidden |= {"tags": (), "readings": ()}
    return facts.model_copy(update=hidden) if hidden else facts


def known_prompts(toolbox: Toolbox, index: int) -> tuple[Hint, ...]:
    """What the bank knows of a feature before its own search: prompts that fired it, strongest first, and
    prompts that did not."""
    card = toolbox.draw.card
    return tuple(
        Hint(
            prompt=untemplated(each.prompt, card),
            activation=sum(each.activations) / each.n,
            images=each.n,
            fired=each.activations,
        )
        for each in toolbox.bank.responses(index, top=KNOWN, quiet=KNOWN)
    )


def untemplated(prompt: str, card: GeneratorCard) -> str:
    """A drawn prompt without the generator's search template."""
    before, _, after = card.search_template.partition("{}")
    return prompt.removeprefix(before).removesuffix(after)


def _show_more(state: NamingState, toolbox: Toolbox, *, plan: ShowPlan) -> NamingState:
    if "exemplars" in state["settings"].without:
        refusal = Refusal(prompt="show", why="this run shows no exemplars")
        return {"refused": (*state.get("refused", ()), refusal)}
    try:
        more = toolbox.exemplars(state["feature"].index, count=plan.count, low=plan.low, high=plan.high)
    except ToolError as error:
        return {"refused": (*state.get("refused", ()), Refusal(prompt="show", why=str(error)))}
    known = {each.image: each for each in (*state["exemplars"], *more)}
    told = Observed(facts=state["facts"], exemplars=len(known), hints=len(state["hints"]))
    tell(state, toolbox, node="observe", what=told)
    return {"exemplars": tuple(sorted(known.values(), key=lambda each: -each.activation))}
