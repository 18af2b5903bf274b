"""Fills a store with a synthetic dictionary of 100,000 named features, and times what the service reads.

python benchmarks/service_store.py fill --home DIR     # Redis, pictures and dictionary; another process
python benchmarks/service_store.py time --home DIR     # ... may serve them, with NAMESAE_HOME=DIR
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from agent.feature_rows import FeatureRow
from agent.records import Cost, Evidence, Explanation, ImageCount, Proposal, Rival, Trial, VerdictKind
from agent.request import Request
from namesae.dictionaries import shipped_folder
from namesae.service.feature_meaning import StillReading
from namesae.service.feature_query import FeatureQuery
from namesae.service.features import Features
from namesae.service.pictures import ServedPictures
from namesae.settings import Settings
from namesae.wiring import State, open_state
from sae.card import BackboneSpec, DictionaryCard, ProbeSet, write_card
from sae.feature import Exemplar, Feature
from sae.statistics import Statistics, save_statistics
from tools import keys
from tools.protocols import CosyScore, FeatureFacts, Interval

NAME = "synthetic"
WIDTH = 128
PICTURES = 200
"""Different images that all features share."""
PAGE = 500
ADJECTIVES = ("red", "blue", "green", "striped", "spotted", "old", "small", "wet", "dark", "round", "furry")
NOUNS = (
    *("fish", "boat", "dog", "cat", "bird", "tree", "flower", "house", "car", "bridge", "ball", "cup", "hat"),
    *(
        "clock",
        "lamp",
        "leaf",
        "stone",
        "shell",
        "wheel",
        "road",
        "window",
        "door",
        "tower",
        "horse",
        "sheep",
    ),
    *("apple", "pear", "cake", "bread", "bottle", "chair", "bed", "river", "lake", "sea", "forest", "cloud"),
)
PLACES = (
    "water",
    "grass",
    "sand",
    "snow",
    "a table",
    "a wall",
    "the street",
    "the sky",
    "a plate",
    "a shelf",
)
VERDICTS: tuple[VerdictKind, ...] = ("named", "named", "named", "weak", "polysemantic")
Chance = np.random.Generator


class Row(NamedTuple):
    """A measurement: as a clock says, and of this process's processor time alone."""

    what: str
    wall: list[float]
    own: list[float]

    def __str__(self) -> str:
        wall, own = (
            f"p50 {_at(each, 0.5):7.1f}  p95 {_at(each, 0.95):7.1f} ms" for each in (self.wall, self.own)
        )
        return f"{self.what:<46} {wall}   of the processor {own}   n {len(self.wall)}"


def _at(seconds: list[float], share: float) -> float:
    return 1000 * sorted(seconds)[round(share * (len(seconds) - 1))]


def fill(home: Path, count: int) -> None:
    """Write the dictionary, its pictures and its explanations; what is there is replaced."""
    rng = np.random.default_rng(0)
    write_dictionary(home, count, rng)
    with open_state(Settings(home=home)) as state:
        images = state.images.put_many([picture(rng) for _ in range(PICTURES)])
        state.client.delete(keys.named(NAME), keys.named_changes(NAME))
        began = time.perf_counter()
        for start in range(0, count, PAGE):
            write_page(state, [made(at, images, rng) for at in range(start, min(start + PAGE, count))])
        state.client.sadd(keys.named_whole(), NAME)
        memory = dict(state.client.info("memory"))["used_memory"]
        spent = time.perf_counter() - began
        print(f"{count:,} explanations written in {spent:.0f} s; Redis holds {memory / 1e6:.0f} MB")


def write_dictionary(home: Path, count: int, rng: Chance) -> None:
    """A card, random directions and statistics; the sandbox's CLIP reads texts for it."""
    folder = home / "dictionaries" / NAME
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    decoder = rng.normal(size=(count, WIDTH)).astype(np.float32)
    save_file({"W_dec": decoder}, folder / "dictionary.safetensors")
    density = (10 ** rng.uniform(-5, -0.5, count)).astype(np.float32)
    scale = rng.gamma(2.0, 3.0, count).astype(np.float32)
    save_statistics(Statistics(density=density, p99=scale, threshold=np.float32(0.5) * scale), folder)
    card = DictionaryCard(
        schema=1,
        name=NAME,
        backbone=BackboneSpec(kind="open_clip", source=str(shipped_folder() / "clip")),
        hook_point="pooled",
        generator=str(shipped_folder() / "sd"),
        probe_set=ProbeSet(source="sandbox.sets", images=3000),
        architecture="topk",
        width=WIDTH,
        n_features=count,
        k=8,
        weights="0" * 64,
    )
    write_card(card, folder)


