"""Suites: what is read, and the one sentence about what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.request import Ablation
from evals import conditions
from evals.suite import Suite, built_in_suites, read_suite
from tools.errors import UsageError

KNOWN = tuple(conditions.CONDITIONS)
HEAD = 'schema = 1\nname = "mine"\nimages = 7\nsealed = 5\n'
CONDITIONS = 'conditions = ["agent", "mils"]\n'
FEATURES = '[[features]]\ngroup = "truth"\nselect = "sandbox#0-3"\nsample = 2\n'
WHOLE = HEAD + CONDITIONS + FEATURES


def written(folder: Path, text: str, *, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(folder: Path, text: str, *, name: str = "mine.toml") -> str:
    source = written(folder, text, name=name)
    with pytest.raises(UsageError) as caught:
        read_suite(source, KNOWN)
    told = str(caught.value)
    assert "\n" not in told
    return told.replace(f"{folder}/", "")


def test_a_suite_is_read_from_toml(tmp_path: Path) -> None:
    text = (
        f'description = "d"\nseed = 3\nproposer = "openai"\n{WHOLE}'
        '[[features]]\ngroup = "any"\nselect = "sandbox#7"\n'
        '[options.mils]\nsteps = 5\n[only.mils]\ngroups = ["any"]\n'
        '[[quoted]]\nlabel = "l"\nsource = "s"\nmeasure = "auroc"\nvalue = 0.95\n'
    )
    suite = read_suite(written(tmp_path, text), KNOWN)
    assert (suite.schema_, suite.name, suite.description, suite.seed) == (1, "mine", "d", 3)
    assert (suite.proposer, suite.images, suite.sealed) == ("openai", 7, 5)
    assert suite.conditions == ("agent", "mils") and suite.options == {"mils": {"steps": 5}}
    assert [(each.group, each.select, each.sample) for each in suite.features] == [
        ("truth", "sandbox#0-3", 2),
        ("any", "sandbox#7", None),
    ]
    assert [each.group for each in suite.groups_of("mils")] == ["any"]
    assert [each.group for each in suite.groups_of("agent")] == ["truth", "any"]
    assert suite.quoted[0].value == 0.95 and suite.quoted[0].note == ""


def test_yaml_says_the_same_as_toml(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "schema": 1,
        "name": "mine",
        "images": 7,
        "sealed": 5,
        "conditions": ["agent", "mils"],
        "features": [{"group": "truth", "select": "sandbox#0-3", "sample": 2}],
    }
    from_yaml = read_suite(written(tmp_path, yaml.safe_dump(content), name="mine.yml"), KNOWN)
    assert from_yaml == read_suite(written(tmp_path, WHOLE), KNOWN)
    assert from_yaml.proposer is None and from_yaml.seed == 0


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    told = refusal(tmp_path, "schema: !!python/object/apply:os.getcwd []\n", name="mine.yaml")
    assert told.startswith("Suite mine.yaml is not YAML (could not determine a constructor")


def test_a_stored_suite_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("feature,concept\nd#3,fish\nd#1,\n")
    text = HEAD + CONDITIONS + '[[features]]\ngroup = "own"\nfile = "own.csv"\n'
    suite = read_suite(written(tmp_path, text), KNOWN)
    stored = suite.model_dump_json()
    assert str(tmp_path) not in stored
    back = Suite.model_validate_json(stored)
    assert back.model_copy(update={"folder": suite.folder}) == suite


def test_files_lie_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("feature,concept,kind\nd#3,fish,object\nd#1,,\nd#2,red,colour\n")
    (tmp_path / "table.csv").write_text("label,source,measure,value\nL,S,auroc,0.9\n")
    own = '[[features]]\ngroup = "own"\nfile = "own.csv"\nsample = 2\n'
    quoted = '[[quoted]]\nlabel = "first"\nsource = "s"\nmeasure = "m"\nvalue = 1.0\n'
    text = HEAD + 'quoted_file = "table.csv"\n' + CONDITIONS + own + quoted
    suite = read_suite(written(tmp_path, text), KNOWN)
    (group,) = suite.features
    assert [str(each.feature) for each in group.listed] == ["d#3", "d#1", "d#2"]
    assert [each.concept for each in group.listed] == ["fish", None, "red"]
    assert [row.label for row in suite.quoted] == ["first", "L"]
    assert suite.beside("own.csv") == tmp_path / "own.csv"
    chosen = [group.chosen(seed) for seed in range(20)]
    assert chosen == [group.chosen(seed) for seed in range(20)]
    assert all(len(some) == 2 and list(some) == sorted(some, key=group.listed.index) for some in chosen)
    assert len(set(chosen)) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WHOLE + "=", "Suite mine.toml is not TOML ("),
        (WHOLE.replace("schema = 1\n", ""), "does not say its schema; write schema = 1."),
        (WHOLE.replace("schema = 1", "schema = 2"), "has schema 2, and this version reads 1;"),
        (WHOLE.replace("schema = 1", "schema = true"), "has schema True,"),
        ("condition = []\n" + WHOLE, "mine.toml has the unknown key 'condition'; did you mean 'conditions'?"),
        ("schema_ = 1\n" + WHOLE, "has the unknown key 'schema_'"),
        ('folder = "/"\n' + WHOLE, "has the unknown key 'folder'"),
        (
            WHOLE + "sampel = 1\n",
            "mine.toml, features 1, has the unknown key 'sampel'; did you mean 'sample'",
        ),
        (WHOLE + "listed = []\n", "has the unknown key 'listed'"),
        (WHOLE + '[only.mils]\ngroup = ["truth"]\n', ", only mils, has the unknown key 'group'; did you"),
        (
            WHOLE + '[[quoted]]\nlabels = "l"\n',
            ", quoted 1, has the unknown key 'labels'; did you mean 'label'",
        ),
        (WHOLE.replace("images = 7\n", ""), "has no images; write it."),
        (WHOLE.replace("= 7", "= true"), "images: input should be a valid integer, not True; correct it."),
        (WHOLE.replace("= 7", "= 0"), "images: input should be greater than or equal to 1, not 0;"),
        (WHOLE.replace("sealed = 5", "sealed = 1"), "sealed: input should be greater than or equal to 2"),
        (WHOLE.replace("sealed = 5", "sealed = 10001"), "input should be less than or equal to 10000"),
        ('proposer = "gpt"\n' + WHOLE, "proposer: input should be 'lexical' or 'openai', not 'gpt'"),
        (WHOLE.replace("sample = 2", "sample = 0"), "features 1 sample: input should be greater than or"),
        (HEAD + CONDITIONS, "has no features; add a group of them, [[features]]."),
        (HEAD + FEATURES, "has no conditions; list some of agent,"),
        (HEAD + 'conditions = ["agent", "mlis"]\n' + FEATURES, "condition 'mlis'; did you mean 'mils'?"),
        (HEAD + 'conditions = ["file:"]\n' + FEATURES, "unknown condition 'file:'"),
        (HEAD + 'conditions = ["agent", "agent"]\n' + FEATURES, "lists the condition 'agent' twice"),
        (WHOLE + FEATURES, "has the group 'truth' twice"),
        (WHOLE + 'file = "x"\n', "x is neither .csv nor .jsonl; give one of them."),
        (HEAD + CONDITIONS + '[[features]]\ngroup = "g"\n', "Group 'g' has neither select nor file"),
        (WHOLE.replace('"truth"', '"all"'), "Reports have a group 'all' of their own"),
        (WHOLE.replace('"truth"', '"kind: and"'), "Reports have a group 'kind: and' of their own"),
        (
            WHOLE + "[options.milan]\nn = 1\n",
            "options for the unlisted condition 'milan'; did you mean 'mils'",
        ),
        (WHOLE + '[only.cosine]\ngroups = ["truth"]\n', "groups for the unlisted condition 'cosine'"),
        (WHOLE + '[only.mils]\ngroups = ["thruth"]\n', "runs mils on the unknown group 'thruth'; did you"),
        (WHOLE + "[only.mils]\ngroups = []\n", "only mils groups: tuple should have at least 1 item"),
        (WHOLE + "[options.mils]\nsteps = nan\n", "has an option that is no finite number"),
        (WHOLE + "options = 3\n", "unknown key 'options'"),
        ("options = 3\n" + WHOLE, "options: input should be a valid dictionary, not 3"),
        ("features = 3\n" + HEAD + CONDITIONS, "features 1: input should be a valid dictionary"),
        ("quoted_file = 3\n" + WHOLE, "quoted_file 3 is not a path"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    assert told.casefold() in refusal(tmp_path, text).casefold()


def test_a_group_has_one_source(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("feature\nd#1\n")
    assert "has both select and file; give one" in refusal(tmp_path, WHOLE + 'file = "own.csv"\n')
    listed = HEAD + CONDITIONS + '[[features]]\ngroup = "own"\nfile = "own.csv"\nsample = 2\n'
    assert "lists 1 features, fewer than its sample" in refusal(tmp_path, listed)
    (tmp_path / "own.csv").write_text("feature\nd#1\ne#1\n")
    assert "own.csv holds d#1 and e#1, of two dictionaries" in refusal(tmp_path, listed)


def test_a_missing_suite_is_answered_with_those_there_are(tmp_path: Path) -> None:
    for source, hint in [
        ("sandbox-quik", "did you mean 'sandbox-quick'? There are"),
        ("zzz", "not exist; There"),
    ]:
        with pytest.raises(UsageError) as caught:
            read_suite(source, KNOWN)
        assert hint in str(caught.value) and "sandbox-full, sandbox-quick" in str(caught.value)
    with pytest.raises(UsageError, match="does not exist"):
        read_suite(str(tmp_path), KNOWN)
    assert (
        refusal(tmp_path, WHOLE, name="mine.json")
        == "Suite mine.json is neither .toml nor .yaml; give one of them."
    )
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfes\x00")
    with pytest.raises(UsageError, match="line 1: byte 0xff is not UTF-8"):
        read_suite(str(tmp_path / "mine.toml"), KNOWN)


def test_a_condition_may_read_names_from_a_file(tmp_path: Path) -> None:
    text = (
        HEAD
        + 'conditions = ["file:../names.csv"]\n'
        + FEATURES
        + '[options."file:../names.csv"]\ntitle = "T"\n'
    )
    assert read_suite(written(tmp_path, text), KNOWN).conditions == ("file:../names.csv",)


@pytest.mark.parametrize("name", ["mine.toml", "mine.yaml"])
@given(
    text=st.one_of(
        st.text(max_size=60), st.sampled_from(["[]", "a", "1: 2", "&a [*a]", "? [1]\n: 2", "[" * 9999])
    )
)
def test_any_text_is_a_suite_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(UsageError):
        read_suite(str(path), KNOWN)


def test_the_condition_true_may_stand_bare_in_yaml(tmp_path: Path) -> None:
    bare = "schema: 1\nname: mine\nimages: 7\nsealed: 5\nconditions: [agent, true]\n"
    bare += "features: [{group: g, select: 'sandbox#0'}]\nonly: {true: {groups: [g]}}\n"
    suite = read_suite(written(tmp_path, bare, name="mine.yaml"), KNOWN)
    assert suite.conditions == ("agent", "true") and set(suite.only) == {"true"}


def test_the_shipped_suites_are_whole() -> None:
    ours = ("fitting", "sandbox-ablations", "sandbox-ablations-unread", "sandbox-full", "sandbox-quick")
    assert built_in_suites() == ours
    ablated = {name for name in KNOWN if name.startswith(conditions.WITHOUT)}
    quick, full = (read_suite(name, KNOWN) for name in ("sandbox-quick", "sandbox-full"))
    others = set(KNOWN) - ablated - {"agent-batch"}
    assert others <= set(full.conditions) and not ablated & set(full.conditions)
    assert others - {"mils-short"} <= set(quick.conditions) and not ablated & set(quick.conditions)
    for suite in (quick, full):
        assert suite.words == "english"
        assert suite.description and suite.proposer == "lexical"
    assert quick.options == {"mils": {"steps": 5, "proposals": 20}} and {
        "agent",
        "untrained",
    } <= set(full.options)
    assert sum(group.sample or 0 for group in quick.features) == 12
    assert [group.group for group in full.groups_of("untrained")] == ["truth", "any"]
    kinds = [group.select for group in full.features if group.group.startswith("planted-")]
    made = dict.fromkeys(str(select).partition("#kind=")[0] for select in kinds)
    assert len(kinds) == 10 and list(made) == ["planted", "planted-undrawable"]


def test_the_ablations_are_one_suite_of_the_agent_and_the_agent_without_each_part() -> None:
    suite = read_suite("sandbox-ablations", KNOWN)
    assert suite.conditions[0] == "agent" and suite.words == "english"
    # Without a batch there is nothing in the bank to go without.
    parts = {f"{conditions.WITHOUT}{each}" for each in get_args(Ablation)} - {"agent-no-bank"}
    assert parts <= set(suite.conditions)
    assert all(group.sample == 6 for group in suite.features)


def test_the_other_ablations_go_without_one_more_part_where_nothing_is_read() -> None:
    suite, whole = (read_suite(f"sandbox-ablations{kind}", KNOWN) for kind in ("-unread", ""))
    assert suite.features == whole.features and suite.seed == whole.seed
    for name in suite.conditions:
        without = suite.options[name]["without"]
        part = name.removeprefix(conditions.WITHOUT)
        assert without == (["tags"] if part == name else ["tags", part])
        assert conditions.make_condition(name, suite.options[name]).title.startswith("namesae")


def test_what_is_fitted_is_of_another_seed_and_dictionary() -> None:
    suite = read_suite("fitting", KNOWN)
    assert suite.seed == 1 and suite.conditions == ("agent",)
    made = {str(group.select).partition("#")[0] for group in suite.features}
    assert made == {"planted@1", "planted-undrawable@1"}
    kinds = {str(group.select).partition("kind=")[2] for group in suite.features}
    assert {"mono", "or", "and", "not", "incoherent", "dead", "dense", "undrawable"} <= kinds


def test_a_suite_says_which_words_are_searched(tmp_path: Path) -> None:
    suite = read_suite(written(tmp_path, 'words = "english"\n' + WHOLE), KNOWN)
    assert suite.words == "english"
    assert read_suite(written(tmp_path, WHOLE), KNOWN).words == "generator"
    assert "words" in refusal(tmp_path, 'words = "latin"\n' + WHOLE)
