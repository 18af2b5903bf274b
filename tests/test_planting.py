from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sae.activations import open_reader
from sae.card import read_card
from sae.dictionary import SparseDictionary, load_dictionary
from sandbox.handicap import EMBEDDINGS, ENCODER, SETS, handicap, handicapped_values
from sandbox.heldout import held_out
from sandbox.planted_choice import Embedded
from sandbox.planted_concepts import Variety, undrawable_wishes, wishes
from sandbox.planting import GENERATOR, plant, plant_on, plant_undrawable_on, sandbox_classes
from sandbox.rivals import best_rival
from sandbox.sets import image_set
from sandbox.training.pictures import to_pixels
from sandbox.training.reader import load_reader
from sandbox.training.tokens import load_tokenizer
from sandbox.truth import Floats, TruthRow, concepts, load_truth, name_f1, words
from sandbox.world.concepts import Bools, truth
from sandbox.world.vocabulary import MEANINGS
from tools.cards import load_spec
from tools.drawing import load_generator
from tools.errors import UsageError
from tools.fakes import MemoryImageStore
from tools.protocols import DrawRequest
from tools.witness import shows

WORDLESS = {"dead", "dense", "incoherent"}
WIDTH, LATENT = 96, 24


def embedded(labels: Bools, *, seed: int, noise: float = 0.05) -> Embedded:
    """Labels on random directions, and as much again of what no label tells, off-centre."""
    fixed, rng = np.random.default_rng(7), np.random.default_rng(seed)
    shown, other = fixed.normal(size=(labels.shape[1], WIDTH)), fixed.normal(size=(LATENT, WIDTH))
    u = labels @ shown + rng.normal(size=(len(labels), LATENT)) @ other / 2
    return Embedded((u + noise * rng.normal(size=u.shape) + 3).astype(np.float32), labels)


class Built(NamedTuple):
    """A planted dictionary on made-up embeddings, and its activations on the held-out ones."""

    folder: Path
    dictionary: SparseDictionary
    rows: list[TruthRow]
    activations: Floats
    labels: Bools


def build(folder: Path, *, seed: int) -> Built:
    labels = held_out(8001).labels
    train, held = embedded(labels[:5000], seed=1), embedded(labels[5000:], seed=2)
    plant_on(train, held, folder=folder, seed=seed)
    dictionary = load_dictionary(folder)
    found = dictionary.encode(torch.from_numpy(held.u)).numpy()
    return Built(folder, dictionary, load_truth(folder), found, held.labels)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("planted") / "planted", seed=0)


def of_kind(built: Built, kind: str) -> list[TruthRow]:
    return [row for row in built.rows if row.kind == kind]


def test_every_kind_has_two_dozen_features(built: Built) -> None:
    counts = Counter(row.kind for row in built.rows)
    assert set(counts) == {"mono", "hierarchy", "or", "and", "not", "duplicate"} | WORDLESS
    assert min(counts.values()) >= 24
    assert [row.index for row in built.rows] == list(range(built.dictionary.n_features))
    assert [row.kind for row in built.rows] != sorted(row.kind for row in built.rows)


def test_the_folder_names_models_that_are_there_from_anywhere(built: Built) -> None:
    card = read_card(built.folder)
    assert card.name == "planted" and card.hook_point == "pooled" and card.architecture == "relu"
    assert Path(card.backbone.source).is_absolute() and Path(card.backbone.source).is_dir()
    assert card.tagger == card.backbone and Path(str(card.generator)).is_dir()


def test_the_words_of_a_concept_tell_its_feature(built: Built) -> None:
    for row in built.rows:
        if row.kind not in WORDLESS:
            told = name_f1(built.activations[:, row.index], truth(row.concept, built.labels))
            assert told == pytest.approx(row.f1) and told >= 0.8 and row.auroc > 0.8, row


def test_no_other_concept_tells_a_feature_better(built: Built) -> None:
    for row in built.rows[::5]:
        if row.kind not in WORDLESS:
            assert best_rival(built.activations[:, row.index], built.labels).f1 <= row.f1 + 0.0101, row


def test_duplicates_are_pairs_of_one_concept_that_nearly_coincide(built: Built) -> None:
    pairs: dict[str, list[int]] = {}
    for row in of_kind(built, "duplicate"):
        pairs.setdefault(row.concept, []).append(row.index)
    assert len(pairs) == 12
    for first, second in pairs.values():
        assert 0.95 <= float(built.dictionary.W_dec[first] @ built.dictionary.W_dec[second]) < 0.9999


def test_what_no_words_describe_says_so(built: Built) -> None:
    for kind, low, high in (("dead", 0, 0), ("dense", 0.97, 1), ("incoherent", 0.05, 0.1)):
        for row in of_kind(built, kind):
            assert (row.concept, row.f1, row.auroc) == ("", 0, 0.5)
            assert low <= row.density <= high
            assert row.density == pytest.approx((built.activations[:, row.index] > 0).mean())


