"""The typed tools on planted features, alone and in a graph that is not ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from pydantic import Field

from agent import tool_results as results
from agent.budget import Limits
from agent.feature_tools import TOOLS, FeatureKit, RefusedCall, call_tool, langchain_tools
from agent.records import Explanation
from agent.tool_drawing import mean_interval
from agent.tool_purse import Purse
from agent.usage import Usage
from sae.feature import Feature
from tests.naming_world import MemoryBank, Workshop
from tools.bank import PromptFiring
from tools.protocols import CosyScore, Interval

STRIPED, FISH, DEAD = 0, 1, 8


class Untouchable:
    """A sealed partition that no tool may read."""

    def add(self, name: str, images: Sequence[str]) -> None:
        raise AssertionError("a tool wrote sealed images")

    def others(self, name: str, *, top: int) -> dict[str, tuple[str, ...]]:
        raise AssertionError("a tool read sealed images")


def kit_of(
    shop: Workshop | None = None, *, images: int = 100, named: Explanation | None = None
) -> FeatureKit:
    shop = shop or Workshop()
    toolbox = replace(shop.toolbox, sealed=Untouchable())
    purse = Purse(Limits(images=images, race_images=0))
    return FeatureKit(toolbox, "fake", purse=purse, latest_name=lambda feature: named)


def drawn(kit: FeatureKit, *prompts: str, images: int = 2, index: int = STRIPED) -> results.Drawn:
    asked = {"index": index, "prompts": list(prompts), "images_per_prompt": images}
    result = call_tool(kit, "draw_and_score", asked)
    assert isinstance(result, results.Drawn)
    return result


def test_drawn_prompts_come_with_pictures_figures_and_their_ids() -> None:
    shop = Workshop()
    kit = kit_of(shop)
    result = drawn(kit, "striped fish", "fish", images=3)
    stripes, plain = result.prompts
    assert [each.id for each in stripes.pictures] == ["img-1", "img-2", "img-3"]
    assert stripes.mean is not None and stripes.mean.value > 0.5
    assert stripes.rate is not None and (stripes.rate.value, stripes.rate.high) == (1.0, 1.0)
    assert plain.rate is not None and plain.rate.value == 0.0
    assert kit.catalogue.figures[stripes.rate.id] == stripes.rate
    assert all(shop.draw.counts.values()) and result.images_left == 94
    assert {each.image for each in stripes.pictures} == {
        kit.catalogue.pictures[each.id].image for each in stripes.pictures
    }
    # The same again shows the same pictures under the same ids, and is charged again.
    assert drawn(kit, "striped fish", images=3).prompts == (stripes,)
    assert kit.purse.spent.search == 9


def test_a_word_that_the_generator_does_not_know_is_refused_and_costs_nothing() -> None:
    kit = kit_of()
    result = drawn(kit, "a zebra", "striped")
    assert [each.prompt for each in result.prompts] == ["striped"]
    (refusal,) = result.refused
    assert refusal.prompt == "a zebra" and "does not know 'zebra'" in refusal.why
    assert kit.purse.spent.search == 2
    with pytest.raises(RefusedCall, match="does not know 'zebra'"):
        call_tool(kit, "compare_pair", {"index": 0, "first": "a zebra", "second": "a horse"})


@pytest.mark.parametrize(("images", "granted"), [(5, 2), (4, 2), (1, 0)])
def test_the_budget_grants_whole_prompts_and_refuses_the_rest(images: int, granted: int) -> None:
    kit = kit_of(images=images)
    result = drawn(kit, "striped", "fish", "red")
    assert len(result.prompts) == granted and len(result.refused) == 3 - granted
    assert all("images left" in each.why for each in result.refused)
    assert kit.purse.spent.search == 2 * granted and result.images_left == images - 2 * granted
    with pytest.raises(RefusedCall, match="images left"):
        call_tool(kit, "compare_pair", {"index": 0, "first": "striped", "second": "red"})


def test_nothing_that_is_drawn_here_is_banked() -> None:
    shop = Workshop()
    drawn(kit_of(shop), "striped")
    assert shop.bank.rows == {}


def test_a_pair_is_compared_on_the_same_seeds_with_an_interval() -> None:
    shop = Workshop()
    result = call_tool(kit_of(shop), "compare_pair", {"index": 0, "first": "striped fish", "second": "fish"})
    assert isinstance(result, results.Pair) and result.difference is not None
    seeds = {prompt: {r.seed for r in shop.draw.counts if r.prompt == prompt} for prompt in
             {r.prompt for r in shop.draw.counts}}  # fmt: skip
    assert len(seeds) == 2 and len(set(map(frozenset, seeds.values()))) == 1
    low, high = result.difference.low, result.difference.high
    assert low is not None and high is not None and 0 < low < result.difference.value < high
    assert "'striped fish' less that on 'fish', 6 shared seeds" in result.difference.meaning


def test_the_interval_of_few_differences_is_students() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert found is not None
    assert found.low == pytest.approx(2 - 4.302652729911275 / 3**0.5)
    assert found.high == pytest.approx(2 + 4.302652729911275 / 3**0.5)
    assert mean_interval([1.0]) is None


def test_pictures_that_cannot_be_used_are_counted_and_not_scored() -> None:
    from tests.naming_world import world
    from tools.fakes import FakeGenerator

    painter = FakeGenerator(world().store, faulty={"ball": "black"})
    kit = kit_of(Workshop(draw=painter))
    (score,) = drawn(kit, "ball", images=3).prompts
    assert (score.unusable, score.pictures, score.mean, score.rate) == (3, (), None, None)
    pair = call_tool(kit, "compare_pair", {"index": 0, "first": "ball", "second": "striped"})
    assert isinstance(pair, results.Pair) and pair.difference is None


def test_what_is_known_without_drawing() -> None:
    shop = Workshop()
    kit = kit_of(shop)
    facts = call_tool(kit, "show_facts", {"index": STRIPED})
    assert isinstance(facts, results.Facts) and facts.exemplars_show[0].word == "striped"
    shown = call_tool(kit, "show_exemplars", {"index": STRIPED, "count": 3})
    assert isinstance(shown, results.Exemplars) and len(shown.pictures) == 3
    assert shown.pictures[0].activation >= shown.pictures[-1].activation > 0.5
    control = call_tool(kit, "control_rate", {"index": STRIPED})
    assert isinstance(control, results.ControlRate) and control.images == 1000
    assert control.rate.low is not None and control.rate.low < control.rate.value < 0.5
    near = call_tool(kit, "neighbours", {"index": STRIPED})
    assert isinstance(near, results.Neighbours) and 4 in [each.index for each in near.neighbours]
    assert sum(shop.draw.counts.values()) == 0 and kit.purse.spent.search == 0


def test_the_banks_prompts_are_in_units_of_the_feature() -> None:
    shop = Workshop()
    kit = kit_of(shop)

    class Bank(MemoryBank):
        def prompts_that_fire(self, index: int, *, top: int) -> list[PromptFiring]:
            return [PromptFiring("a striped cat", 2 * kit.facts(index).p99, 4)][:top]

    kit.toolbox = replace(kit.toolbox, bank=Bank())
    found = call_tool(kit, "bank_prompts", {"index": STRIPED, "top": 3})
    assert isinstance(found, results.BankPrompts)
    assert (found.prompts[0].prompt, found.prompts[0].mean.value) == ("a striped cat", 2.0)


def test_a_stored_name_shows_its_figures_and_no_sealed_picture() -> None:
    interval = Interval(low=0.8, high=0.9)
    sealed = CosyScore(
        auroc=0.85, auroc_ci=interval, ceiling=0.9, mad=1.0, max_mad=1.0, n_generated=50, n_control=1000,
        activation_rate=0.8, activation_rate_ci=interval, control_rate=0.1, control_rate_ci=interval,
    )  # fmt: skip
    named = Explanation(
        feature=Feature(dictionary="fake", index=0),
        name="striped",
        verdict="named",
        confidence=0.9,
        sealed=sealed,
    )
    found = call_tool(kit_of(named=named), "show_name", {"index": 0})
    assert isinstance(found, results.StoredName) and found.auroc is not None
    assert (found.name, found.auroc.value, found.auroc.low) == ("striped", 0.85, 0.8)
    assert "img" not in results.told(found)
    nothing = call_tool(kit_of(), "show_name", {"index": 0})
    assert isinstance(nothing, results.StoredName) and nothing.name is None


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("write_name", {"index": 0}, "There is no tool 'write_name'"),
        ("show_facts", {}, "index: Field required"),
        ("show_facts", {"index": 999}, "out of range"),
        ("show_facts", '{"index": ', "JSON"),
        ("show_facts", "[" * 100_000, "JSON"),
        ("show_facts", {"index": 0, "sealed": True}, "sealed: Extra inputs"),
        ("show_exemplars", {"index": 0, "low": 0.9, "high": 0.5}, "low 0.9 is not below high 0.5"),
        ("draw_and_score", {"index": 0, "prompts": []}, "prompts"),
        ("draw_and_score", {"index": 0, "prompts": ["a\x1b[31m"]}, "cannot be printed"),
        ("draw_and_score", {"index": 0, "prompts": ["x"], "images_per_prompt": 99}, "images_per_prompt"),
        ("draw_and_score", {"index": DEAD, "prompts": ["striped"]}, "never fires"),
        ("compare_pair", {"index": 0, "first": "fish", "second": "fish"}, "are the same"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(name: str, arguments: Any, why: str) -> None:
    kit = kit_of()
    with pytest.raises(RefusedCall, match=why.replace("[", r"\[")):
        call_tool(kit, name, arguments)
    assert kit.purse.spent.search == 0


@given(st.text(max_size=200))
def test_no_arguments_break_a_tool(arguments: str) -> None:
    kit = kit_of()
    for name in TOOLS:
        try:
            call_tool(kit, name, arguments)
        except RefusedCall as refused:
            assert str(refused)


def test_what_an_llm_reads_has_ids_and_no_hashes() -> None:
    kit = kit_of()
    told = results.told(drawn(kit, "striped"))
    read = json.loads(told)
    assert told.isascii() and [each["id"] for each in read["prompts"][0]["pictures"]] == ["img-1", "img-2"]
    assert all(each.image not in told for each in kit.catalogue.pictures.values())


def test_threads_share_one_budget_exactly() -> None:
    kit = kit_of(images=10)
    prompts = ("striped", "fish", "red", "water", "boat", "cat", "horse", "bird")
    threads = [threading.Thread(target=drawn, args=(kit, prompt)) for prompt in prompts]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert kit.purse.spent.search == 10
    assert len({each.id for each in kit.catalogue.pictures.values()}) == 10


def test_the_time_limit_ends_the_calls() -> None:
    kit = kit_of()
    kit.purse.limits = kit.purse.limits.model_copy(update={"seconds": 0.5})
    call_tool(kit, "show_facts", {"index": 0})
    with pytest.raises(RefusedCall, match="time limit"):
        call_tool(kit, "show_facts", {"index": 0})


@pytest.mark.parametrize(
    ("limits", "calls", "due", "out"),
    [
        ({"llm_calls": 3}, 0, None, None),
        ({"llm_calls": 3}, 1, None, None),
        ({"llm_calls": 3}, 2, "llm_calls", None),
        ({"llm_calls": 3}, 3, "llm_calls", "llm_calls"),
        ({"usd": 0.0}, 0, "usd", "usd"),
        ({"usd": 0.05}, 3, None, None),
        ({"usd": 0.05}, 4, "usd", None),
        ({"tokens": 5000}, 4, "tokens", None),
        ({"usd": None, "llm_calls": None}, 99, None, None),
    ],
)
def test_the_answer_is_due_while_one_exchange_is_left(
    limits: dict[str, Any], calls: int, due: str | None, out: str | None
) -> None:
    purse = Purse(Limits(race_images=0, **limits))
    for _ in range(calls):
        purse.turn(Usage(calls=1, prompt_tokens=900, completion_tokens=100, usd=0.01), seconds=1.0)
    assert (purse.answer_due(), purse.spent_out()) == (due, out)


class Scripted(BaseChatModel):
    """A chat model that says what it was told to, in order."""

    script: list[AIMessage]
    heard: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *arguments: Any, **options: Any) -> ChatResult:
        self.heard.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self.script[len(self.heard) - 1])])


def calling(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"id": f"c-{name}", "name": name, "args": arguments}])


def test_the_tools_work_in_anyones_langgraph_graph() -> None:
    kit = kit_of(images=6)
    tools = langchain_tools(kit)
    model = Scripted(
        script=[
            calling("draw_and_score", index=0, prompts=["striped fish", "zebra"]),
            calling("compare_pair", index=0, first="striped", second="red"),
            calling("show_facts"),
            AIMessage("It is the stripes."),
        ]
    ).bind_tools(tools)
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges(
        "model",
        lambda state: "tools" if state["messages"][-1].tool_calls else "end",
        {"tools": "tools", "end": END},
    )
    graph.add_edge("tools", "model")
    asked: Any = {"messages": [("user", "stripes or zebra?")]}
    said = graph.compile().invoke(asked)["messages"]
    told = [each for each in said if isinstance(each, ToolMessage)]
    assert [each.status for each in told] == ["success", "error", "error"]
    assert isinstance(told[0].artifact, results.Drawn)
    assert json.loads(str(told[0].content))["prompts"][0]["prompt"] == "striped fish"
    assert "zebra" in str(told[0].content) and "images left" in str(told[1].content)
    assert kit.purse.spent.search == 2 and said[-1].content == "It is the stripes."


def test_every_tool_describes_its_arguments() -> None:
    tools = langchain_tools(kit_of())
    assert [each.name for each in tools] == list(TOOLS)
    for each in tools:
        schema = each.get_input_jsonschema()
        assert each.description and "index" in schema["properties"]
