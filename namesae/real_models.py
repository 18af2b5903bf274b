"""The models a dictionary's card names, found and fingerprinted; weights are loaded when first used."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, MutableMapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from agent.lexicon import WordBook, lexicon_for
from namesae.dictionaries import FACTS_FILE, Listed
from namesae.facts import ProbeReader, Wording, work_out_facts
from namesae.galleries import Gallery, Part, Pictures, Shelf, open_pictures
from namesae.models import KeptExemplars, Models, Say, SearchesProbe
from namesae.places import DIFFUSERS, Place, place_of
from namesae.settings import Settings
from namesae.witnesses import Calls, witness_of
from sae.card import DictionaryCard
from tools.control import LEAST_CONTROL
from tools.device import best_device
from tools.digest import digest
from tools.drawing import load_generator
from tools.errors import UsageError
from tools.exemplars import MANIFEST, ProbeSet, build_probe_set
from tools.feature_facts import read_facts, write_facts
from tools.protocols import DrawImages, FeatureFacts, KnowsControl, ScoreImages
from tools.readings import READINGS, Vocabulary
from tools.scoring import BATCHES, load_scorer, scorer_fingerprint, translated

LEXICON_FILE = "lexicon.json"

Sums = MutableMapping[str, str]
SEEN: tuple[Part, ...] = ("probe", "control")
"""Parts of the pictures that a naming uses."""


def _diffusers(place: Place, shelf: Shelf, sums: Sums) -> DrawImages:
    return load_generator(place.source, shelf, revision=place.revision, sums=sums)


GENERATORS: dict[str, Callable[[Place, Shelf, Sums], DrawImages]] = {DIFFUSERS: _diffusers}
"""Kinds of generators: KIND:SOURCE is drawn with by the one of that name. Sums of files read are kept."""


class Workplace(NamedTuple):
    """What building a dictionary's probe set, facts and control set needs."""

    listed: Listed
    settings: Settings
    shelf: Shelf
    say: Say

    @property
    def folder(self) -> Path:
        """The dictionary's."""
        assert self.listed.folder is not None
        return self.listed.folder

    @property
    def card(self) -> DictionaryCard:
        """The dictionary's."""
        assert self.listed.card is not None
        return self.listed.card


def open_real_models(listed: Listed, settings: Settings, *, shelf: Shelf, sums: Sums, say: Say) -> Models:
    """The models of a dictionary folder. ``sums`` keeps the sums of files already read."""
    place = Workplace(listed, settings, shelf, say)
    generator = generator_of(place)
    draw = GENERATORS[generator.kind](generator, shelf, sums)
    score = load_scorer(place.folder, shelf, sums=sums)
    probe, control = _pictures(listed, settings, "probe"), _pictures(listed, settings, "control")
    lexicon = _lexicon_beside(generator)
    words, template = lexicon_for(draw.card, lexicon), draw.card.search_template
    wording = Wording(vocabulary_of(words), template)
    witness = witness_of(Calls(place.card, place.folder, settings.witness, shelf.get, words, template), sums)
    return Models(
        draw=draw,
        score=score,
        exemplars=cache(lambda: open_exemplars(place, probe, score=score, wording=wording)),
        control=cache(lambda: open_control(place, control)),
        judge_control=cache(lambda: open_control(place, _pictures(listed, settings, "judge"))),
        fingerprint=digest(
            draw=draw.fingerprint,
            score=score.fingerprint,
            probe=probe.fingerprint,
            control=control.fingerprint,
            facts=_sum_of(place.folder / FACTS_FILE),
            tagger=None if place.card.tagger is None else place.card.tagger.model_dump(mode="json"),
            words=list(wording.words),
            readings=READINGS,
            witness=None if witness is None else witness.fingerprint,
        ),
        lexicon=lexicon,
        witness=witness,
    )


def generator_of(place: Workplace) -> Place:
    """What draws: the person's choice, else the card's; a folder, or a hub id with an optional @revision.

    KIND: before it says what kind of generator it is, diffusers where nothing does.
    """
    chosen = place.settings.generator
    if chosen is None and place.card.generator is None:
        raise UsageError(
            f"Dictionary {place.listed.name!r} names no generator; give one with --generator FOLDER|ID."
        )
    given = chosen if chosen is not None else str(place.card.generator)
    beside = Path() if chosen is not None else place.folder
    return place_of(given, beside=beside, kinds=GENERATORS, what="Generator", default=DIFFUSERS)