def test_no_concept_reaches_half_on_an_incoherent_feature(built: Built) -> None:
    shown = [concept.holds(built.labels) for concept in concepts()]
    for row in of_kind(built, "incoherent")[::8]:
        assert max(name_f1(built.activations[:, row.index], each) for each in shown) < 0.5


def test_activations_are_of_order_one_along_the_decoder(built: Built) -> None:
    dictionary, alive = built.dictionary, [row.index for row in built.rows if row.kind != "dead"]
    for index in alive:
        active = built.activations[:, index]
        assert 0.5 < np.median(active[active > 0]) < 2
    torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(dictionary.n_features))
    cosines = torch.nn.functional.cosine_similarity(dictionary.W_enc.T, dictionary.W_dec)
    torch.testing.assert_close(cosines, torch.ones(dictionary.n_features))


def test_no_value_is_in_too_many_pairs(built: Built) -> None:
    seen: Counter[str] = Counter()
    for concept in {row.concept for row in built.rows if row.kind in ("or", "and", "duplicate")}:
        seen.update(concept.replace(" or ", " ").split())
    assert max(seen.values()) <= 4


def test_a_seed_plants_the_same_and_another_does_not(built: Built, tmp_path: Path) -> None:
    assert read_card(build(tmp_path / "again", seed=0).folder).weights == read_card(built.folder).weights
    other = build(tmp_path / "other", seed=1)
    assert read_card(other.folder).name == "planted@1"
    assert {row.concept for row in other.rows} != {row.concept for row in built.rows}


@pytest.mark.parametrize("seed", [0, 1])
def test_undrawable_features_tell_values_that_their_generator_does_not_show(
    tmp_path: Path, seed: int
) -> None:
    labels, folder = held_out(8001).labels, tmp_path / "planted"
    train, held = embedded(labels[:5000], seed=1), embedded(labels[5000:], seed=2)
    card = plant_undrawable_on(train, held, folder=folder, seed=seed)
    rows, values = load_truth(folder), {each.value for each in handicapped_values(seed)}
    found = load_dictionary(folder).encode(torch.from_numpy(held.u)).numpy()
    assert card.name == ("planted-undrawable", "planted-undrawable@1")[seed] and card.generator == "sd"
    assert len(rows) >= 24 and {row.kind for row in rows} == {"undrawable"}
    assert len({row.concept for row in rows}) == len(rows)
    for row in rows:
        assert set(row.concept.replace(" or ", " ").split()) <= values, row
        told = name_f1(found[:, row.index], truth(row.concept, held.labels))
        assert told == pytest.approx(row.f1) and told >= 0.8, row
    assert {value for value in values if value in {row.concept for row in rows}} == values


