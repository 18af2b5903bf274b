"""Segments are what their names say, merge as a stream, and lie where every machine finds them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from tests.bank_rows import FEATURES, ListBank, assert_same, random_rows, row
from tools import keys
from tools.bank import Bank
from tools.bank_columns import Columns
from tools.bank_compaction import Compaction, Shelf, batch_of
from tools.bank_manifest import FAN, LEVEL_ROWS, SegmentEntry, all_due, due
from tools.bank_merge import merge
from tools.bank_place import LocalPlace
from tools.bank_prompts import Prompts
from tools.bank_row import pack
from tools.bank_segment import Segment, columns_of, lengths_of, write_columns
from tools.bank_tail import PAGE, Tail
from tools.errors import DependencyError, IntegrityError


def segments_of(*counts: int) -> list[Segment]:
    """Segments in memory, each with rows and prompts of its own and some that others have."""
    made: list[Segment] = []
    for seed, count in enumerate(counts):
        packed = [pack(each) for each in random_rows(count, seed=seed, prompts=20 + 9 * seed)]
        made.append(Segment(columns_of(batch_of(packed, Prompts(made)))))
    return made


def entry(rows: int) -> SegmentEntry:
    return SegmentEntry(name="0" * 64, rows=rows, prompts=1, entries=1, bytes=1)


def bank_of(client: redis.Redis, folder: str | Path) -> Bank:
    return Bank(client, score="score", generator="generator", folder=folder, compact_from=None)


@pytest.mark.parametrize("block", [1, 7, 64, 10**6])
def test_merged_segments_hold_what_they_held_apart(tmp_path: Path, block: int) -> None:
    parts = segments_of(61, 40, 1, 97)
    told = merge(parts, tmp_path, block=block)
    merged = Segment.open(tmp_path, told.name)
    whole = merged.columns
    assert (told.rows, told.prompts, told.entries) == lengths_of(whole)
    assert told.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    for name in ("image", "seed", "prompt", "text"):
        assert np.array_equal(getattr(whole, name), np.concatenate([getattr(p.columns, name) for p in parts]))
    bases = np.cumsum([0, *(len(part.columns.seed) for part in parts)])
    for index in range(FEATURES + 1):
        rows, values = merged.column(index)
        apart = [part.column(index) for part in parts]
        expected = [r.astype(int) + base for (r, _), base in zip(apart, bases, strict=False)]
        assert rows.tolist() == np.concatenate(expected).tolist()
        assert values.tolist() == np.concatenate([each for _, each in apart]).tolist()
    assert (np.diff(whole.image_head.astype(object)) >= 0).all()
    for part, base in zip(parts, bases, strict=False):
        found = merged.find_images(part.columns.image, part.columns.image[:, :8].copy().view(">u8").ravel())
        assert found.tolist() == list(range(base, base + len(part.columns.seed)))
    one, all_ = Prompts([merged]), Prompts(parts)
    texts = [all_.text(number) for number in range(len(all_))]
    assert [one.text(number) for number in range(len(one))] == texts
    assert one.find([*texts, "never seen"]).tolist() == [*range(len(texts)), -1]
    assert one.heads().tolist() == all_.heads().tolist()


def test_images_and_prompts_are_found_though_their_hashes_begin_alike(tmp_path: Path) -> None:
    rows = [row(f"prompt {at}", at, f1=1.0)._replace(image=f"{7:016x}{at:048x}") for at in range(5)]
    columns = columns_of(batch_of([pack(each) for each in rows], Prompts([])))
    alike = Segment(columns._replace(prompt_head=np.full_like(columns.prompt_head, 3)))
    heads = np.full(5, 7, np.uint64)
    assert alike.find_images(columns.image, heads).tolist() == [0, 1, 2, 3, 4]
    assert alike.find_images(columns.image[::-1] + np.uint8(100), heads).tolist() == [-1] * 5
    prompts = ["prompt 4", "prompt 9", "prompt 0"]
    assert alike.find_prompts(prompts, np.full(3, 3, np.uint64)).tolist() == [4, -1, 0]


def test_rows_that_fire_nothing_make_a_segment(tmp_path: Path) -> None:
    rows = [row(f"prompt {at}", at) for at in range(3)]
    columns = columns_of(batch_of([pack(each) for each in rows], Prompts([])))
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    silent = Segment.open(tmp_path / "one", write_columns(columns, tmp_path / "one").name)
    both = Segment.open(tmp_path / "two", merge([silent, silent], tmp_path / "two").name)
    assert len(both.column(0)[0]) == 0 and len(both.code(1).indices) == 0
    assert lengths_of(both.columns) == (6, 6, 0)


def test_segments_never_share_a_name(tmp_path: Path) -> None:
    columns = segments_of(9)[0].columns
    names = set()
    for at in range(2):
        (tmp_path / str(at)).mkdir()
        names.add(write_columns(columns, tmp_path / str(at)).name)
    assert len(names) == 2


def test_merges_keep_segments_few_and_rewrite_a_row_once_a_level() -> None:
    live: list[SegmentEntry] = []
    written = 0
    for _ in range(1000):
        live.append(entry(LEVEL_ROWS + 3))
        while group := due(live, most_rows=2**40):
            live[group] = [entry(sum(each.rows for each in live[group]))]
            written += live[-1].rows
    assert len(live) <= 4 * (FAN - 1)
    assert written <= 4 * 1000 * (LEVEL_ROWS + 3)


def test_merges_stay_below_their_limit() -> None:
    assert due([entry(1)] * (FAN - 1), most_rows=100) is None
    assert due([entry(1)] * FAN, most_rows=100) == slice(0, FAN)
    assert due([entry(1)] * FAN, most_rows=FAN - 1) is None
    assert due([entry(90), *[entry(2)] * FAN], most_rows=20) == slice(1, FAN + 1)
    assert due([], most_rows=9) is all_due([], most_rows=9) is None
    assert all_due([entry(9), entry(5), entry(3), entry(2)], most_rows=9) == slice(1, 3)
    assert all_due([entry(9), entry(5)], most_rows=9) is None


def test_a_long_tail_becomes_several_segments(redis: redis.Redis, tmp_path: Path) -> None:
    rows = [row(f"prompt {at % 99}", at, f3=1.0 + at % 5) for at in range(PAGE + 7)]
    bank = bank_of(redis, tmp_path)
    bank.add(rows)
    shelf = Shelf(Tail(redis, score="score", generator="generator"), LocalPlace(tmp_path / bank.name))
    Compaction(shelf, most_rows=10, chunk=PAGE).run(whole=True)
    assert bank.describe()[:4] == (len(rows), 0, 99, 2)
    assert bank.responses(3) == ListBank(rows).all_responses(3)


class Late(LocalPlace):
    """Its first segment was deleted after the manifest was read."""

    late = True

    def folder(self, name: str) -> Path:
        """Gone, once."""
        if self.late:
            self.late = False
            raise FileNotFoundError(name)
        return super().folder(name)


class Overtaken(LocalPlace):
    """Another process, whose claim was not seen, compacts just before the first segment is published."""

    other: Compaction | None = None

    def publish(self, draft: Path, name: str) -> None:
        """As all do, in the end."""
        other, self.other = self.other, None
        if other is not None:
            other.run(whole=True)
        super().publish(draft, name)


def test_a_reader_looks_again_where_a_segment_has_gone(
    redis: redis.Redis, tmp_path: Path, compacted: Path
) -> None:
    tail = Tail(redis, score="score", generator="generator")
    manifest, segments, _ = Shelf(tail, Late(compacted.parent)).read("", 0)
    assert [len(each.columns.seed) for each in segments] == [entry.rows for entry in manifest.entries] == [30]


@pytest.mark.parametrize("segments", [0, FAN - 1, FAN])
def test_who_is_overtaken_while_he_writes_changes_nothing(
    redis: redis.Redis, tmp_path: Path, segments: int
) -> None:
    bank, plain = bank_of(redis, tmp_path), ListBank()
    tail, place = Tail(redis, score="score", generator="generator"), Overtaken(tmp_path / bank.name)
    for seed in range(segments + 1):
        rows = random_rows(9, seed=seed)
        bank.add(rows)
        plain.add(rows)
        if seed < segments:
            Compaction(Shelf(tail, place), most_rows=9).run(whole=False)
    place.other = Compaction(Shelf(tail, place), most_rows=10**6)
    Compaction(Shelf(tail, place), most_rows=10**6).run(whole=False)
    assert place.other is None and bank.describe()[1:4:2] == (0, 1)
    assert_same(bank, plain)
    assert redis.zcard(keys.bank_retired("score", "generator")) >= 1


@pytest.fixture
def compacted(redis: redis.Redis, tmp_path: Path) -> Path:
    """The folder of the only segment of a bank."""
    bank = bank_of(redis, tmp_path)
    bank.add(random_rows(30, seed=1))
    bank.compact()
    return next(path for path in (tmp_path / bank.name).iterdir())


@pytest.mark.parametrize("file", ["entry_value.npy", "segment.json"])
def test_a_segment_that_changed_is_an_integrity_error(
    redis: redis.Redis, tmp_path: Path, compacted: Path, file: str
) -> None:
    path = compacted / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="restore it"):
        bank_of(redis, tmp_path).responses(3)


def test_a_segment_that_is_gone_is_told_with_what_to_do(
    redis: redis.Redis, tmp_path: Path, compacted: Path
) -> None:
    shutil.move(compacted, tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is gone") as raised:
        bank_of(redis, tmp_path).responses(3)
    key = next(word for word in str(raised.value).split() if word.startswith("namesae:"))
    redis.delete(key)
    bank = bank_of(redis, tmp_path)
    assert len(bank) == 0 and bank.add(random_rows(9, seed=1)) == 9


def test_columns_are_plain_npy_files(compacted: Path) -> None:
    assert {path.stem for path in compacted.glob("*.npy")} == set(Columns._fields)
    assert len(np.load(compacted / "image.npy", mmap_mode="r")) == 30
    assert json.loads((compacted / "segment.json").read_text())["schema_version"] == 1


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An address that is no folder."""
    return f"memory://{tmp_path.name}"