def picture(rng: Chance) -> Image.Image:
    """A smooth picture of 256 pixels."""
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return coarse.resize((256, 256), Image.Resampling.BICUBIC)


def made(index: int, images: list[str], rng: Chance) -> Explanation:
    """An answer as a run gives it, with about sixty images."""
    name = f"{rng.choice(ADJECTIVES)} {rng.choice(NOUNS)} on {rng.choice(PLACES)} {index % 97}"
    auroc = float(rng.uniform(0.6, 0.99))
    chosen = [images[at] for at in rng.integers(0, len(images), 60)]
    facts = FeatureFacts(
        density=float(rng.uniform(0, 0.2)),
        threshold=2.0,
        p99=4.0,
        neighbours=tuple(rng.integers(0, 1000, 8).tolist()),
        vocabulary=tuple((word, 0.25) for word in NOUNS[:12]),
        tags=tuple((word, 1.5) for word in ADJECTIVES[:12]),
    )
    evidence = Evidence(
        facts=facts,
        exemplars=tuple(Exemplar(image=image, activation=4.0) for image in chosen[:12]),
        trials=tuple(trial(f"{name} {at}", chosen[12 + 3 * at : 15 + 3 * at], rng) for at in range(6)),
        sealed_images=tuple(chosen[30:60]),
        sealed_activations=tuple(float(each) for each in rng.uniform(0, 8, 30)),
        floor_auroc=0.51,
        optimism_gap=0.02,
    )
    rival = Rival(name=name, auroc=auroc, auroc_ci=interval(auroc), rate=0.5, n_images=8)
    return Explanation(
        feature=Feature(dictionary=NAME, index=index),
        name=name,
        verdict=VERDICTS[int(rng.integers(len(VERDICTS)))],
        confidence=float(rng.uniform(0, 1)),
        sealed=sealed(auroc),
        rivals=(rival,) * 4,
        evidence=evidence,
        images=ImageCount(search=24, sealed=30, charged=54, drawn=50),
        cost=Cost(llm_calls=3, prompt_tokens=4000, completion_tokens=500, usd=0.002, seconds=8.0),
        proposer="openai:gpt-5-mini",
        run=f"{NAME}-{index}-0123456789ab-0",
        created=f"2026-11-{1 + index % 28:02d}T10:{index % 60:02d}:00+00:00",
    )


def trial(prompt: str, images: list[str], rng: Chance) -> Trial:
    """A prompt drawn three times."""
    return Trial(
        proposal=Proposal(
            prompt=prompt, intent="explore", rationale="What fires may be this, or its ground."
        ),
        images=tuple(images),
        seeds=(1, 2, 3),
        activations=tuple(float(each) for each in rng.uniform(0, 8, 3)),
    )


def interval(auroc: float) -> Interval:
    """About a figure."""
    return Interval(low=max(0.0, auroc - 0.04), high=min(1.0, auroc + 0.04))


def sealed(auroc: float) -> CosyScore:
    """A judge's score."""
    return CosyScore(
        auroc=auroc,
        auroc_ci=interval(auroc),
        ceiling=None,
        mad=2.0,
        max_mad=0.2,
        activation_rate=0.7,
        activation_rate_ci=interval(0.7),
        control_rate=0.1,
        control_rate_ci=interval(0.1),
        n_generated=30,
        n_control=1000,
    )


