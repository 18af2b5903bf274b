"""Settings to named features: the whole real path over tiny random models, and each way it can fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from namesae.dictionaries import find_dictionary
from namesae.file_sums import FileSums
from namesae.galleries import FolderPictures, Gallery, SandboxPictures, Shelf
from namesae.settings import Settings, load_settings
from namesae.wiring import State, Workbench, open_state
from sae.errors import BadDictionary
from tests.tiny_dictionary import N_FEATURES, random_dictionary, write_dictionary
from tools.errors import DependencyError, IntegrityError, NamesaeError, UsageError
from tools.image_store import ImageStore, png_of

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "open_clip", "diffusers", "transformers")
SMALL = {"max_images": 12, "sealed_images": 4}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny dictionary with its models, written once."""
    root = tmp_path_factory.mktemp("tiny")
    write_dictionary(root)
    return root


@pytest.fixture(scope="session")
def warm_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose galleries and probe sets the tests share."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def probe_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe set small enough for tests; its size divides by no batch."""
    return write_pictures(tmp_path_factory.mktemp("probe") / "pictures", 101)


@pytest.fixture
def home(
    warm_home: Path,
    probe_pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    redis: Any,
    redis_server: Any,
    tmp_path: Path,
) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAMESAE_HOME", str(warm_home))
    monkeypatch.setenv("NAMESAE_PROBE_IMAGES", str(probe_pictures))
    monkeypatch.setenv("NAMESAE_IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    return warm_home


@pytest.fixture
def state(home: Path) -> Iterator[State]:
    with open_state(load_settings()) as opened:
        yield opened


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    """The tiny dictionary and its models, to be spoilt."""
    shutil.copytree(built, tmp_path / "copy")
    return tmp_path / "copy" / "tiny"


def bench(state: State, folder: Path, **settings: Any) -> Workbench:
    chosen = load_settings(**(SMALL | settings))
    return Workbench(chosen, state, listed=find_dictionary(str(folder), chosen))


def live_feature(workbench: Workbench) -> int:
    exemplars = workbench.models.exemplars()
    return next(index for index in range(N_FEATURES) if 0 < exemplars.facts(index).density < 0.9)


def write_pictures(folder: Path, count: int, *, side: int = 8) -> Path:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8)
    for at, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{at:04}.png")
    return folder


def test_a_feature_is_named_through_real_model_files_and_found_again_without_torch(
    state: State, built: Path
) -> None:
    workbench = bench(state, built / "tiny")
    index = live_feature(workbench)
    explanation = workbench.name(index)
    assert explanation.verdict not in ("failed", "cancelled")
    assert explanation.proposer == "lexical" and explanation.feature.index == index
    assert explanation.images.search <= 12 and explanation.images.sealed in (0, 4)
    assert explanation.evidence is not None and explanation.evidence.exemplars
    facts = explanation.evidence.facts
    assert {word for word, _ in facts.tags} <= {
        "fish",
        "bird",
        "striped",
        "red",
        "water",
    } and facts.vocabulary
    assert len(facts.neighbours) == 8
    for exemplar in explanation.evidence.exemplars:
        assert state.images.get(exemplar.image).size == (8, 8)
    control = workbench.recorded_control(index)
    assert len(control) == (1000 if explanation.images.search else 0)
    selection = f"{built / 'tiny'}#{index}"
    probe = (
        "import sys\n"
        "from namesae.cli import run\n"
        f"code = run(['name', {selection!r}, '--max-images', '12', '--quiet', '--json'])\n"
        f"sys.exit([m for m in {HEAVY!r} if m in sys.modules] or code)"
    )
    told = subprocess.run(
        [sys.executable, "-c", probe],
        env=os.environ | {"PYTHONPATH": str(ROOT), "NAMESAE_SEALED_IMAGES": "4"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert '"stored": true' in told.stdout


def test_models_are_recognised_by_all_that_changes_their_answers(
    state: State, copied: Path, tmp_path: Path
) -> None:
    def fingerprint(**settings: Any) -> str:
        return bench(state, copied, **settings).models.fingerprint

    seen = [fingerprint()]
    assert fingerprint() == seen[0] == fingerprint(seed=5, max_images=20)
    pictures = write_pictures(tmp_path / "pictures", 3)
    seen.append(fingerprint(control_images=pictures))
    seen.append(fingerprint(probe_images=pictures))
    card = (copied.parent / "sd" / "card.json").read_text()
    (copied.parent / "sd" / "card.json").write_text(card.replace('"steps": 2', '"steps": 3'))
    seen.append(fingerprint())
    from sae.card import Origin, read_card

    origin = Origin(**{name: getattr(read_card(copied), name) for name in Origin.model_fields})
    random_dictionary(seed=1).save(copied, origin)
    seen.append(fingerprint())
    (copied / "facts.json").write_text("[]")
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"probe_images": "nowhere"}, "Image folder .*nowhere does not exist"),
        ({"control_images": "empty"}, "holds no picture"),
        ({"generator": "nowhere/at-all"}, "downloaded"),
        ({"generator": "empty"}, r"has no model_index\.json"),
    ],
)
def test_what_is_missing_is_one_sentence_before_any_work(
    state: State, built: Path, tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NamesaeError, match=told) as raised:
        bench(state, built / "tiny", **settings).request(0)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == (3 if isinstance(raised.value, DependencyError) else 2)