def test_a_handicapped_generator_differs_in_the_words_of_its_values_alone(tmp_path: Path) -> None:
    values = handicapped_values(0)
    handicap(Path(GENERATOR), tmp_path / "sd", values=values)
    for name in ("card.json", "lexicon.json", "unet/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "sd" / name).read_bytes() == (Path(GENERATOR) / name).read_bytes()
    known = set(load_spec("sd", tmp_path / "sd").card.vocabulary or ())
    assert {value.value for value in values} | {"thing"} <= known
    shipped, spoilt = (load_file(folder / ENCODER) for folder in (Path(GENERATOR), tmp_path / "sd"))
    assert [name for name in shipped if not shipped[name].equal(spoilt[name])] == [EMBEDDINGS]
    tokenizer = load_tokenizer(Path(GENERATOR) / "tokenizer")
    neutral = shipped[EMBEDDINGS][tokenizer("thing", add_special_tokens=False).input_ids[0]]
    changed = (shipped[EMBEDDINGS] != spoilt[EMBEDDINGS]).any(1).nonzero().flatten().tolist()
    words = {word for word, meaning in MEANINGS.items() if meaning in values}
    assert {"plane", "planes", "aircraft", "grass", "lawn"} <= words
    assert {tokenizer.decode([row]).strip() for row in changed} == words
    assert all(spoilt[EMBEDDINGS][row].equal(neutral) for row in changed)


def test_the_sets_of_undrawable_values_hold_several_kinds_and_share_nothing() -> None:
    for values in SETS:
        assert {each.attribute for each in values} == {"object", "colour", "texture", "background"}
        assert len(set(values)) == 8
    assert not set(SETS[0]) & set(SETS[1])
    asked = [wish.concept for wish in undrawable_wishes(SETS[0], 3)]
    assert len(set(asked)) == len(asked) and asked[:8] == [each.value for each in SETS[0]]
    assert "pink or orange" in asked and "pink orange" not in asked and "checkered brick" in asked


def test_embeddings_that_tell_nothing_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    labels = held_out(3000).labels
    train, held = (embedded(labels[:, ::-1] & False, seed=seed)._replace(labels=labels) for seed in (1, 2))
    with pytest.raises(UsageError, match="Only 0 of 24 'mono' features can be planted"):
        plant_on(train, held, folder=tmp_path / "planted", seed=0)
    assert not (tmp_path / "planted").exists()


def test_wishes_hold_no_pair_twice_and_nothing_simpler_said_long() -> None:
    asked = wishes(3)
    pairs = [frozenset(wish.values) for wish in asked if wish.kind in ("and", "duplicate")]
    assert len(set(pairs)) == len(pairs)
    said = {wish.concept for wish in asked}
    assert said.isdisjoint({"big or small", "one or two", "fish or animal", "animal or fish", "not big"})
    assert {"fish", "animal", "red", "striped", "water", "not plain"} <= said
    assert wishes(3) == asked != wishes(4)


def test_variety_counts_pairs_alone() -> None:
    pair = next(wish for wish in wishes(0) if wish.kind == "or")
    single = next(wish for wish in wishes(0) if wish.values == pair.values[:1])
    variety = Variety(1)
    variety.add(single)
    assert variety.allows(pair)
    variety.add(pair)
    assert not variety.allows(pair) and variety.allows(single)


@pytest.mark.parametrize("concept", ["red", "not plain", "striped fish", "red or fish", "big or small"])
def test_the_best_rival_of_a_planted_concept_is_itself(concept: str) -> None:
    labels = held_out(4000).labels
    rng = np.random.default_rng(0)
    shown = truth(concept, labels)
    activation = (shown * (1 + rng.random(len(labels)))).astype(np.float32)
    assert best_rival(activation, labels).f1 == name_f1(activation, shown) > 0.99


def test_noise_has_no_rival_and_always_saying_yes_gains_nothing() -> None:
    labels = held_out(4000).labels
    rng = np.random.default_rng(0)
    rare = (rng.random(4000) * (rng.random(4000) < 0.08)).astype(np.float32)
    assert best_rival(rare, labels).f1 < 0.3
    always = best_rival((1 + rng.random(4000)).astype(np.float32), labels)
    assert always.f1 > 0.9 and always.gain < 0.1
    assert best_rival(np.zeros(4000, np.float32), labels) == (0, 0)


def test_the_screening_finds_the_best_of_the_truth_table() -> None:
    labels = held_out(4000).labels
    rng = np.random.default_rng(1)
    mixed = labels[:, 3] * 1.0 + labels[:, 25] + labels[:, 40] + rng.normal(size=4000) - 1
    activation = np.maximum(mixed, 0).astype(np.float32)
    best = max(concepts(), key=lambda each: name_f1(activation, each.holds(labels)))
    found = name_f1(activation, best.holds(labels))
    assert best_rival(activation, labels).f1 >= found - 0.005, words(best)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_planting_on_the_sandbox(tmp_path: Path) -> None:
    folder = tmp_path / "planted"
    plant(folder)
    rows, pictures = load_truth(folder), image_set("probe").pictures()
    found = open_reader(folder, batch_size=250).read_pixels(to_pixels(pictures))
    density = (found > 0).mean(0)
    assert min(row.f1 for row in rows if row.kind not in WORDLESS) >= 0.8
    assert min(density[row.index] for row in rows if row.kind == "dense") >= 0.97
    assert max(density[row.index] for row in rows if row.kind == "dead") == 0
    assert all(0.04 < density[row.index] < 0.11 for row in rows if row.kind == "incoherent")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_classes_of_the_sandbox_tell_their_objects(tmp_path: Path) -> None:
    card = sandbox_classes(tmp_path / "classes")
    rows = load_truth(tmp_path / "classes")
    assert card.name == "classes" and card.hook_point == "logits" and len(rows) == card.n_features == 20
    assert min(row.f1 for row in rows) > 0.8 and max(row.density for row in rows) < 0.95


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_handicapped_is_not_shown_and_the_rest_still_is(tmp_path: Path) -> None:
    handicap(Path(GENERATOR), tmp_path / "sd", values=handicapped_values(0))
    store, words = MemoryImageStore(), ["grass", "pink", "plane", "fish", "red", "striped", "water"]
    draw = load_generator(str(tmp_path / "sd"), store, device="cpu")
    drawn = draw([DrawRequest(prompt=word, seed=seed) for word in words for seed in range(12)])
    pictures, control = [store.get(str(each.image)) for each in drawn], image_set("control")
    reader = load_reader(Path(GENERATOR).with_name("reader"))
    seen = [set(each.values()) for each in reader.read(pictures)]
    for at, word in enumerate(words):
        own = np.array([word in each for each in seen[at * 12 : (at + 1) * 12]], np.float32)
        presence = shows(own, truth(word, control.labels).astype(np.float32))
        assert (presence.ci.high < 0.7) if at < 3 else (presence.ci.low > 0.7), (word, presence)
