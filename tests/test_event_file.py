from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sae.errors import BadEvents
from sae.event_file import EventWriter, Scalar, masked_crc32c, read_events, read_log
from sae.event_table import as_csv, as_markdown, tabulate

FLOATS = st.floats(width=32, allow_nan=False)


def written(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def record(message: bytes) -> bytes:
    head = struct.pack("<Q", len(message))
    sums = (struct.pack("<I", masked_crc32c(part)) for part in (head, message))
    return head + next(sums) + message + next(sums)


def test_the_sum_is_castagnolis_masked() -> None:
    # 0xE3069283 is CRC-32C's check value of "123456789".
    crc = 0xE3069283
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@given(st.lists(st.tuples(st.text(min_size=1, max_size=9), st.integers(0, 2**40), FLOATS), max_size=5))
def test_what_is_written_is_read(values: list[tuple[str, int, float]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        with EventWriter(Path(folder)) as writer:
            for tag, step, value in values:
                writer.add({tag: value}, step=step)
        found = [(each.tag, each.step, each.value) for each in read_events(written(Path(folder)))]
    assert found == values


def test_an_event_as_another_writer_has_it_is_read(tmp_path: Path) -> None:
    # Event{wall_time 1.5, step 7, summary{value{tag "loss", simple_value 0.25}}}, fields in another order,
    # then one that holds its value as a tensor of one float.
    plain = bytes.fromhex("2a0d0a0b" + "150000803e" + "0a04" + b"loss".hex() + "1007" + "09000000000000f83f")
    tensor = bytes.fromhex("0801" + "1200" + "2a04" + "0000003f")
    value = b"\x0a\x01t\x42" + bytes([len(tensor)]) + tensor
    summary = b"\x0a" + bytes([len(value)]) + value
    other = b"\x10\x08\x2a" + bytes([len(summary)]) + summary
    path = tmp_path / "events.out.tfevents.1.x"
    path.write_bytes(record(plain) + record(other))
    assert list(read_events(path)) == [Scalar("loss", 7, 0.25, 1.5), Scalar("t", 8, 0.5, 0.0)]


def test_a_record_cut_off_at_the_end_is_left_out(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.add({"a": 1}, step=1)
        writer.add({"a": 2}, step=2)
    path = written(tmp_path)
    raw = path.read_bytes()
    for cut in (1, 5, 20):
        path.write_bytes(raw[:-cut])
        assert [each.value for each in read_events(path)] == [1]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(junk: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.out.tfevents.1"
        for raw in (junk, record(junk)):
            path.write_bytes(raw)
            try:
                list(read_events(path))
            except BadEvents as error:
                assert str(path) in str(error)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    with EventWriter(tmp_path) as writer:
        writer.add({"a": 1}, step=1)
    path = written(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-6] ^= 1
    path.write_bytes(raw)
    with pytest.raises(BadEvents, match="damaged"):
        list(read_events(path))


def test_of_a_step_logged_twice_the_later_one_counts(tmp_path: Path) -> None:
    for value, purge in ((1.0, None), (2.0, 5)):
        with EventWriter(tmp_path / "one", purge_step=purge) as writer:
            writer.add({"fvu": value}, step=5)
    assert [(each.tag, each.value) for each in read_log(tmp_path)] == [("one/fvu", 2.0)]


def test_a_folder_without_logs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadEvents, match="holds no event file"):
        read_log(tmp_path)


def scalars(**tags: list[float]) -> list[Scalar]:
    return [Scalar(tag, step, value, 0) for tag, values in tags.items() for step, value in enumerate(values)]


def test_steps_are_averaged_by_epoch() -> None:
    log = [*scalars(fvu=[0.5, 0.25, 0.125], epoch=[0, 0, 1]), Scalar("other", 1, 7, 0)]
    table = tabulate(log)
    assert as_csv(table) == "epoch,fvu,other\n0,0.375,7\n1,0.125,\n"
    assert table.by == "epoch" and [row.means[0] for row in table.rows] == [0.375, 0.125]


def test_logs_written_once_an_epoch_are_tabulated_by_step() -> None:
    table = tabulate(scalars(loss=[3, 2.5], l0=[500, 500]))
    assert (
        as_markdown(table) == "| step | loss | l0 |\n|---:|---:|---:|\n| 0 | 3 | 500 |\n| 1 | 2.5 | 500 |\n"
    )
    assert as_csv(table) == "step,loss,l0\n0,3,500\n1,2.5,500\n"


def test_steps_of_an_epoch_can_be_given() -> None:
    table = tabulate(scalars(loss=[4, 2, 1]), epoch_steps=2)
    assert table.by == "epoch" and [row.means for row in table.rows] == [(3,), (1,)]