def test_a_dictionary_without_generator_or_pictures_says_which_flag_helps(
    state: State, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    card = json.loads((copied / "dictionary.json").read_text())
    (copied / "dictionary.json").write_text(json.dumps(card | {"generator": None}))
    with pytest.raises(UsageError, match="--generator"):
        bench(state, copied).request(0)
    monkeypatch.delenv("NAMESAE_PROBE_IMAGES")
    (copied / "dictionary.json").write_text(json.dumps(card | {"probe_set": None}))
    with pytest.raises(UsageError, match="--images"):
        bench(state, copied).request(0)


def test_a_control_set_needs_a_thousand_pictures_that_can_be_read(
    state: State, built: Path, tmp_path: Path
) -> None:
    few = write_pictures(tmp_path / "few", 7)
    with pytest.raises(UsageError, match="at least 1,000"):
        bench(state, built / "tiny", control_images=few).models.control()
    (few / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    with pytest.raises(UsageError, match=r"broken\.png cannot be read"):
        bench(state, built / "tiny", control_images=few).models.control()
    enough = write_pictures(tmp_path / "enough", 1003)
    control = bench(state, built / "tiny", control_images=enough).models.control()
    assert len(control.images) == 1000 and control.share("fish") is None


def test_corrupt_weights_are_one_sentence_with_exit_code_5(state: State, copied: Path) -> None:
    weights = copied / "dictionary.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises((IntegrityError, BadDictionary), match="not the file its card was written for"):
        bench(state, copied).models.score([png_id(state, "red")])
    text_encoder = copied.parent / "sd" / "text_encoder" / "model.safetensors"
    text_encoder.write_bytes(b"nonsense")
    from tools.protocols import DrawRequest

    with pytest.raises(IntegrityError, match="cannot be loaded"):
        bench(state, copied).models.draw([DrawRequest(prompt="a fish", seed=1)])


def png_id(state: State, colour: str) -> str:
    return state.images.put(Image.new("RGB", (32, 32), colour))


def test_facts_that_come_with_a_dictionary_are_used(state: State, copied: Path) -> None:
    from tools.feature_facts import write_facts
    from tools.protocols import FeatureFacts

    told = [FeatureFacts(density=0.5, threshold=1.0, p99=2.0, tags=(("fish", 3.0),))] * N_FEATURES
    write_facts(copied / "facts.json", told)
    assert bench(state, copied).models.exemplars().facts(3) == told[3]
    write_facts(copied / "facts.json", told[:-1])
    with pytest.raises(IntegrityError, match="do not fit"):
        bench(state, copied).models.exemplars()


def test_a_gallerys_pictures_have_the_ids_the_store_would_give_them(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "images")
    folder = write_pictures(tmp_path / "pictures", 7)
    gallery = Gallery(FolderPictures(folder, count=5, seed=1), tmp_path / "galleries")
    shelf = Shelf(store)
    shelf.show(gallery)
    assert len(gallery.images) == 5
    for image in gallery.images:
        assert not store.has(image) and shelf.has(image)
        assert shelf.png(image) == png_of(shelf.get(image))
    shelf.keep(gallery.images[:2])
    assert [store.has(image) for image in gallery.images] == [True, True, False, False, False]
    again = Gallery(FolderPictures(folder, count=5, seed=1), tmp_path / "galleries")
    assert again.images == gallery.images
    with pytest.raises(KeyError):
        shelf.get("0" * 64)


def test_the_sandbox_control_set_knows_the_share_of_a_concept(tmp_path: Path) -> None:
    pictures = SandboxPictures("control")
    assert len(pictures) == 1000
    share = pictures.share("striped")
    assert share is not None and 0.1 < share < 0.5
    assert pictures.share("zebra crossing") is None


def test_files_are_read_once(redis: Any, tmp_path: Path) -> None:
    from sae.fingerprint import fingerprint

    sums = FileSums(redis)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"12345678")
    first = fingerprint(str(tmp_path / "model"), sums=sums)
    assert len(sums) == 1 and [sums[name] for name in sums] != []
    name = next(iter(sums))
    sums[name] = "not what it holds"
    assert fingerprint(str(tmp_path / "model"), sums=sums) != first
    del sums[name]
    assert fingerprint(str(tmp_path / "model"), sums=sums) == first
    with pytest.raises(KeyError):
        del sums["no such file"]


def test_one_process_shares_its_models_over_features(state: State, built: Path) -> None:
    workbench = bench(state, built / "tiny")
    assert workbench.models.exemplars() is workbench.models.exemplars()
    assert workbench.toolbox("run-1").exemplars is workbench.toolbox("run-2").exemplars
    assert workbench.toolbox("run-1").score.fingerprint == workbench.models.score.fingerprint


def test_the_settings_reach_the_request(home: Path, state: State, built: Path) -> None:
    request = bench(state, built / "tiny", seed=9, cost_limit=0.5).request(3)
    limits = request.settings.limits
    assert (request.settings.seed, limits.images, limits.sealed, limits.usd) == (9, 12, 4, 0.5)
    assert bench(state, built / "tiny", yes=True).request(3).settings.limits.usd is None
    assert isinstance(load_settings(), Settings)