def test_machines_share_a_bank_through_an_address(
    redis: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    plain = ListBank()
    for machine in ("one", "two", "three"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
        bank = bank_of(redis, url)
        rows = random_rows(40, seed=len(plain.rows))
        assert bank.add(rows) == plain.add(rows)
        assert bank.compact()
        assert_same(bank, plain)
    bank.compact(whole=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "four"))
    assert_same(bank_of(redis, url), plain)
    assert bank.describe().segments == 1


def test_a_copy_that_changed_on_its_way_is_an_integrity_error(
    redis: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    import fsspec

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "one"))
    bank = bank_of(redis, url)
    bank.add(random_rows(9, seed=1))
    bank.compact()
    system: Any = fsspec.filesystem("memory")
    path = next(each for each in system.find(tmp_path.name) if each.endswith("seed.npy"))
    system.pipe_file(path, system.cat_file(path)[:-1] + b"?")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "two"))
    with pytest.raises(IntegrityError, match="has changed"):
        bank_of(redis, url).responses(3)
    assert not [each for each in (tmp_path / "two").rglob("*") if each.is_file()]


def test_an_address_of_no_known_kind_is_one_sentence(redis: redis.Redis) -> None:
    with pytest.raises(DependencyError, match="cannot be opened"):
        bank_of(redis, "nonsense://place")
