"""Dictionaries and features as the service shows them: lists, search, neighbours, facts, pictures scored."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis as redis_module
from PIL import Image
from pydantic import ValidationError

from namesae.dictionaries import shipped_folder
from namesae.service.errors import NotFound
from namesae.service.feature_meaning import Meanings, StillReading
from namesae.service.feature_query import FeatureQuery
from namesae.service.features import Features
from namesae.wiring import State
from sae.statistics import Statistics, save_statistics
from tests.named_features import FACTS, finish, settings_of, state_of, told
from tests.pages_app import picture_of
from tests.weightless_dictionary import write_probe, write_weightless
from tools.errors import IntegrityError, UsageError
from tools.feature_facts import write_facts
from tools.protocols import FeatureFacts

ROOT = Path(__file__).parent.parent


@pytest.fixture
def state(redis: redis_module.Redis, tmp_path: Path) -> State:
    return state_of(redis, tmp_path)


@pytest.fixture
def features(state: State, tmp_path: Path) -> Features:
    return Features(settings_of(tmp_path), state)


def test_dictionaries_are_listed_with_how_far_they_are_named(
    features: Features, state: State, tmp_path: Path
) -> None:
    finish(state, told(1, "fish"), told(2, "red", verdict="weak"), told(8, None, verdict="dead"))
    broken = tmp_path / "dictionaries" / "broken"
    broken.mkdir(parents=True)
    (broken / "dictionary.json").write_text("{")
    rows = {row.name: row for row in features.dictionaries()}
    assert set(rows) >= {"fake", "sandbox", "sandbox-patch", "sandbox-vit", "broken"}
    fake, sandbox = rows["fake"], rows["sandbox"]
    assert (fake.n_features, fake.named, fake.answered, fake.origin) == (13, 2, 3, "planted")
    assert fake.coverage == pytest.approx(3 / 13) and not fake.meaning and not fake.decoder
    assert {each.verdict: each.count for each in fake.verdicts} == {"named": 1, "weak": 1, "dead": 1}
    assert (sandbox.architecture, sandbox.backbone, sandbox.hook_point) == (
        "topk",
        "open_clip clip",
        "pooled",
    )
    assert sandbox.meaning and sandbox.decoder and sandbox.named == 0
    assert rows["broken"].fault and str(tmp_path) not in rows["broken"].fault
    assert features.dictionary("fake") == fake
    with pytest.raises(IntegrityError, match="not JSON"):
        features.dictionary("broken")


@pytest.mark.parametrize("name", ["nothing", "..", "/", ".", "", "fake#0", "x" * 10_000, "\0", "../sandbox"])
def test_only_names_reach_dictionaries(features: Features, name: str) -> None:
    with pytest.raises(NotFound) as refused:
        features.rows(name, FeatureQuery())
    assert len(str(refused.value)) < 500


def test_a_folder_is_no_name(features: Features, tmp_path: Path) -> None:
    write_weightless(tmp_path / "elsewhere", "hidden", np.eye(4, dtype=np.float32))
    with pytest.raises(NotFound):
        features.dictionary(str(tmp_path / "elsewhere" / "dictionaries" / "hidden"))


def test_a_dictionary_that_comes_or_changes_is_seen(features: Features, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        features.dictionary("mine")
    folder = write_weightless(tmp_path, "mine", np.eye(5, dtype=np.float32))
    assert features.dictionary("mine").n_features == 5
    shutil.rmtree(folder)
    write_weightless(tmp_path, "mine", np.eye(7, dtype=np.float32), hook_point="block.1")
    assert features.dictionary("mine").n_features == 7
    assert features.rows("mine", FeatureQuery()).total == 7


def test_pages_follow_each_other(features: Features, state: State) -> None:
    finish(state, *(told(index, f"name {index}") for index in range(13)))
    query = FeatureQuery(sort="name", descending=True, limit=5)
    page, shown = features.rows("fake", query), []
    while True:
        assert page.total == 13
        shown += [row.index for row in page.rows]
        if page.next is None:
            break
        page = features.rows("fake", query.model_copy(update={"cursor": page.next}))
    assert shown == [9, 8, 7, 6, 5, 4, 3, 2, 12, 11, 10, 1, 0]
    beyond = features.rows("fake", FeatureQuery(cursor=10_000))
    assert beyond.rows == () and beyond.next is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 501},
        {"cursor": -1},
        {"min_auroc": 1.5},
        {"min_auroc": float("nan")},
        {"sort": "x"},
        {"verdict": ["x"]},
        {"text": "x" * 201},
        {"more": 1},
    ],
)
def test_a_query_out_of_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FeatureQuery.model_validate(wrong)


def test_a_feature_has_its_answer_history_and_facts(features: Features, state: State) -> None:
    finish(state, told(1, "fish"), told(1, "red fish", seed=1), told(1, None, verdict="failed", seed=2))
    latest = features.latest("fake", 1)
    assert latest is not None and latest.name == "red fish"
    assert latest.run == getattr(features.row("fake", 1).answer, "run", None)
    assert [each.verdict for each in features.history("fake", 1)] == ["failed", "named", "named"]
    assert len(features.history("fake", 1, count=1)) == 1
    assert features.facts("fake", 1) == FACTS
    assert features.latest("fake", 2) is None and features.facts("fake", 2) is None
    assert features.history("fake", 2) == ()
    for index in (-1, 13):
        with pytest.raises(NotFound, match="0 to 12"):
            features.row("fake", index)


def test_facts_of_features_nobody_named_come_from_the_files(state: State, tmp_path: Path) -> None:
    folder = write_weightless(tmp_path, "mine", np.eye(5, dtype=np.float32))
    facts = [
        FeatureFacts(density=at / 10, threshold=at, p99=2.0 * at, vocabulary=(("a\nb", 0.5),))
        for at in range(5)
    ]
    write_facts(folder / "facts.json", facts)
    features = Features(settings_of(tmp_path), state)
    assert [features.facts("mine", index) for index in range(5)] == facts
    row = features.row("mine", 3)
    assert row.density == pytest.approx(0.3) and row.scale == 6.0
    assert [point.index for point in features.scatter("mine").points] == [0, 1, 2, 3, 4]
    # A file of another shape says nothing, and breaks nothing.
    (folder / "facts.json").write_text(json.dumps([]))
    assert features.facts("mine", 1) is None


def test_facts_worked_out_beside_the_probe_set_are_found(state: State, tmp_path: Path) -> None:
    write_weightless(tmp_path, "mine", np.eye(5, dtype=np.float32))
    settings = settings_of(tmp_path)
    features = Features(settings, state)
    assert features.facts("mine", 1) is None and features.row("mine", 1).density is None
    probe = write_probe("mine", settings, np.ones((7, 5)))
    facts = [FeatureFacts(density=0.5, threshold=1.0, p99=2.0) for _ in range(5)]
    write_facts(probe / "facts-made.json", facts)
    finish(state, told(0, dictionary="mine"))
    assert features.row("mine", 1).density == 0.5
    assert features.facts("mine", 1) == facts[1]


def test_statistics_go_before_facts(state: State, tmp_path: Path) -> None:
    folder = write_weightless(tmp_path, "mine", np.eye(5, dtype=np.float32))
    column = np.full(5, 0.25, np.float32)
    save_statistics(Statistics(column, column * 8, column * 4), folder)
    row = Features(settings_of(tmp_path), state).row("mine", 4)
    assert (row.density, row.scale) == (0.25, 2.0)


def test_search_by_name_goes_through_all_dictionaries(features: Features, state: State) -> None:
    finish(state, told(1, "fish"), told(2, "catfish"), told(3, "a red fish", confidence=0.9))
    finish(state, told(300, "Fish", dictionary="sandbox", confidence=0.7))
    hits = features.search("fish")
    assert [(hit.dictionary, hit.row.index, hit.score) for hit in hits] == [
        ("sandbox", 300, 1.0),
        ("fake", 1, 1.0),
        ("fake", 3, 0.6),
        ("fake", 2, 0.4),
    ]
    assert len(features.search("fish", limit=2)) == 2
    assert [hit.row.index for hit in features.search("fish", dictionary="fake")] == [1, 3, 2]
    assert features.search("   ") == () == features.search("zebra")
    with pytest.raises(NotFound):
        features.search("fish", dictionary="nothing")


def test_search_finds_a_feature_by_its_index(features: Features, state: State) -> None:
    finish(state, told(1, "12 fish"))
    assert [hit.row.index for hit in features.search("fake#12")] == [12]
    by_number = features.search("12", dictionary="fake")
    assert [hit.row.index for hit in by_number] == [12, 1]
    assert {hit.dictionary for hit in features.search("#12")} >= {"fake", "sandbox"}
    assert features.search("fake#99999") == ()


def test_similar_by_decoder_is_the_cosine_of_directions(state: State, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    decoder = rng.normal(size=(101, 12)).astype(np.float32)
    decoder[7], decoder[9] = decoder[3] * 2, 0
    features = Features(settings_of(tmp_path), state)
    write_weightless(tmp_path, "mine", decoder)
    write_weightless(tmp_path, "half", decoder.astype(np.float16))
    for name, exact in (("mine", 1e-4), ("half", 5e-3)):
        hits = features.similar(name, 3, limit=5)
        unit = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-9)
        cosines = unit @ unit[3]
        cosines[3] = -1
        assert [hit.row.index for hit in hits] == np.argsort(-cosines)[:5].tolist()
        assert [hit.score for hit in hits] == pytest.approx(np.sort(-cosines)[:5] * -1, abs=exact)
    assert features.similar("mine", 9) == ()
    with pytest.raises(NotFound):
        features.similar("mine", 101)


def test_what_cannot_be_compared_says_why(features: Features, state: State, tmp_path: Path) -> None:
    finish(state, told(1, "red fish"), told(2, "red"))
    assert [hit.row.index for hit in features.similar("fake", 1, by="name")] == [2]
    with pytest.raises(UsageError, match="no decoder directions"):
        features.similar("fake", 1, by="decoder")
    with pytest.raises(UsageError, match="have not been scored"):
        features.similar("fake", 1, by="activation")
    with pytest.raises(UsageError, match="no name yet"):
        features.similar("fake", 3, by="name")
    folder = write_weightless(tmp_path, "mine", np.eye(4, dtype=np.float32))
    (folder / "dictionary.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(IntegrityError, match="no decoder directions"):
        features.similar("mine", 1)


def test_similar_by_activation_is_the_cosine_on_the_probe_set(state: State, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.normal(size=(53, 6)), 0)
    activations[:, 4] = 0
    activations[:, 5] = activations[:, 1] * 3
    write_weightless(tmp_path, "mine", np.eye(6, dtype=np.float32))
    settings = settings_of(tmp_path)
    write_probe("mine", settings, activations)
    features = Features(settings, state)
    hits = features.similar("mine", 1, by="activation", limit=10)
    lengths = np.linalg.norm(activations, axis=0)
    cosines = activations.T @ activations[:, 1] / np.maximum(lengths * lengths[1], 1e-9)
    assert [hit.row.index for hit in hits] == [5, *sorted((0, 2, 3), key=lambda at: -cosines[at])]
    assert [hit.score for hit in hits] == pytest.approx([cosines[hit.row.index] for hit in hits], abs=1e-4)
    assert features.similar("mine", 4, by="activation") == ()


def test_a_dictionary_without_a_text_model_is_refused_by_meaning(features: Features, state: State) -> None:
    finish(state, told(1, "fish"))
    with pytest.raises(UsageError, match="No model beside dictionary 'fake' reads texts"):
        features.search("fish", dictionary="fake", by="meaning")


def test_features_of_a_picture_come_with_what_is_known(features: Features, state: State) -> None:
    finish(state, told(0, "striped"), told(4, "striped fish"))
    sent = picture_of("striped fish")
    found = features.top_features(sent, dictionary="fake")
    assert {each.row.index for each in found} >= {0, 1, 4, 6, 7, 9}
    assert [each.activation for each in found] == sorted((each.activation for each in found), reverse=True)
    by_index = {each.row.index: each for each in found}
    assert by_index[0].fires and by_index[0].relative == pytest.approx(by_index[0].activation / 3)
    assert by_index[1].fires is None and by_index[1].row.answer is None
    assert len(features.top_features(sent, dictionary="fake", limit=2)) == 2
    with pytest.raises(UsageError, match="no PNG, JPEG or WEBP"):
        features.top_features(b"x" * 100, dictionary="fake")


def test_requests_in_threads_agree(features: Features, state: State) -> None:
    finish(state, *(told(index, f"name {index}") for index in range(13)))
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append((features.dictionaries(), features.search("name"))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and all(each == found[0] for each in found)


def test_the_service_reads_features_without_a_model_library(redis_server: Any, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from namesae.settings import Settings\n"
        "from namesae.wiring import open_state\n"
        "from namesae.service.features import Features\n"
        "from namesae.service.exporting import Exporting\n"
        "from namesae.service.pictures import ServedPictures\n"
        "from namesae.service.feature_query import FeatureQuery\n"
        f"settings = Settings(home={str(tmp_path)!r}, fakes=True, redis_url={redis_server.url!r})\n"
        "with open_state(settings) as state:\n"
        "    features = Features(settings, state)\n"
        "    features.warm(), features.dictionaries(), features.rows('sandbox', FeatureQuery())\n"
        "    features.search('fish'), features.similar('sandbox', 3), features.facts('sandbox', 3)\n"
        "    b''.join(Exporting(features).stream('sandbox', 'csv'))\n"
        "heavy = ('torch', 'open_clip', 'transformers', 'diffusers', 'langgraph', 'sklearn', 'scipy')\n"
        "sys.exit(str([name for name in heavy if name in sys.modules] or ''))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.strip() == "", done.stderr


@pytest.mark.slow
def test_search_by_meaning_reads_names_in_the_backbones_space(state: State, tmp_path: Path) -> None:
    names = ("fish", "red", "boat", "tree", "water", "striped", "ball", "blue", "house", "car", "dog", "cat")
    more = ("flower", "bird", "green", "forest", "sky", "star")
    finish(state, *(told(at, name, dictionary="sandbox") for at, name in enumerate((*names, *more))))
    finish(state, told(50, "a fish", dictionary="sandbox-vit"))
    features = Features(settings_of(tmp_path), state)
    hits = features.search("a fish", dictionary="sandbox", by="meaning", limit=5)
    assert len(hits) == 5 and hits[0].row.answer is not None and hits[0].row.answer.name == "fish"
    everywhere = features.search("a fish", by="meaning")
    assert {hit.dictionary for hit in everywhere} == {"sandbox", "sandbox-vit"}
    assert everywhere[0].row.index == 50 or everywhere[0].row.index == 0
    # What another feature is called is searched at the next request.
    finish(state, told(60, "a fish", dictionary="sandbox"))
    again = features.search("a fish", dictionary="sandbox", by="meaning", limit=1)
    assert again[0].row.index == 60 and again[0].score == pytest.approx(1, abs=1e-3)
    with pytest.raises(UsageError, match="reads texts"):
        features.search("fish", dictionary="fake", by="meaning")


@pytest.mark.slow
def test_what_was_read_is_kept_and_reading_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from namesae.service import feature_meaning
    from sae.card import BackboneSpec

    monkeypatch.setattr(feature_meaning, "BATCH", 100)
    monkeypatch.setattr(feature_meaning, "PATIENCE_S", 0.0)
    spec = BackboneSpec(kind="open_clip", source=str(shipped_folder() / "clip"))
    names = tuple(f"{colour} fish {at}" for colour in ("red", "blue") for at in range(150))
    meanings = Meanings(spec, tmp_path)
    with pytest.raises(StillReading, match="100 of 300 names"):
        meanings.cosines("fish", names)
    with pytest.raises(StillReading, match="200 of 300 names"):
        Meanings(spec, tmp_path).cosines("fish", names)
    read = Meanings(spec, tmp_path)
    first = read.cosines("red fish", names)
    assert first.shape == (300,) and np.isfinite(first).all()
    (kept,) = tmp_path.glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(StillReading, match="100 of 300"):
        Meanings(spec, tmp_path).cosines("fish", names)


@pytest.mark.slow
def test_a_photo_is_scored_by_the_dictionarys_own_backbone(state: State, tmp_path: Path) -> None:
    features = Features(settings_of(tmp_path), state)
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (70, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    found = features.top_features(buffer.getvalue(), dictionary="sandbox", limit=5)
    # A TopK dictionary of k 8, with facts of none of its features.
    assert len(found) == 5 and all(each.activation > 0 and each.relative is None for each in found)
    assert found == features.top_features(buffer.getvalue(), dictionary="sandbox", limit=5)