def write_page(state: State, explanations: list[Explanation]) -> None:
    """Many answers in one go, under the keys that runs write when they end."""
    with state.client.pipeline(transaction=False) as pipe:
        for each in explanations:
            request = Request(feature=each.feature, models="made", proposer=each.proposer)
            told, line = each.model_dump_json(), FeatureRow.of(each).model_dump_json()
            fields: dict[Any, Any] = {
                "request": request.model_dump_json(),
                "accepted": "1790000000.0",
                "explanation": told,
            }
            pipe.hset(keys.run(each.run), mapping=fields)
            pipe.zadd(keys.runs(), {each.run: 1.79e9})
            pipe.zadd(keys.explanations(str(each.feature)), {each.run: 1.79e9})
            pipe.hset(keys.named(NAME), str(each.feature.index), line)
        pipe.xadd(keys.named_changes(NAME), {"index": explanations[-1].feature.index}, maxlen=10_000)
        pipe.execute()


def measure(home: Path, *, meaning: bool) -> None:
    """Time what pages and the API ask for, in this process."""
    rng = np.random.default_rng(1)
    settings = Settings(home=home)
    with open_state(settings) as state:
        features = Features(settings, state)
        print(timed("load the table", lambda: features.rows(NAME, FeatureQuery()), times=1))
        for row in rows(features, rng):
            print(row)
        pictures = ServedPictures(settings, state)
        icon = features.row(NAME, 0).answer
        if icon is not None and icon.icon is not None:
            print(timed("thumbnail, kept", lambda: pictures.thumbnail(str(icon.icon), 96), times=50))
        if meaning:
            texts = iter(made_texts(rng))
            for what, times in (("search by meaning, first: reads all names", 1), ("search by meaning", 30)):
                print(timed(what, lambda: until_read(features, next(texts)), times=times))


def until_read(features: Features, text: str) -> None:
    """A search by meaning, repeated while names are still read."""
    while True:
        try:
            features.search(text, dictionary=NAME, by="meaning")
            return
        except StillReading as still:
            print(f"  {still}")


def rows(features: Features, rng: Chance) -> Iterator[Row]:
    """Each question, many times over."""
    count = features.dictionary(NAME).n_features
    texts, pages = made_texts(rng), iter(int(at) for at in rng.integers(0, count - 60, 10_000))

    def page(**query: Any) -> Callable[[], object]:
        return lambda: features.rows(NAME, FeatureQuery(cursor=next(pages), **query))

    def feature() -> object:
        index = next(pages)
        return features.row(NAME, index), features.latest(NAME, index), features.facts(NAME, index)

    yield timed("grid page by index", page(), times=200)
    yield timed("grid page by AUROC, falling", page(sort="auroc", descending=True), times=200)
    yield timed("grid page by name, first", page(sort="name"), times=1)
    yield timed("grid page by name", page(sort="name"), times=200)
    yield timed(
        "grid page, new filter each time",
        lambda: features.rows(NAME, FeatureQuery(text=next(texts), min_auroc=0.8, sort="confidence")),
        times=100,
    )
    yield timed("search by name", lambda: features.search(next(texts), dictionary=NAME), times=300)
    yield timed("feature: line, explanation, facts", feature, times=300)
    yield timed("similar by decoder", lambda: features.similar(NAME, next(pages)), times=30)
    yield timed("similar by name", lambda: features.similar(NAME, next(pages), by="name"), times=30)
    yield timed("dictionary row", lambda: features.dictionary(NAME), times=30)
    yield timed("scatter", lambda: features.scatter(NAME), times=10)


def made_texts(rng: Chance) -> Iterator[str]:
    """What people type: a word, part of one, two words, a letter, nothing that is there."""
    while True:
        noun, adjective = str(rng.choice(NOUNS)), str(rng.choice(ADJECTIVES))
        yield from (noun, adjective[:3], f"{adjective} {noun}", noun[:1], f"{noun} on", "zebra crossing")


def timed(what: str, ask: Callable[[], object], *, times: int) -> Row:
    """Ask so many times."""
    row = Row(what, [], [])
    for _ in range(times):
        wall, own = time.perf_counter(), time.process_time()
        ask()
        row.wall.append(time.perf_counter() - wall)
        row.own.append(time.process_time() - own)
    return row


def main() -> None:
    """Fill or time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("fill", "time"))
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--meaning", action="store_true", help="also search by meaning (loads a model)")
    given = parser.parse_args()
    if given.what == "fill":
        fill(given.home.absolute(), given.count)
    else:
        measure(given.home.absolute(), meaning=given.meaning)


if __name__ == "__main__":
    main()
