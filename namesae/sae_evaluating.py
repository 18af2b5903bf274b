"""What ``namesae sae eval`` and ``namesae sae density`` do: measure, print, write."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from namesae.dictionaries import Listed, find_dictionary
from namesae.reporters import tell, write_json
from namesae.sae_bench import Asked
from namesae.sae_density import density_lines, write_density
from namesae.sae_eval_images import NONE
from namesae.sae_images import ImageChoice
from namesae.sae_measuring import measure, measure_density
from namesae.sae_report import write_report
from namesae.sae_tables import printed
from namesae.settings import Settings, load_settings
from sae.errors import BadImages, BadStore
from sae.feature import Frozen
from sae.measures.findings import Evaluation
from tools.device import best_device
from tools.errors import UsageError


class Wanted(NamedTuple):
    """What the person asked for."""

    dictionary: str
    images: ImageChoice | None = None
    store: Path | None = None
    labels: str | None = None
    """'none', or what of the drawn world the classes are."""
    most: int = 2000
    """Images."""
    against: tuple[str, ...] = ()
    judge: str | None = None
    """KIND:SOURCE of the model that says which images are alike."""
    templates: tuple[str, ...] = ()
    noise_steps: int = 600
    out: Path | None = None
    seed: int = 0
    quiet: bool = False
    as_json: bool = False


def evaluate(wanted: Wanted) -> int:
    """Measure a dictionary, print one table, and write the record and the report where ``out`` says."""
    settings = load_settings()
    with _told_as_usage():
        measured = measure(_asked(wanted, settings), say=_sayer(wanted))
    evaluation = measured.evaluation
    _show(wanted, "evaluation", record=evaluation, lines=lambda: printed(evaluation))
    if wanted.out is not None:
        _name(wanted, write_report(measured, wanted.out).html)
    return 0


def show_density(wanted: Wanted) -> int:
    """Print how often the features of a dictionary are active, with the ultra-low cluster marked."""
    settings = load_settings()
    with _told_as_usage():
        found = measure_density(_asked(wanted, settings), say=_sayer(wanted))
    histogram = found.histogram
    _show(wanted, "density", record=histogram, lines=lambda: density_lines(histogram))
    if wanted.out is not None:
        _name(wanted, *write_density(found, wanted.out))
    return 0


def _show(wanted: Wanted, kind: str, *, record: Frozen, lines: Callable[[], Iterable[str]]) -> None:
    if wanted.as_json:
        write_json(kind, record.model_dump(mode="json"), out=sys.stdout)
    else:
        for line in lines():
            tell(line, sys.stdout)


def _name(wanted: Wanted, *written: Path) -> None:
    for path in written:
        tell(str(path), sys.stderr if wanted.as_json else sys.stdout)


def read_evaluation(path: Path) -> Evaluation:
    """The record that an earlier evaluation wrote; UsageError where it is none."""
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is no record of an evaluation; run namesae sae eval --out again."
        ) from error


def _asked(wanted: Wanted, settings: Settings) -> Asked:
    if wanted.most < 8:
        raise UsageError(f"--count {wanted.most} is too few images to measure on; give 8 or more.")
    return Asked(
        listed=_real(find_dictionary(wanted.dictionary, settings)),
        others=tuple(_real(find_dictionary(each, settings)) for each in wanted.against),
        images=wanted.images,
        store=wanted.store,
        attribute=wanted.labels if wanted.labels not in (None, NONE) else "object",
        labelled=wanted.labels != NONE,
        most=wanted.most,
        judge=wanted.judge,
        templates=wanted.templates,
        noise_steps=wanted.noise_steps,
        seed=wanted.seed,
        device=best_device(),
    )


def _real(listed: Listed) -> Listed:
    if listed.folder is None or listed.card is None:
        raise UsageError(f"Dictionary {listed.name!r} has no weights to measure; give a dictionary folder.")
    return listed


def _sayer(wanted: Wanted) -> Callable[[str], None]:
    return (lambda _: None) if wanted.quiet else (lambda text: tell(text, sys.stderr))


@contextmanager
def _told_as_usage() -> Iterator[None]:
    try:
        yield
    except (BadImages, BadStore) as error:
        raise UsageError(str(error)) from error
