"""What witnesses promise: presence of texts in images, read once by a model other than the explained one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.lexicon import Word, WordBook
from namesae.settings import load_settings
from namesae.wiring import State, Workbench, open_state
from namesae.witnesses import WITNESSES, Calls, witness_of
from sae.card import DictionaryCard, read_card
from tests.test_wiring import bench
from tests.tiny_dictionary import write_dictionary
from tests.tiny_models import write_clip
from tools.errors import DependencyError, UsageError
from tools.fakes import FakeWitness, fake_world
from tools.ledger import Ledger
from tools.ledgered_witness import CAPTION, LedgeredEmbeddings, LedgeredReadings
from tools.protocols import Floats, Witness
from tools.scoring import scorer_fingerprint
from tools.witness import CaptionWitness, EmbeddingWitness, shows

BOOK = WordBook(
    {
        "animal": Word(category="family"),
        "fish": Word(category="object", family="animal", plural="fish"),
        "cat": Word(category="object", family="animal", synonyms=("kitten",)),
        "red": Word(category="colour", synonyms=("scarlet",)),
        "striped": Word(category="texture"),
        "polar bear": Word(category="object", family="animal"),
    }
)
CAPTIONS = {
    "a": "two scarlet fish on water",
    "b": "one striped cat",
    "c": "a polar bear and a sloth",
    "d": "",
}


def spoken() -> CaptionWitness:
    return CaptionWitness(lambda images: [CAPTIONS[image] for image in images], BOOK, fingerprint="spoken")


def present(text: str) -> str:
    return "".join(
        image for image, shown in zip(CAPTIONS, spoken()(list(CAPTIONS), [text])[:, 0], strict=True) if shown
    )


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("fish", "a"),
        ("red fish", "a"),
        ("a red thing", "a"),
        ("striped fish", ""),
        ("a kitten", "b"),
        ("animals", "abc"),
        ("polar bears", "c"),
        ("sloth", "c"),
        ("polar bear with a sloth", "c"),
        ("zebra", ""),
        ("red zebra", ""),
        ("a thing", ""),
        ("", ""),
    ],
)
def test_a_text_is_present_where_the_caption_says_all_its_words(text: str, images: str) -> None:
    assert present(text) == images


def test_captions_are_scores_of_every_text_in_every_image() -> None:
    scores = spoken()(["b", "a", "b"], ["cat", "red", "animal"])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, [[1, 0, 1], [0, 1, 1], [1, 0, 1]])
    assert spoken()([], ["cat"]).shape == (0, 1) and spoken()(["a"], []).shape == (1, 0)
    with pytest.raises(KeyError):
        spoken()(["nowhere"], ["cat"])


def test_embeddings_are_compared_by_their_cosine_and_texts_are_read_once() -> None:
    read: list[str] = []

    def texts(asked: Sequence[str]) -> Floats:
        read.extend(asked)
        return np.array([[len(text), 1.0] for text in asked], np.float32)

    rows = {"x": [3.0, 0.0], "y": [0.0, 2.0]}
    witness = EmbeddingWitness(
        lambda images: np.array([rows[image] for image in images], np.float32),
        texts,
        fingerprint="cosine",
        template="a {}",
    )
    scores = witness(["x", "y"], ["a", "aaa", "a"])
    assert scores.shape == (2, 3) and np.all(np.abs(scores) <= 1 + 1e-6)
    np.testing.assert_allclose(scores[:, 0], [3 / np.sqrt(10), 1 / np.sqrt(10)], rtol=1e-6)
    witness(["x"], ["aaa"])
    assert read == ["a a", "a aaa"]
    assert witness([], ["a"]).shape == (0, 1) and witness(["x"], []).shape == (1, 0)


def test_presence_is_an_auroc_with_its_interval() -> None:
    control = np.array([1.0] * 5 + [0.0] * 95, np.float32)
    shown, hidden = shows(np.ones(20, np.float32), control), shows(np.zeros(20, np.float32), control)
    assert shown.auroc == pytest.approx(0.975) and shown.n == 20
    assert shown.ci.low > 0.8 and hidden.ci.high < 0.6
    assert hidden.ci.low <= hidden.auroc == pytest.approx(0.475)
    few = shows(np.zeros(2, np.float32), control)
    assert few.ci.high > hidden.ci.high
    with pytest.raises(ValueError, match="two filled rows"):
        shows(np.zeros(0, np.float32), np.zeros(0, np.float32))


def test_a_picture_is_read_once_in_batches_that_need_not_divide(redis: Any) -> None:
    asked: list[list[str]] = []

    def read(images: Sequence[str]) -> list[str]:
        asked.append(list(images))
        return [f"picture {image}" for image in images]

    ids = [str(each) for each in range(67)]
    first = LedgeredReadings(read, Ledger(redis), form=CAPTION, model="m")
    assert first([*ids, "0"]) == [*(f"picture {each}" for each in ids), "picture 0"]
    assert [len(batch) for batch in asked] == [64, 3]
    assert LedgeredReadings(read, Ledger(redis), form=CAPTION, model="m")(ids[::-1])[0] == "picture 66"
    assert len(asked) == 2
    assert LedgeredReadings(read, Ledger(redis), form=CAPTION, model="other")(["1"]) == ["picture 1"]
    assert len(asked) == 3
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    for _ in range(2):
        kept = LedgeredEmbeddings(lambda images: rows[: len(images)], Ledger(redis), model="m")
        np.testing.assert_array_equal(kept(["0", "1", "0"]), rows[[0, 1, 0]])


def test_the_fake_is_a_witness() -> None:
    world = fake_world()
    witness: Witness = FakeWitness(world.store)
    scores = witness(world.control.images[:50], ["fish", "a red thing", ""])
    shown = world.control._shown[:50]
    np.testing.assert_array_equal(scores[:, 0], ["fish" in each for each in shown])
    assert not scores[:, 2].any()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("witness")
    write_dictionary(root)
    shutil.copytree(root / "clip", root / "again")
    write_clip(root / "other")
    return root


def card_with(models: Path, witness: str | None) -> DictionaryCard:
    return read_card(models / "tiny").model_copy(update={"witness": witness})


def calls(models: Path, own: str | None, chosen: str | None = None) -> Calls:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Calls(
        card=card_with(models, own),
        folder=models / "tiny",
        chosen=chosen,
        picture=lambda image: Image.fromarray(pixels),
        lexicon=BOOK,
        template="a photo of {}",
    )


def test_the_witness_is_the_persons_else_the_cards_else_none(
    models: Path, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    assert witness_of(calls(models, None), {}) is None
    own, chosen = (
        witness_of(calls(models, "transformers:../other"), {}),
        witness_of(calls(models, "nothing:x", "transformers:other"), {}),
    )
    assert own is not None and chosen is not None and own.fingerprint == chosen.fingerprint
    told = own.hear(Ledger(redis))(["1", "2", "1"], ["fish", "red"])
    assert told.shape == (3, 2) and np.isfinite(told).all()
    assert own.hear(Ledger(redis)).fingerprint == own.fingerprint


def test_the_explained_backbone_is_no_witness_wherever_it_lies(models: Path) -> None:
    with pytest.raises(UsageError, match="is the backbone that is explained; give another") as raised:
        witness_of(calls(models, "open_clip:../clip"), {})
    assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="is the backbone that is explained"):
        witness_of(calls(models, "open_clip:../again"), {})


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ("oracle:../other", UsageError, "'oracle:../other' is of no known kind; have open_clip,"),
        ("../other", UsageError, "is of no known kind; .* as KIND:SOURCE"),
        ("captioner:nobody/nothing", DependencyError, "neither a folder nor in the hub cache"),
    ],
)
def test_a_wrong_witness_is_one_sentence(models: Path, given: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told) as raised:
        witness_of(calls(models, given), {})
    assert "\n" not in str(raised.value)


def test_every_kind_can_be_chosen(tmp_path: Path) -> None:
    for kind in WITNESSES:
        assert load_settings(home=tmp_path, witness=f"{kind}:a/b").witness == f"{kind}:a/b"


def test_a_witness_changes_answers_and_no_score(models: Path) -> None:
    without, with_one = card_with(models, None), card_with(models, "reader:../reader")
    folder = models / "tiny"
    assert scorer_fingerprint(without, folder, device="cpu") == scorer_fingerprint(
        with_one, folder, device="cpu"
    )


def test_the_reader_of_the_sandbox_is_a_kind_like_any_other(redis: Any) -> None:
    from sandbox.sets import image_set
    from sandbox.world.lexicon import lexicon

    shipped = Path(__file__).parents[1] / "sandbox" / "models"
    card = read_card(shipped / "sandbox")
    assert card.witness == "reader:../reader"
    pictures, words = image_set("control").pictures()[:41], lexicon()["words"]
    book = WordBook({word: Word.model_validate(entry) for word, entry in words.items()})
    asked = Calls(card, shipped / "sandbox", None, lambda image: pictures[int(image)], book, "{}")
    called = witness_of(asked, {})
    assert called is not None
    texts = ["fish", "animal", "striped", "kitten", "a red thing on water"]
    seen = called.hear(Ledger(redis))([str(row) for row in range(41)], texts)
    from sandbox.world.concepts import truth

    names = [text.replace("a red thing", "red") for text in texts]
    labels = np.stack([truth(name, image_set("control").labels[:41]) for name in names], axis=1)
    assert (seen == labels).mean() > 0.97


@pytest.fixture
def state(tmp_path: Path, redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAMESAE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    with open_state(load_settings()) as opened:
        yield opened


def test_a_run_gets_the_witness_that_the_settings_name(state: State, models: Path) -> None:
    def workbench(**settings: Any) -> Workbench:
        return bench(state, models / "tiny", **settings)

    none, some = workbench(), workbench(witness=f"transformers:{models / 'other'}")
    assert none.models.witness is None and none._witness is None
    assert some.models.witness is not None and some._witness is not None
    assert some._witness.fingerprint == some.models.witness.fingerprint
    assert none.models.fingerprint != some.models.fingerprint
    assert none.models.score.fingerprint == some.models.score.fingerprint


def test_a_vision_only_model_is_refused_when_it_is_first_asked(models: Path, redis: Any) -> None:
    from tests.tiny_models import write_vit

    write_vit(models / "blind")
    called = witness_of(calls(models, "transformers:../blind"), {})
    assert called is not None
    with pytest.raises(UsageError, match="reads no texts"):
        called.hear(Ledger(redis))(["1"], ["fish"])
