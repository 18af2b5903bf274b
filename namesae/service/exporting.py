"""Named features in the formats of others, as a stream of bytes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from agent.records import Explanation
from namesae.exports.cosy import write_cosy
from namesae.exports.flat_row import FlatRow, flat_row
from namesae.exports.json_lines import write_explanations, write_jsonl
from namesae.exports.neuronpedia import model_id, write_neuronpedia
from namesae.exports.table_csv import write_csv
from namesae.service.feature_query import FeatureQuery
from sae.feature import Frozen
from tools.errors import UsageError

if TYPE_CHECKING:
    from namesae.service.features import Features

FormName = Literal["csv", "jsonl", "neuronpedia", "cosy", "explanations"]
ANSWERED = FeatureQuery(which="answered")
PART = 1 << 16
"""Bytes of a part of a stream, about."""
_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")


class Form(Frozen):
    """A format that features are written in."""

    name: FormName
    says: str
    """One sentence: what it holds, and for whom."""
    media_type: str
    suffix: str
    """Of a file, with its dots."""


class _Source(NamedTuple):
    """What a format is written from."""

    features: Features
    dictionary: str
    query: FeatureQuery

    @property
    def rows(self) -> Iterator[FlatRow]:
        """The features asked for, in their order."""
        for row in self.features.every_row(self.dictionary, self.query):
            yield flat_row(self.dictionary, row)

    @property
    def explanations(self) -> Iterator[Explanation]:
        """Of the features that have one."""
        for row in self.features.every_row(self.dictionary, self.query):
            told = row.answer and self.features.state.runs.explanation(row.answer.run)
            if told:
                yield told

    @property
    def model(self) -> str:
        """Neuronpedia's id of the vision model."""
        return model_id(self.features.card(self.dictionary))


class _Writer(NamedTuple):
    form: Form
    lines: Callable[[_Source], Iterable[str]]
    gzipped: bool = False


def _form(name: FormName, suffix: str, media_type: str, says: str) -> Form:
    return Form(name=name, says=says, media_type=media_type, suffix=suffix)


WRITERS: dict[str, _Writer] = {
    each.form.name: each
    for each in (
        _Writer(
            _form(
                "csv",
                ".csv",
                "text/csv; charset=utf-8",
                "A line a feature with its figures, for spreadsheets and pandas; texts that could be "
                "formulas begin with an apostrophe.",
            ),
            lambda source: write_csv(source.rows),
        ),
        _Writer(
            _form(
                "jsonl", ".jsonl", "application/x-ndjson", "The columns of the CSV as JSON, an object a line."
            ),
            lambda source: write_jsonl(source.rows),
        ),
        _Writer(
            _form(
                "explanations",
                ".explanations.jsonl",
                "application/x-ndjson",
                "Whole explanations with their evidence, as namesae show --json prints them.",
            ),
            lambda source: write_explanations(source.explanations),
        ),
        _Writer(
            _form(
                "neuronpedia",
                ".jsonl.gz",
                "application/gzip",
                "Names as Neuronpedia dumps explanations, JSON lines, gzipped.",
            ),
            lambda source: write_neuronpedia(source.rows, model=source.model),
            gzipped=True,
        ),
        _Writer(
            _form(
                "cosy",
                ".cosy.csv",
                "text/csv; charset=utf-8",
                "Names as CoSy reads explanations: neuron,concept.",
            ),
            lambda source: write_cosy(source.rows),
        ),
    )
}


class Exporting:
    """Writes the features of a dictionary. Safe to call from several threads at once."""

    def __init__(self, features: Features) -> None:
        self._features = features

    def formats(self) -> tuple[Form, ...]:
        """The formats there are."""
        return tuple(each.form for each in WRITERS.values())

    def form(self, name: str) -> Form:
        """A format by name; UsageError says which there are."""
        return _writer(name).form

    def file_name(self, dictionary: str, form: str) -> str:
        """What to call the file: letters, digits, dots and dashes only."""
        stem = _UNSAFE.sub("-", dictionary).strip("-.")[:100] or "dictionary"
        return f"{stem}{_writer(form).form.suffix}"

    def stream(self, dictionary: str, form: str, *, query: FeatureQuery | None = None) -> Iterator[bytes]:
        """The file in parts. ``query`` says which features, its page aside; None is those with a verdict.

        NotFound and UsageError are raised by the call itself, before the first part.
        """
        writer = _writer(form)
        self._features.dictionary(dictionary)
        lines = writer.lines(_Source(self._features, dictionary, query or ANSWERED))
        parts = _parts(lines)
        return _gzipped(parts) if writer.gzipped else parts

    def write(self, dictionary: str, form: str, *, out: BinaryIO, query: FeatureQuery | None = None) -> int:
        """Write the file; how many bytes. Errors as for ``stream``."""
        return sum(out.write(part) for part in self.stream(dictionary, form, query=query))


def _writer(name: str) -> _Writer:
    found = WRITERS.get(name)
    if found is None:
        raise UsageError(f"Format {name[:80]!r} does not exist; there are {', '.join(WRITERS)}.")
    return found


def _parts(lines: Iterable[str]) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line.encode())
        size += len(held[-1])
        if size >= PART:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _gzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    # No name and no time in the header: equal features are equal bytes.
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()
