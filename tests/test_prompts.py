"""What an LLM is told, word for word: rendered from typed state alone, and changed only with its version."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import pytest

from agent import prompting
from agent.prompting import Message
from agent.proposer import View
from agent.records import Proposal, Trial
from sae.feature import Exemplar
from tests.views import view
from tools.protocols import GeneratorCard, Reading

DATA = Path(__file__).parent / "data" / "prompts"
VERSIONS = DATA / "versions.json"
"""By prompt file: its version and the hash of its words. A new version comes with a new line here and with
new snapshots: python -m tests.test_prompts writes both."""


def failed(prompt: str, why: str) -> Trial:
    proposal = Proposal(prompt=prompt, intent="vary")
    return Trial(proposal=proposal, images=(None,), seeds=(0,), activations=(None,), fault=why)


def read_view() -> View:
    """A feature of a model with words, read on the probe set, drawn by a generator of open vocabulary."""
    readings = (
        Reading(kind="and", words=("striped", "fish"), f1=0.91, cut=2.5),
        Reading(kind="or", words=("fish", "cat"), f1=0.72, cut=4.0),
        Reading(kind="not", words=("red",), f1=0.6, cut=4.0),
        Reading(kind="one", words=("fish",), f1=0.55, cut=4.0),
    )
    facts = view().facts.model_copy(update={"readings": readings, "vocabulary": (("zebra", 0.31),)})
    return view(facts=facts, card=GeneratorCard(generator="sd", draws="Photographs.", size=512))


STATES: dict[str, tuple[View, bool]] = {
    "first_round": (view(round=0, trials=(), refused=(), hints=()), False),
    "later_round": (view(), False),
    "after_failures": (
        view(trials=(failed("a glorb", "unknown word"), failed("black", "black image"))),
        False,
    ),
    "must_conclude": (view(must_conclude=True, images_left=0), False),
    "seeing": (
        view(exemplars=tuple(Exemplar(image=f"{at:064x}", activation=9.0 - at) for at in range(3))),
        True,
    ),
    "read": (read_view(), False),
}


def rendered() -> dict[str, str]:
    """Every snapshot by its name."""
    told = {name: prompting.messages(state, sees=sees)[1].told() for name, (state, sees) in STATES.items()}
    told = {f"view_{name}": text for name, text in told.items()}
    told["system"] = prompting.messages(view(), sees=False)[0].text
    told["repair"] = prompting.repair('prompts: a "list" is <missing>').text
    return told


def hashes() -> dict[str, dict[str, object]]:
    """Version and hash of each prompt file, ask mode's included."""
    found = {}
    for file in sorted(Path(str(files("agent"))).joinpath("prompts").glob("*.md")):
        head, _, body = file.read_text(encoding="utf-8").partition("\n\n")
        version = int(head.removeprefix("version:"))
        found[file.stem] = {"version": version, "sha256": hashlib.sha256(body.encode()).hexdigest()[:16]}
    return found


@pytest.mark.parametrize("name", sorted(rendered()))
def test_a_rendered_prompt_is_as_it_was_committed(name: str) -> None:
    assert rendered()[name] == (DATA / f"{name}.txt").read_text(encoding="utf-8")


def test_no_snapshot_is_left_over() -> None:
    assert {path.stem for path in DATA.glob("*.txt")} == set(rendered())


@pytest.mark.parametrize("name", sorted(hashes()))
def test_a_prompt_changes_only_with_its_version(name: str) -> None:
    recorded = json.loads(VERSIONS.read_text(encoding="utf-8"))
    assert name in recorded, "a new prompt file: write it into versions.json"
    now, then = hashes()[name], recorded[name]
    if now["sha256"] != then["sha256"]:
        assert now["version"] > then["version"], f"{name}.md changed: raise its version"
    assert now == then, "write the new version and hash into versions.json"


def test_rendering_is_a_function_of_the_view() -> None:
    assert rendered() == rendered()
    assert prompting.versions()["view"] == hashes()["view"]["version"]


def test_without_its_pictures_a_message_is_what_a_blind_model_is_told() -> None:
    state = view()
    seeing, blind = (prompting.messages(state, sees=sees)[1] for sees in (True, False))
    assert seeing.told(blind=True) == blind.told() == blind.text
    assert seeing.told() != blind.told()
    assert seeing.caption == "The 8 pictures that follow are exemplars of the feature, strongest first."
    assert Message(role="user", text="x", caption="alone").told() == "x"


def write() -> None:
    """Commit what is rendered now."""
    DATA.mkdir(parents=True, exist_ok=True)
    for name, text in rendered().items():
        (DATA / f"{name}.txt").write_text(text, encoding="utf-8")
    VERSIONS.write_text(json.dumps(hashes(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
