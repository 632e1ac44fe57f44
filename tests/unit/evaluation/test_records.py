"""Records survive kills; damage is told from a cut."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.errors import DataError
from lvlmsal.evaluation.records import (
    RecordWriter,
    finite,
    merge_parts,
    put_in_order,
    read_records,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


def write(path: Path, *keys: str) -> None:
    writer = RecordWriter(path)
    writer.write({"key": key, "answer": f"to {key}"} for key in keys)
    writer.close()


def keys(path: Path) -> list[str]:
    return [record["key"] for record in read_records(path)]


@given(values=st.lists(JSON, max_size=4))
def test_what_is_written_is_read(
    values: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    records = [{"key": str(number), "value": value} for number, value in enumerate(values)]
    writer = RecordWriter(path)
    writer.write(records)
    writer.close()
    assert read_records(path) == [finite(record) for record in records]


def test_any_cut_keeps_the_whole_lines_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "records.jsonl"
    write(path, "a", "b", "c\u2028d")
    whole = path.read_bytes()
    ends = [0, *(i + 1 for i, byte in enumerate(whole) if byte == ord("\n"))]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        expected = sum(end <= cut for end in ends) - 1
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert len(read_records(path)) == expected
        assert path.read_bytes() == whole[:cut]
        assert len(read_records(path, repair=True)) == expected
        assert path.stat().st_size == ends[expected]
        assert bool(caplog.records) == (cut not in ends)


def test_damage_before_the_last_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, "a", "b", "c")
    lines = path.read_bytes().splitlines(keepends=True)
    for spoiled in (b"{}\n", b"[1]\n", b"\n", lines[1][:9] + b"\n"):
        path.write_bytes(lines[0] + spoiled + lines[2])
        with pytest.raises(DataError, match=r"records\.jsonl:2: "):
            read_records(path, repair=True)


def test_the_last_record_of_a_sample_counts(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, "a", "b")
    writer = RecordWriter(path)
    writer.write([{"key": "a", "answer": "again"}])
    writer.close()
    assert [(r["key"], r["answer"]) for r in read_records(path)] == [("b", "to b"), ("a", "again")]


def test_records_reach_the_disk_before_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path)
    writer.write([{"key": "a"}])
    assert json.loads(path.read_text()) == {"key": "a"}
    writer.close()


def test_parts_of_other_processes_are_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, "old", "a", "c")
    write(tmp_path / "records.rank1.jsonl", "b", "d")
    with (tmp_path / "records.rank1.jsonl").open("a") as file:
        file.write('{"key": "cut')
    merge_parts(path)
    put_in_order(path, ["a", "b", "c", "d", "e"])
    assert keys(path) == ["old", "a", "b", "c", "d"]
    assert sorted(os.listdir(tmp_path)) == ["records.jsonl"]
