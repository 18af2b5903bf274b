"""What ``namesae sae collage`` does, and the dictionary, images and index that looking into one needs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from namesae.dictionaries import Listed, find_dictionary
from namesae.reporters import tell, write_json
from namesae.sae_eval_images import images_for
from namesae.sae_images import ImageChoice
from namesae.selection import choose_features, parse_selection
from namesae.settings import Settings, load_settings
from sae.card import DictionaryCard
from sae.errors import (
    BadImages,
    BadIndex,
    BadInterpretations,
    NoAttention,
    NoTextTower,
    SilentFeature,
    UnfitMethod,
    WrongTokens,
)
from sae.image_source import ImageSource
from tools.device import best_device
from tools.digest import digest
from tools.errors import DependencyError, UsageError
from tools.scoring import translated

if TYPE_CHECKING:
    from sae.activations import FeatureReader
    from sae.code_index import CodeIndex
    from sae.collage import Grid, Interpretation

_USAGE = (
    *(BadImages, BadIndex, BadInterpretations, NoAttention),
    *(NoTextTower, SilentFeature, UnfitMethod, WrongTokens),
)
_GRID = re.compile(r"(\d{1,2})x(\d{1,2})")
NAMED = ("named", "polysemantic")
"""Verdicts whose names go into the table."""


class CollageWanted(NamedTuple):
    """What ``collage`` was asked for."""

    dictionary: str
    images: ImageChoice | None = None
    features: str | None = None
    top: int = 300
    grid: str = "4x3"
    tile: int = 224
    out: Path = Path()
    quiet: bool = False
    as_json: bool = False


class Desk(NamedTuple):
    """A dictionary, opened."""

    listed: Listed
    folder: Path
    card: DictionaryCard
    settings: Settings
    say: Callable[[str], None]

    def reader(self) -> FeatureReader:
        """Its features, on the best device."""
        from sae.activations import open_reader

        return open_reader(self.folder, device=best_device())

    def source(self, images: ImageChoice | None) -> ImageSource:
        """Those a person names, or the probe set."""
        return images_for(images, self.card, self.folder)


def make_collages(wanted: CollageWanted) -> int:
    """Draw collages and the table; its path on stdout, a line a feature on stderr."""
    from sae.collage import CSV_FILE, Style, write_collages

    grid = _grid(wanted.grid)
    desk = open_desk(wanted.dictionary, say=sayer(wanted.quiet))
    with explained():
        source = desk.source(wanted.images)
        index = index_of(desk, source)
        features = _features(wanted, desk, index=index)
        style = Style(grid, wanted.tile, stored_names(desk, features), _teller(wanted, len(features)))
        wanted.out.mkdir(parents=True, exist_ok=True)
        rows = write_collages(index, source, features=features, out=wanted.out, style=style)
    if wanted.as_json:
        for row in rows:
            write_json("collage", row.model_dump(mode="json"), out=sys.stdout)
    else:
        tell(str(wanted.out / CSV_FILE), sys.stdout)
    return 0


def index_of(desk: Desk, source: ImageSource) -> CodeIndex:
    """The code index of a dictionary over images, built or brought up to date where it is not."""
    from sae.code_index_build import Progress, build_index, current_index, identity_of

    identity = identity_of(desk.folder)
    told = f"{Path(desk.listed.name).name}-{digest(identity=identity, source=source.name)[:16]}"

    def log(progress: Progress) -> None:
        desk.say(f"read {progress.done:,} of {progress.images:,} images")

    folder = desk.settings.home / "code-index" / told
    ready = current_index(folder, source, identity=identity)
    # Opening the model takes longer than any answer of the index.
    return ready or build_index(desk.reader(), source, folder=folder, identity=identity, log=log)


def stored_names(desk: Desk, features: list[int]) -> dict[int, str]:
    """The latest accepted name of each feature that has one; none where the store cannot be reached."""
    from namesae.wiring import open_state

    if desk.settings.redis_url is None and not desk.settings.home.is_dir():
        return {}
    try:
        with open_state(desk.settings) as state:
            latest = {each: state.runs.of_feature(f"{desk.listed.name}#{each}", count=1) for each in features}
    except DependencyError as error:
        desk.say(f"Stored names are left out: {error}")
        return {}
    return {
        each: told[0].name
        for each, told in latest.items()
        if told and told[0].name and told[0].verdict in NAMED
    }


def open_desk(name: str, *, say: Callable[[str], None]) -> Desk:
    settings = load_settings()
    listed = find_dictionary(name, settings)
    if listed.folder is None or listed.card is None:
        raise UsageError(f"Dictionary {name!r} has no weights to look into; give another one.")
    return Desk(listed, listed.folder, listed.card, settings, say)


def _features(wanted: CollageWanted, desk: Desk, *, index: CodeIndex) -> list[int]:
    if wanted.features is None:
        return list(index.strongest(wanted.top))
    chosen = choose_features(parse_selection(f"{desk.listed.name}#{wanted.features}"), desk.listed)
    return [each.index for each in chosen]


def _grid(text: str) -> Grid:
    from sae.collage import Grid

    found = _GRID.fullmatch(text.strip().lower())
    if not found or "0" in found.groups():
        raise UsageError(f"Grid {text!r} is not of the form ROWSxCOLUMNS; write 4x3.")
    return Grid(int(found[1]), int(found[2]))


def _teller(wanted: CollageWanted, count: int) -> Callable[[Interpretation], None]:
    done = 0

    def log(row: Interpretation) -> None:
        nonlocal done
        done += 1
        if not wanted.quiet:
            said = f"   {row.interpretation}" if row.interpretation else ""
            tell(
                f"{done} of {count}   feature {row.feature_id}   mean {row.activation_mean:.3g}   "
                f"highest {row.activation_max:.3g}{said}",
                sys.stderr,
            )

    return log


def sayer(quiet: bool) -> Callable[[str], None]:
    return (lambda _: None) if quiet else (lambda text: tell(text, sys.stderr))


@contextmanager
def explained() -> Iterator[None]:
    """Errors of sae/ as those a person is told."""
    with translated():
        try:
            yield
        except _USAGE as error:
            raise UsageError(str(error)) from error
