"""A dictionary, its backbone, the images it is measured on and the model that judges them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from namesae.dictionaries import Listed
from namesae.sae_eval_images import class_numbers, images_for
from namesae.sae_images import ImageChoice
from sae.activations import FeatureReader, open_reader
from sae.backbone import load_backbone
from sae.card import BACKBONES, BackboneSpec, DictionaryCard
from sae.dictionary import SparseDictionary
from sae.image_source import ImageSource, choose_images
from sae.measures.controls import untrained
from sae.measures.evaluating import Bench, Judge, judge_of, set_up
from sae.measures.reading import Subject
from sae.measures.tokens import Gathered, gather_tokens, stored_tokens
from sae.store.reader import open_store
from tools.device import Device
from tools.errors import UsageError

Say = Callable[[str], None]
Ints = npt.NDArray[np.int64]


class Asked(NamedTuple):
    """What is to be measured, resolved."""

    listed: Listed
    others: tuple[Listed, ...] = ()
    images: ImageChoice | None = None
    store: Path | None = None
    attribute: str = "object"
    """Of the drawn world, what the classes are."""
    labelled: bool = True
    most: int = 2000
    """Images."""
    judge: str | None = None
    templates: tuple[str, ...] = ()
    noise_steps: int = 0
    seed: int = 0
    device: Device = "cpu"


class Workbench:
    """Everything about one dictionary and one set of images."""

    def __init__(self, asked: Asked, *, say: Say) -> None:
        self.asked, self.say = asked, say
        assert asked.listed.card is not None and asked.listed.folder is not None
        self.card: DictionaryCard = asked.listed.card
        self.folder: Path = asked.listed.folder
        self.left_out: list[str] = []
        """What could not be measured, and why."""

    @cached_property
    def reader(self) -> FeatureReader:
        """The dictionary on its backbone."""
        return open_reader(self.folder, device=self.asked.device)

    @property
    def subject(self) -> Subject:
        """The dictionary alone."""
        return Subject(self.reader.dictionary, self.card.pooling, self.card.top_p)

    @property
    def backbone(self) -> BackboneSpec:
        """Where the backbone is."""
        return self.card.backbone.located(self.folder)

    @cached_property
    def images(self) -> ImageSource | None:
        """None where a store alone was given."""
        asked = self.asked
        if asked.store is not None and asked.images is None:
            return None
        found = images_for(asked.images, self.card, self.folder, attribute=asked.attribute)
        return choose_images(found, asked.most, seed=asked.seed)

    @property
    def images_name(self) -> str:
        """What the record calls them."""
        return self.images.name if self.images is not None else f"store:{self.asked.store}"

    @cached_property
    def gathered(self) -> Gathered:
        """The activations of all images. UsageError for a store of another width."""
        if self.images is not None:
            name = Path(self.card.backbone.source).name
            self.say(f"Reading {len(self.images):,} images at {self.card.hook_point} of {name}.")
            return gather_tokens(self.reader, self.images)
        assert self.asked.store is not None
        store = open_store(self.asked.store, self.card.hook_point)
        if store.width != self.card.width:
            raise UsageError(
                f"{self.asked.store} holds activations {store.width} wide, the dictionary reads "
                f"{self.card.width}; give the store of its hook point."
            )
        return stored_tokens(store, count=self.asked.most)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the images' classes, in the order of their numbers."""
        if not self.asked.labelled:
            return ()
        told = self.images.classes if self.images is not None else ()
        return told or tuple(sorted({each for each in self.gathered.labels if each is not None}))

    @cached_property
    def labels(self) -> Ints | None:
        """(n,) numbers of the images' classes, -1 where one has none."""
        found = class_numbers(self.gathered.labels, self.classes) if self.classes else None
        if found is None and self.asked.labelled:
            self.left_out.append(
                "Linear probes and accuracy by class: the images have no labels; give a folder with a "
                "subfolder for each class."
            )
        return found

    @cached_property
    def judge(self) -> Judge:
        """The model asked for, else the card's tagger where it is another one, else the backbone itself."""
        if self.images is None:
            self.left_out.append("Monosemanticity is judged by the stored activations themselves.")
            return Judge("its own activations", False, self.gathered.tokens.pooled())
        spec = self._judging
        independent = spec != self.backbone
        backbone = load_backbone(spec, device=self.asked.device) if independent else self.reader.backbone
        if not independent:
            self.left_out.append(
                "Monosemanticity is judged by the backbone the dictionary is on, which flatters it; "
                "give another model with --judge."
            )
        name = f"{spec.kind}:{Path(spec.source).name}"
        return judge_of(backbone, self.images, name=name, independent=independent)

    @cached_property
    def bench(self) -> Bench:
        """What dictionaries of this hook point are measured on."""
        return set_up(self.gathered.tokens, self.judge, labels=self.labels, seed=self.asked.seed)

    def bench_of(self, reader: FeatureReader, images: ImageSource) -> Bench:
        """The same images and judge, read by another reader."""
        tokens = gather_tokens(reader, images).tokens
        return set_up(tokens, self.judge, labels=self.labels, seed=self.asked.seed)

    @cached_property
    def twin(self) -> SparseDictionary | None:
        """The dictionary untrained; None for an architecture that has no such twin."""
        rows = self.gathered.tokens.held.flatten(0, 1)
        found = untrained(self.reader.dictionary, rows, seed=self.asked.seed)
        if found is None:
            self.left_out.append(f"Untrained control: a {self.card.architecture} dictionary has none.")
        return found

    @property
    def _judging(self) -> BackboneSpec:
        if self.asked.judge is not None:
            return model_spec(self.asked.judge)
        return self.card.tagger.located(self.folder) if self.card.tagger is not None else self.backbone


def model_spec(text: str) -> BackboneSpec:
    """KIND:SOURCE as a model; UsageError where it is not of that form."""
    kind, _, source = text.partition(":")
    if kind not in BACKBONES or not source:
        raise UsageError(f"Model {text!r} is not of the form KIND:SOURCE; kinds are {', '.join(BACKBONES)}.")
    path = Path(source).expanduser()
    return BackboneSpec(kind=kind, source=str(path.resolve()) if path.is_dir() else source)
