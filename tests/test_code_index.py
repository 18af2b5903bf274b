"""The code index: what it answers is what the dense activations say, and a stopped build goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sae import code_index_build
from sae.activations import FeatureReader, Floats
from sae.code_index import CodeIndex, Directions, open_index
from sae.code_index_build import Progress, build_index, current_index, identity_of
from sae.code_index_columns import Columns, IndexCard
from sae.errors import BadIndex
from sae.folder_lock import folder_lock
from sae.image_source import FolderImages
from tests.tiny_backbones import tiny_backbone
from tests.tiny_dictionary import N_FEATURES, random_dictionary

IMAGES = 37
PART = 8


@pytest.fixture(scope="module")
def reader() -> FeatureReader:
    return FeatureReader(tiny_backbone("open_clip"), random_dictionary(), "pooled", "none", batch_size=5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """37 pictures of noise, in two classes and beside them."""
    folder = tmp_path_factory.mktemp("pictures")
    chance = np.random.default_rng(0)
    for number in range(IMAGES):
        place = folder / ("", "birds", "deep/fish")[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        add_picture(place / f"ä {number:02d}.png", chance)
    return folder


def add_picture(path: Path, chance: np.random.Generator) -> None:
    colour = chance.integers(256, size=(2, 2, 3), dtype=np.uint8)
    Image.fromarray(colour).resize((32, 32), Image.Resampling.BILINEAR).save(path)


@pytest.fixture
def index(
    reader: FeatureReader, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CodeIndex:
    monkeypatch.setattr(code_index_build, "PART", PART)
    monkeypatch.setattr(code_index_build, "SORTED_AT_ONCE", 20)
    return build_index(reader, FolderImages(pictures), folder=tmp_path / "index", identity="one")


@pytest.fixture(scope="module")
def dense(reader: FeatureReader, pictures: Path) -> Floats:
    # In the parts in which it is built: the last bit may depend on an image's place in a batch.
    source = FolderImages(pictures)
    images = [source.read(row).image for row in range(len(source))]
    return np.concatenate([reader(images[at : at + PART]) for at in range(0, len(images), PART)])


def test_both_sides_hold_what_the_reader_reads(index: CodeIndex, dense: Floats) -> None:
    assert dense.any(0).sum() > 10
    for row in range(IMAGES):
        features, values = index.code(row)
        assert features.tolist() == np.flatnonzero(dense[row]).tolist()
        assert values.tolist() == dense[row][features].tolist()
    for feature in range(N_FEATURES):
        assert (index.activations(feature) == dense[:, feature]).all()
        _, ranked = index.images(feature)
        assert (np.diff(ranked) <= 0).all()
    assert index.columns.means == pytest.approx(dense.mean(0))
    assert index.n_active.tolist() == (dense != 0).sum(0).tolist()


def test_the_top_images_are_the_strongest(index: CodeIndex, dense: Floats) -> None:
    feature = int(dense.mean(0).argmax())
    top = index.top(feature, count=4)
    assert [each.activation for each in top] == sorted(dense[:, feature], reverse=True)[:4]
    assert all(dense[each.row, feature] == each.activation for each in top)
    assert index.strongest(1) == (feature,)


def test_a_dead_feature_has_no_images_and_is_not_among_the_strongest(index: CodeIndex, dense: Floats) -> None:
    dead = int(np.flatnonzero(~dense.any(0))[0])
    assert index.top(dead) == () and index.together(dead) == ()
    assert index.band(dead, low=0, high=1).images == ()
    assert all(band.images == () for band in index.bands(dead))
    assert dead not in index.strongest(N_FEATURES)


def test_bands_part_the_distribution(index: CodeIndex, dense: Floats) -> None:
    feature = int((dense != 0).sum(0).argmax())
    live = np.sort(dense[:, feature][dense[:, feature] != 0])[::-1]
    whole = index.bands(feature, count=3, images=IMAGES)
    assert [each.activation for band in whole for each in band.images] == live.tolist()
    middle = index.band(feature, low=0.25, high=0.75, count=IMAGES)
    quantile = 1 - (np.arange(len(live)) + 0.5) / len(live)
    expected = live[(quantile >= 0.25) & (quantile <= 0.75)]
    assert [each.activation for each in middle.images] == expected.tolist()
    with pytest.raises(ValueError, match="use 0 <= low"):
        index.band(feature, low=0.5, high=0.5)


def test_classes_come_from_folder_names(index: CodeIndex, dense: Floats, pictures: Path) -> None:
    source = FolderImages(pictures)
    labels = [source.read(row).label for row in range(IMAGES)]
    feature = int(dense.mean(0).argmax())
    for each in index.classes(feature):
        rows = [row for row in range(IMAGES) if labels[row] == each.label]
        assert (each.n_images, each.n_active) == (len(rows), int((dense[rows, feature] != 0).sum()))
        assert each.mean == pytest.approx(dense[rows, feature].mean())
    assert {each.label for each in index.classes(feature)} == {"birds", "deep/fish"}
    assert [index.label(row) for row in range(IMAGES)] == labels
    assert [index.key(row) for row in range(IMAGES)] == [source.key(row) for row in range(IMAGES)]
    assert index.sha256(3) == source.read(3).sha256


def test_companions_are_ranked_by_jaccard(index: CodeIndex, dense: Floats) -> None:
    feature = int((dense != 0).sum(0).argmax())
    on = dense != 0
    both = (on & on[:, [feature]]).sum(0)
    jaccard = both / (on | on[:, [feature]]).sum(0).clip(1)
    jaccard[feature] = 0
    found = index.together(feature, count=3)
    assert [each.jaccard for each in found] == pytest.approx(sorted(jaccard, reverse=True)[:3])
    assert found[0].share == pytest.approx(both[found[0].feature] / on[:, feature].sum())


def test_neighbours_are_by_cosine(reader: FeatureReader) -> None:
    decoder = reader.dictionary.W_dec.numpy()
    unit = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    cosine = unit @ unit[7]
    cosine[7] = -2
    found = Directions(decoder).nearest(7, count=3)
    assert [each.feature for each in found] == np.argsort(-cosine)[:3].tolist()
    assert found[0].cosine == pytest.approx(float(cosine.max()), abs=1e-6)


def test_a_build_that_was_stopped_goes_on(
    reader: FeatureReader, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dense: Floats
) -> None:
    monkeypatch.setattr(code_index_build, "PART", PART)
    counting = CountingReader(reader)

    def stop(progress: Progress) -> None:
        if progress.done == 24:
            raise KeyboardInterrupt

    source = FolderImages(pictures)
    with pytest.raises(KeyboardInterrupt):
        build_index(counting.reader, source, folder=tmp_path, identity="one", log=stop)
    with pytest.raises(BadIndex, match="build the code index"):
        open_index(tmp_path)
    (broken,) = tmp_path.glob("parts/*/000001.npz")
    broken.write_bytes(broken.read_bytes()[:100])
    found = build_index(counting.reader, source, folder=tmp_path, identity="one")
    assert counting.read == 24 + 8 + IMAGES - 24
    assert all((found.activations(each) == dense[:, each]).all() for each in range(N_FEATURES))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [found.card.generation]


def test_an_index_over_more_images_reads_only_the_new_ones(
    reader: FeatureReader, pictures: Path, tmp_path: Path
) -> None:
    import shutil

    mine = tmp_path / "mine"
    shutil.copytree(pictures, mine)
    counting = CountingReader(reader)
    first = build_index(counting.reader, FolderImages(mine), folder=tmp_path / "index", identity="one")
    chance = np.random.default_rng(9)
    (mine / "ants").mkdir()
    add_picture(mine / "ants" / "a.png", chance)
    assert current_index(tmp_path / "index", FolderImages(mine), identity="one") is None
    grown = build_index(counting.reader, FolderImages(mine), folder=tmp_path / "index", identity="one")
    assert counting.read == IMAGES + 1
    assert grown.card.n_images == IMAGES + 1 and grown.card.classes == ("ants", "birds", "deep/fish")
    old = {first.key(row): first.code(row)[1].tolist() for row in range(IMAGES)}
    new = {grown.key(row): grown.code(row)[1].tolist() for row in range(IMAGES + 1)}
    assert old.items() <= new.items()
    again = build_index(counting.reader, FolderImages(mine), folder=tmp_path / "index", identity="one")
    assert again.card == grown.card and counting.read == IMAGES + 1


def test_of_two_builds_at_once_one_waits_and_takes_what_the_other_built(
    reader: FeatureReader, pictures: Path, tmp_path: Path
) -> None:
    counting, source = CountingReader(reader), FolderImages(pictures)

    def build(_: int) -> CodeIndex:
        return build_index(counting.reader, source, folder=tmp_path, identity="one")

    with ThreadPoolExecutor(2) as pool:
        with folder_lock(tmp_path):
            builds = [pool.submit(build, number) for number in range(2)]
            assert not wait(builds, timeout=0.2).done and counting.read == 0
        first, second = (each.result() for each in builds)
    assert counting.read == IMAGES and first.card == second.card
    with folder_lock(tmp_path):
        assert build(0).card == first.card, "an index that is there waits for nobody"


def test_an_index_of_another_dictionary_is_built_anew(
    reader: FeatureReader, pictures: Path, tmp_path: Path
) -> None:
    counting = CountingReader(reader)
    for identity in ("one", "two"):
        build_index(counting.reader, FolderImages(pictures), folder=tmp_path, identity=identity)
    assert counting.read == 2 * IMAGES


def test_what_is_broken_is_said_in_a_sentence(index: CodeIndex, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with pytest.raises(BadIndex, match="it has 0 to 39"):
        index.images(40)
    column = folder / index.card.generation / "rows.npy"
    whole = column.read_bytes()
    for raw in (whole[:-4], whole[:20], b"", b"not an array"):
        column.write_bytes(raw)
        with pytest.raises(BadIndex, match="build"):
            open_index(folder)
    column.write_bytes(whole)
    assert open_index(folder).card == index.card
    (folder / "index.json").write_text('{"classes": 3}')
    with pytest.raises(BadIndex, match="not the card"):
        open_index(folder)


def test_the_identity_of_a_dictionary_follows_its_card() -> None:
    folder = Path("sandbox") / "models"
    assert identity_of(folder / "sandbox") == identity_of(folder / "sandbox")
    assert identity_of(folder / "sandbox") != identity_of(folder / "sandbox-vit")


@given(
    st.lists(st.integers(1, 9).map(float), min_size=1, max_size=30), st.floats(0, 0.99), st.floats(0.01, 1)
)
def test_a_band_holds_the_quantiles_it_says(values: list[float], low: float, width: float) -> None:
    high = min(1.0, low + width)
    index = of_one_feature(sorted(values, reverse=True))
    quantile = [1 - (at + 0.5) / len(values) for at in range(len(values))]
    expected = [at for at, each in enumerate(quantile) if low - 1e-9 <= each <= high + 1e-9]
    strict = [at for at, each in enumerate(quantile) if low + 1e-9 <= each <= high - 1e-9]
    found = [each.row for each in index.band(0, low=low, high=high, count=99).images]
    assert set(strict) <= set(found) <= set(expected)


def of_one_feature(ranked: list[float]) -> CodeIndex:
    """An index in memory of images on which one feature is active."""
    n = len(ranked)
    offsets = np.arange(n + 1, dtype=np.int64)
    columns = Columns(
        offsets=offsets,
        features=np.zeros(n, np.int32),
        values=np.array(ranked, np.float32),
        starts=np.array([0, n]),
        rows=np.arange(n, dtype=np.uint32),
        ranked=np.array(ranked, np.float32),
        means=np.array([np.mean(ranked)], np.float32),
        labels=np.full(n, -1, np.int32),
        sums=np.zeros((n, 32), np.uint8),
        key_starts=np.zeros(n + 1, np.int64),
        key_text=np.zeros(0, np.uint8),
    )
    card = IndexCard(
        identity="",
        source="",
        fingerprint="",
        classes=(),
        n_images=n,
        n_features=1,
        entries=n,
        generation="g",
    )
    return CodeIndex(card, columns)


class CountingReader:
    """A reader that counts the images it reads."""

    def __init__(self, reader: FeatureReader) -> None:
        self.read = 0
        outer = self

        class Counting(FeatureReader):
            def __call__(self, images: object) -> Floats:
                outer.read += len(images)  # type: ignore[arg-type]
                return super().__call__(images)  # type: ignore[arg-type]

        self.reader = Counting(
            reader.backbone, reader.dictionary, reader.hook_point, reader.pooling, batch_size=5
        )