def open_exemplars(
    place: Workplace, pictures: Pictures, *, score: ScoreImages, wording: Wording
) -> SearchesProbe:
    """The probe set, scored once and kept; facts from the dictionary's folder, else worked out and kept."""
    gallery = Gallery(pictures, place.settings.home / "galleries")
    place.shelf.show(gallery)
    folder = place.settings.home / "probes" / digest(score=score.fingerprint, pictures=pictures.fingerprint)
    if not (folder / MANIFEST).is_file():
        place.say(f"Scoring {len(gallery.images):,} probe pictures for {place.listed.name}, once.")
        _build(folder, gallery, score=score, n_features=place.card.n_features)
    reader = ProbeReader(place.folder, place.card, gallery=gallery, wording=wording, kept=folder)
    facts = _facts(place, ProbeSet.open(folder), folder=folder, reader=reader)
    return KeptExemplars(ProbeSet.open(folder, facts=facts), place.shelf, read=reader.readings)


def probe_gallery(listed: Listed, settings: Settings) -> Gallery:
    """The pictures a dictionary's probe set is made of."""
    pictures = _pictures(listed, settings, "probe")
    return Gallery(pictures, settings.home / "galleries")


def probe_folders(listed: Listed, settings: Settings, *, sums: Sums | None = None) -> tuple[Path, ...]:
    """Where the scored probe pictures of a dictionary lie, if anywhere: a folder for each kind of device.

    This machine's first; another one, of the same data directory, may have another device. Loads no model.
    """
    assert listed.card is not None and listed.folder is not None
    pictures = _pictures(listed, settings, "probe").fingerprint
    devices = sorted(BATCHES, key=lambda device: device != best_device())
    with translated():
        scores = [scorer_fingerprint(listed.card, listed.folder, device=each, sums=sums) for each in devices]
    return tuple(settings.home / "probes" / digest(score=score, pictures=pictures) for score in scores)


def vocabulary_of(lexicon: WordBook) -> Vocabulary:
    """The words of a lexicon with their kinds and families."""
    words = lexicon.words
    return Vocabulary(words, tuple(map(lexicon.slot, words)), tuple(map(lexicon.members, words)))


def _facts(place: Workplace, probe: ProbeSet, *, folder: Path, reader: ProbeReader) -> list[FeatureFacts]:
    """Those that came with the dictionary, else those worked out beside its probe set."""
    shipped = place.folder / FACTS_FILE
    if shipped.is_file():
        return read_facts(shipped)
    wording = reader.wording
    kept = folder / f"facts-{digest(words=list(wording.words), template=wording.template)}.json"
    if not kept.is_file():
        place.say(f"Working out what is known of the features of {place.listed.name}, once.")
        write_facts(kept, work_out_facts(place.folder, place.card, probe=probe, reader=reader))
    return read_facts(kept)


class GalleryControl:
    """The control set of a gallery; implements KnowsControl."""

    def __init__(self, gallery: Gallery) -> None:
        self.images = tuple(dict.fromkeys(gallery.images))
        self.fingerprint = digest(tool="control", images=self.images)
        self._pictures = gallery.pictures
        if len(self.images) < LEAST_CONTROL:
            raise UsageError(
                f"A control set needs at least {LEAST_CONTROL:,} different images, "
                f"this one has {len(self.images):,}; add images."
            )

    def share(self, name: str) -> float | None:
        """Share of the images that show what a name says; None without labels."""
        return self._pictures.share(name)


def open_control(place: Workplace, pictures: Pictures) -> KnowsControl:
    """The control set; UsageError where there are too few pictures, or one that cannot be read."""
    gallery = Gallery(pictures, place.settings.home / "galleries")
    place.shelf.show(gallery)
    return GalleryControl(gallery)


def _pictures(listed: Listed, settings: Settings, part: Part) -> Pictures:
    assert listed.card is not None and listed.folder is not None
    own = listed.card.probe_set
    chosen = settings.probe_images if part == "probe" else settings.control_images
    count = settings.probe_count if part == "probe" else settings.control_count
    if chosen is None and own is None:
        raise UsageError(
            f"Dictionary {listed.name!r} names no probe set; give pictures with --images FOLDER."
        )
    source = str(chosen) if chosen is not None else own.source if own is not None else ""
    # No naming sees what names are judged against.
    apart = [_pictures(listed, settings, each) for each in SEEN] if part == "judge" else []
    return open_pictures(source, part, count=count, beside=listed.folder, apart=apart)


def _build(folder: Path, gallery: Gallery, *, score: ScoreImages, n_features: int) -> None:
    """Build beside the place and move there, so that another process never sees half of it."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    codes = score(gallery.images)
    build_probe_set(partial, gallery.images, codes, n_features=n_features, scorer=score.fingerprint)
    try:
        partial.rename(folder)
    except OSError:
        # Another process was first.
        shutil.rmtree(partial)


def _sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _lexicon_beside(generator: Place) -> Path | None:
    path = Path(generator.source) / LEXICON_FILE
    return path if path.is_file() else None
