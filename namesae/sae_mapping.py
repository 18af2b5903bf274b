"""What ``namesae sae relevance`` does: find the picture, map the feature, draw the map, say what it shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from namesae.reporters import tell, write_json
from namesae.sae_looking import Desk, explained, open_desk, sayer
from namesae.sae_shown import default_words, shown_picture
from sae.feature import Frozen
from tools.errors import UsageError

if TYPE_CHECKING:
    from sae.activations import FeatureReader
    from sae.relevance.maps import Floats
    from sae.relevance.subject import Subject
    from sae.relevance.target import Target


class RelevanceWanted(NamedTuple):
    """What was asked for."""

    feature: str
    image: str | None = None
    word: str | None = None
    method: str | None = None
    out: Path = Path()
    check: bool = False
    quiet: bool = False
    as_json: bool = False


class Checked(Frozen):
    """Areas under the curves of deletion and insertion, the map's and those of chance."""

    deletion: float
    deletion_by_chance: float
    insertion: float
    insertion_by_chance: float


class Mapped(Frozen):
    """A map, as --json says it."""

    feature: str
    word: str | None
    image: str
    method: str
    score: float
    """The feature's activation on the image, or the sum of the word's."""
    map: tuple[tuple[float, ...], ...]
    """By row and column."""
    picture: str
    check: Checked | None = None


def draw_relevance(wanted: RelevanceWanted) -> int:
    """Draw a map and say where it is highest."""
    from sae.relevance.maps import fitting_method, relevance
    from sae.relevance.overlay import overlay, seen
    from sae.relevance.subject import subject_of
    from sae.whole_file import whole_file

    name, feature = _named(wanted)
    desk = open_desk(name, say=sayer(wanted.quiet))
    with explained():
        reader = desk.reader()
        target = _target(wanted, desk, reader=reader, feature=feature)
        shown = shown_picture(desk, wanted.image, feature=feature)
        method = wanted.method or fitting_method(reader)
        found = relevance(reader, shown.image, target, method)
        picture = overlay(seen(reader.backbone.preprocess, shown.image), found)
        subject = subject_of(reader, reader.backbone.preprocess([shown.image]), target=target)
        mapped = Mapped(
            feature=wanted.feature,
            word=wanted.word,
            image=shown.name,
            method=method,
            score=float(subject.score(subject.pixels)[0]),
            map=tuple(tuple(float(value) for value in row) for row in found),
            picture=str(wanted.out),
            check=_checked(subject, found) if wanted.check else None,
        )
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(wanted.out) as partial:
        picture.save(partial, format="PNG")
    _tell(mapped, as_json=wanted.as_json)
    return 0


def _named(wanted: RelevanceWanted) -> tuple[str, int | None]:
    """Dictionary and index; no index where a word is asked for by the dictionary alone."""
    name, mark, index = wanted.feature.rpartition("#")
    if mark and name and index.isdecimal():
        return name, int(index)
    if wanted.word is not None and not mark:
        return wanted.feature, None
    raise UsageError(f"Feature {wanted.feature!r} is not of the form DICTIONARY#INDEX, e.g. sandbox#68.")


def _target(wanted: RelevanceWanted, desk: Desk, *, reader: FeatureReader, feature: int | None) -> Target:
    from sae.relevance.target import feature_target, word_target

    if wanted.word is None:
        assert feature is not None
        return feature_target(reader, feature)
    return word_target(reader, wanted.word, among=default_words(desk, word=wanted.word))


def _checked(subject: Subject, found: Floats) -> Checked:
    from sae.faithfulness import areas, curves, random_areas

    ours, chance = areas(curves(subject, found[None])), random_areas(subject, draws=8)
    return Checked(
        deletion=ours.deletion[0],
        deletion_by_chance=chance.deletion[0],
        insertion=ours.insertion[0],
        insertion_by_chance=chance.insertion[0],
    )


def _tell(mapped: Mapped, *, as_json: bool) -> None:
    if as_json:
        write_json("relevance", mapped.model_dump(mode="json"), out=sys.stdout)
        return
    rows, columns = len(mapped.map), len(mapped.map[0])
    flat = [value for row in mapped.map for value in row]
    row, column = divmod(flat.index(max(flat)), columns)
    what = f"{mapped.word!r} in {mapped.feature}" if mapped.word else mapped.feature
    tell(
        f"{what} on {mapped.image} by {mapped.method}: activation {mapped.score:.3g}, "
        f"highest in row {row + 1} of {rows}, column {column + 1} of {columns}",
        sys.stdout,
    )
    if mapped.check is not None:
        check = mapped.check
        tell(
            f"covered from the highest patch on, area {check.deletion:.2f} (chance "
            f"{check.deletion_by_chance:.2f}); uncovered, {check.insertion:.2f} (chance "
            f"{check.insertion_by_chance:.2f})",
            sys.stdout,
        )
    tell(mapped.picture, sys.stdout)
