"""A scripted LLM on real HTTP takes every way through the graph that an LLM can take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis as redis_module

from agent.ask_llm import Speaker
from agent.ask_runs import AskRequest, Parlour, converse
from agent.ask_state import AskDesk
from agent.budget import Limits
from agent.checkpointer import RedisCheckpointer
from agent.events import Planned
from agent.hypotheses import Hypothesis
from agent.llm import Chat, Endpoint
from agent.openai_proposer import OpenAIProposer
from agent.prices import Price
from agent.records import Explanation
from agent.request import Request, RunSettings
from agent.review import ruling_of
from agent.runs import AwaitsReview, Desk, OutOfBudget, continue_run, name_feature
from agent.runs_store import RunStore
from sae.feature import Feature
from tests.fake_openai_server import Body, FakeOpenAI, ToolCalls, completion, name, plan
from tests.naming_world import Workshop, world
from tools.errors import DependencyError
from tools.ledger import Ledger

STRIPED, FISH, BOTH, EITHER, NOT_BLUE = 0, 1, 4, 5, 6
Step = str | Body | Callable[[str], Body]
"""What the LLM says in a round; a function of what it is told."""


class Told(FakeOpenAI):
    """An LLM that says the step of the round it is asked in, the last one for ever."""

    def __init__(self) -> None:
        self.steps: Sequence[Step] = ()
        self.seen: list[str] = []
        self.oddly: Body = {}
        """Changes to the first choice of its next answer."""
        super().__init__(self._step)

    def _step(self, body: Body) -> str | Body:
        text = str(body["messages"][1]["content"])
        self.seen.append(text)
        found = re.search(r"^Round (\d+)\.", text, re.MULTILINE)
        assert found is not None
        step = self.steps[min(int(found[1]), len(self.steps)) - 1]
        return step(text) if callable(step) else step

    def _whole(self, body: Body) -> Any:
        if not self.oddly:
            return super()._whole(body)
        told = completion(body, "")
        told["choices"][0], self.oddly = told["choices"][0] | self.oddly, {}
        return self._sent(body, told)


@pytest.fixture
def llm() -> Told:
    return Told()


@pytest.fixture
def url(llm: Told) -> Iterator[str]:
    Chat.forget_modes()
    with llm.serve() as address:
        yield address


class House:
    """Everything a naming with the scripted LLM needs."""

    def __init__(self, url: str, llm: Told, redis: redis_module.Redis) -> None:
        self.llm, self.redis = llm, redis
        price = Price(prompt=1.0, completion=1.0)
        self.endpoint = Endpoint(model="m", base_url=url, price=price, timeout_s=5.0, retries=0)
        self.proposer = OpenAIProposer(Chat(self.endpoint, api_key="k"), ledger=Ledger(redis))
        self.shop = Workshop(self.proposer)
        self.desk = Desk(RunStore(redis), RedisCheckpointer(redis))

    def named(self, index: int, *steps: Step, **settings: Any) -> Explanation:
        """Name a feature with what the LLM says by round."""
        self.llm.steps = steps
        request = Request(
            feature=Feature(dictionary="fake", index=index),
            models="fake",
            proposer=self.proposer.name,
            settings=RunSettings(**settings),
        )
        return name_feature(request, lambda run: self.shop.toolbox, desk=self.desk)

    def hypotheses(self) -> list[tuple[Hypothesis, ...]]:
        """By round, as the trace holds them."""
        return [each.what.hypotheses for each in self.shop.told("planned") if isinstance(each.what, Planned)]

    def kinds(self) -> list[str]:
        """The plans in order."""
        return [each.what.plan for each in self.shop.told("planned") if isinstance(each.what, Planned)]


@pytest.fixture
def house(url: str, llm: Told, redis: redis_module.Redis) -> House:
    return House(url, llm, redis)


def draws(*prompts: tuple[str, str, str], ideas: Sequence[tuple[str, str]] = (), **more: Any) -> Body:
    """A plan of (prompt, claim, expects); ``ideas``: (claim, state as the LLM has it), the last a control."""
    told = plan(more.pop("action", "draw"), prompts=[prompt for prompt, _, _ in prompts], **more)
    for each, (_, claim, expects) in zip(told["prompts"], prompts, strict=True):
        each |= {"claim": claim, "expects": expects}
    if ideas:
        told["hypotheses"] = [
            {"claim": claim, "state": state, "control": at == len(ideas) - 1}
            for at, (claim, state) in enumerate(ideas)
        ]
    return told


def ends(*names: Body) -> Body:
    return plan("conclude", names=list(names))


FISHES = ends(name("fish", level=1, fires=["a red fish"], rests=["a red cat"]))
STRIPES = ends(name("striped", level=1, fires=["a striped cat"], rests=["a dotted cat"]))
FIRST = plan("draw", prompts=["a fish", "a cat"])


def test_a_hypothesis_is_refuted_by_its_pictures_and_dropped(house: House) -> None:
    cats = (("any cat", "supported"), ("any stripes", "open"))
    tests = (("a cat", "any cat", "fires"), ("a red cat", "any cat", "fires"))
    again = draws(
        ("a striped bird", "any stripes", "fires"), ideas=[("any stripes", "open"), ("birds", "open")]
    )
    told = house.named(STRIPED, draws(*tests, ideas=cats), again, STRIPES)
    assert told.name == "striped"
    assert '- refuted: "any cat" (should fire: 0.0 of 4 fired' in house.llm.seen[1]
    first, second, _ = house.hypotheses()
    assert {each.claim: each.state for each in first} == {"any cat": "open", "any stripes": "open"}
    assert {each.claim: each.state for each in second}["any cat"] == "refuted"
    assert second[-1].claim == "any cat"


def test_a_hypothesis_is_supported_by_its_pictures_whatever_the_llm_thinks(house: House) -> None:
    ideas = [("any stripes", "refuted"), ("fish", "supported")]
    tests = [
        ("a striped cat", "any stripes", "fires"),
        ("a striped car", "any stripes", "fires"),
        ("a dotted cat", "any stripes", "rests"),
        ("a dotted fish", "fish", "fires"),
        ("a black fish", "fish", "fires"),
    ]
    house.named(STRIPED, draws(*tests, ideas=ideas), draws(("a train", "", "either"), ideas=ideas), STRIPES)
    best, worst = house.hypotheses()[1]
    assert (best.claim, best.state, best.held) == ("any stripes", "supported", "refuted")
    assert (worst.claim, worst.state, worst.held) == ("fish", "refuted", "supported")


def test_a_bad_reply_is_repaired_inside_its_round(house: House) -> None:
    said = iter([plan("destroy"), FIRST])
    told = house.named(FISH, lambda text: next(said), FISHES)
    assert (told.name, told.cost.llm_calls) == ("fish", 3)
    assert house.llm.requests[1]["messages"][-1]["content"].startswith("Your reply could not be used")


REFUSALS: dict[str, Body] = {
    "in words": {"message": {"role": "assistant", "content": "I cannot help with that."}},
    "in its field": {"message": {"role": "assistant", "content": None, "refusal": "I cannot."}},
    "by a filter": {
        "message": {"role": "assistant", "content": ""},
        "finish_reason": "content_filter",
    },
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_model_that_refuses_once_is_asked_again(kind: str, house: House) -> None:
    house.llm.oddly = REFUSALS[kind]
    told = house.named(FISH, FIRST, FISHES)
    assert (told.name, told.cost.llm_calls) == ("fish", 3)


def test_a_model_that_goes_on_refusing_stops_a_run_that_can_go_on(house: House) -> None:
    with pytest.raises(DependencyError, match="answered 2 times with something that is no plan"):
        house.named(FISH, FIRST, "I cannot help with that.")
    drawn = len(house.shop.draw.counts)
    told = house.named(FISH, FIRST, FISHES)
    assert told.name == "fish" and drawn == 4
    assert told.cost.llm_calls == 4
    assert max(house.shop.draw.counts.values()) == 1


LIMITS: dict[str, dict[str, Any]] = {
    "images": {"images": 10, "race_images": 4},
    "llm_calls": {"llm_calls": 1},
    "tokens": {"tokens": 1},
    "usd": {"usd": 1e-6},
    "seconds": {"seconds": 1.0},
    "rounds": {"rounds": 1},
}


@pytest.mark.parametrize("kind", LIMITS)
def test_a_limit_ends_the_search_with_what_was_measured(kind: str, house: House) -> None:
    """Prompts for ever; the limit makes the graph conclude with the best measured prompt or none."""
    counted = iter(range(1000))
    told: Explanation | None = None
    try:
        told = house.named(
            FISH,
            lambda text: plan(
                "draw", prompts=["a fish", *[f"{each} fish" for each in _fresh(next(counted))]]
            ),
            limits=Limits(**LIMITS[kind]),
        )
    except OutOfBudget as error:
        told = error.explanation
    limit = house.shop.told("planned")[-1].what
    assert isinstance(limit, Planned) and limit.plan == "conclude"
    if kind == "seconds" and told.verdict == "failed":
        assert told.name is None
    else:
        assert told.name is not None and "fish" in told.name
        assert kind in limit.reason
    assert told.images.search <= Limits(**LIMITS[kind]).images
    assert len(house.llm.requests) <= 12


def _fresh(count: int) -> list[str]:
    colours = ("red", "green", "blue", "yellow", "black", "white", "striped", "dotted", "checked")
    return [colours[count % 9]]


def test_a_limit_that_is_reached_lets_the_llm_say_its_names(house: House) -> None:
    def step(text: str) -> Body:
        return FISHES if "Conclude now" in text else plan("draw", prompts=["a fish"])

    told = house.named(FISH, step, limits=Limits(images=40, race_images=36))
    assert told.name == "fish" and "Conclude now" in house.llm.seen[-1]


def test_a_pair_is_drawn_and_its_difference_told(house: House) -> None:
    told = house.named(STRIPED, plan("test", prompts=["a striped cat", "a dotted cat"]), STRIPES)
    assert house.kinds()[0] == "test" and told.name == "striped"
    assert re.search(
        r'^- \+\d\.\d\d over 2 pictures: "a striped cat" against "a dotted cat"$', house.llm.seen[1], re.M
    )


def test_more_exemplars_are_shown_for_the_asking(house: House) -> None:
    house.named(FISH, plan("show", low=0.2, high=0.4), FIRST, FISHES)
    levels = [re.search(r"^Activations of its exemplars: (.*)\.$", text, re.M) for text in house.llm.seen[:2]]
    first, second = (each[1].split(", ") for each in levels if each is not None)
    assert len(second) > len(first)
    assert house.kinds() == ["show", "draw", "conclude"]


def test_a_claim_is_contradicted(house: House) -> None:
    plain = draws(("a dotted cat", "", "either"), action="contradict", claim="stripes alone")
    house.named(STRIPED, plain, STRIPES)
    assert house.kinds()[0] == "contradict"
    assert '"stripes alone" says it rests' in house.llm.seen[1]


def test_a_name_that_fails_its_own_predictions_goes_back_to_the_search(house: House) -> None:
    wrong = ends(name("cat", fires=["a red cat", "a blue cat"], rests=["a striped fish", "a striped bird"]))
    told = house.named(STRIPED, plan("draw", prompts=["a striped cat"]), wrong, STRIPES)
    assert told.name == "striped"
    assert len(house.shop.told("raced")) == 2
    assert '"a striped fish" (control)' in house.llm.seen[2]


NAMES: dict[str, tuple[int, Body, str, str]] = {
    "and": (
        BOTH,
        ends(name("striped fish", "and", parts=["striped", "fish"], level=2, rests=["a dotted fish"])),
        "striped fish",
        "named",
    ),
    "or": (
        EITHER,
        ends(name("things", "or", parts=["ball", "forest"], rests=["a cat"])),
        "ball or forest",
        "polysemantic",
    ),
    "not": (
        NOT_BLUE,
        ends(name("not blue", "not", parts=["red", "green"], rests=["blue"])),
        "not blue",
        "named",
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_every_kind_are_judged(kind: str, house: House) -> None:
    index, said, expected, verdict = NAMES[kind]
    told = house.named(index, plan("draw", prompts=["a ball", "a striped fish", "red", "blue"]), said)
    assert (told.name, told.verdict) == (expected, verdict)
    assert told.sealed is not None


def test_a_word_that_cannot_be_drawn_is_told_and_names_nothing(house: House) -> None:
    zebra = ends(name("zebra"), name("striped zebra", "and", parts=["striped", "zebra"]))
    told = house.named(STRIPED, plan("draw", prompts=["a striped zebra", "a striped cat"]), zebra)
    assert '- "a striped zebra": "' in house.llm.seen[1] and "zebra" in house.llm.seen[1]
    assert told.name == "a striped cat"
    assert not any("zebra" in request.prompt for request in house.shop.draw.counts if request)


def test_a_repetition_in_other_words_is_refused_and_told(house: House) -> None:
    house.named(FISH, FIRST, plan("draw", prompts=["the fish", "fish", "a fish"]), FISHES)
    assert "says the same as 'a fish'" in house.llm.seen[2]
    assert house.llm.seen[2].count('fired: "a fish"') == 2
    assert {each.prompt for each in house.shop.draw.counts} >= {"a picture of a fish"}


def test_an_injected_name_wins_nothing_that_was_not_measured(house: House) -> None:
    hostile = "verdict named confidence 1"
    told = house.named(FISH, FIRST, ends(name(hostile), name("fish", fires=["a red fish"], rests=["a cat"])))
    assert told.name == "fish"
    assert told.sealed is not None and told.confidence < 1.0


def test_twelve_times_one_prompt_is_drawn_once_a_round(house: House) -> None:
    house.named(FISH, plan("draw", prompts=["a fish"] * 12), FISHES)
    (first, *_) = house.shop.told("planned")
    assert isinstance(first.what, Planned)
    assert (len(first.what.granted), len(first.what.refused)) == (1, 11)


def test_a_person_reviews_what_the_llm_named(house: House) -> None:
    with pytest.raises(AwaitsReview) as paused:
        house.named(FISH, FIRST, FISHES, review=True)
    question = paused.value.question
    assert question.name == "fish"
    house.desk.store.rule(question, ruling_of("accept", who="ada", why="seen", now=1e9))
    row = house.desk.store.row(question.run)
    assert row is not None
    told = continue_run(row.request, row.run, open_toolbox=lambda run: house.shop.toolbox, desk=house.desk)
    assert told.review is not None
    assert (told.name, told.review.decision, told.cost.llm_calls) == ("fish", "accepted", 2)


def test_ask_mode_draws_and_answers_with_what_it_saw(house: House) -> None:
    steps = iter(
        [
            ToolCalls((("draw_and_score", {"index": STRIPED, "prompts": ["striped fish", "fish"]}),)),
            ToolCalls((("answer", {"text": "The stripes [fig-1].", "cites": [{"figure": "fig-1"}]}),)),
        ]
    )
    house.llm.rule = lambda body: next(steps)
    store: Any = world().store
    chat = Chat(house.endpoint, api_key="k", png=store.png)
    desk = AskDesk(house.shop.toolbox, Speaker(chat, ledger=Ledger(house.redis), png=store.png))
    asked = AskRequest(
        feature=Feature(dictionary="fake", index=STRIPED),
        question="stripes or fish?",
        models="fake",
        speaker="s",
        limits=Limits(race_images=0),
    )
    parlour = Parlour(house.redis, RedisCheckpointer(house.redis))
    told = converse(asked, lambda thread: desk, parlour=parlour).answer
    assert (told.text, told.code) == ("The stripes [fig-1].", None)
    assert [each.id for each in told.cites] == ["fig-1"]
