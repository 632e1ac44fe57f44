"""Records survive kills; damage is told from a cut."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlmsal.errors import DataError, LvlmsalError
from lvlmsal.evaluation.results.records import all_records, finite, read_records
from lvlmsal.evaluation.results.writing import RecordWriter, merge_parts, put_in_order

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


def made(key: str, answer: str | None = "yes", **more: Any) -> dict[str, Any]:
    """A whole record; without an answer, of a sample that failed."""
    names = ("model", "method", "benchmark", "sample_id", "group", "prompt", "error")
    return {
        "key": key,
        **dict.fromkeys(names, ""),
        "images": [],
        "answer": answer,
        "target": None,
        "status": "failed" if answer is None else "ok",
        "new_tokens": 0,
        "seconds": 0.5,
        **more,
    }


def write(path: Path, *records: str | dict[str, Any]) -> None:
    path.write_text("")
    add(path, *records)


def add(path: Path, *records: str | dict[str, Any]) -> None:
    writer = RecordWriter(path)
    writer.write(made(r, f"to {r}") if isinstance(r, str) else r for r in records)
    writer.close()


def keys(path: Path) -> list[str]:
    return [record["key"] for record in read_records(path)]


@given(values=st.lists(JSON, max_size=4))
def test_what_is_written_is_read(
    values: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    records = [made(str(number), target=value) for number, value in enumerate(values)]
    writer = RecordWriter(path)
    writer.write(records)
    writer.close()
    assert read_records(path) == [finite(record) for record in records]


def test_any_cut_keeps_the_whole_lines_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "records.jsonl"
    write(path, "a", "c\u2028d")
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


def test_the_last_record_of_a_sample_that_failed_counts(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    write(path, made("a", None, error="first"), "b", made("a", None, error="again"), made("a"))
    assert [(r["key"], r["answer"]) for r in read_records(path)] == [("b", "to b"), ("a", "yes")]


@pytest.mark.parametrize(
    "second", [made("a", "no"), made("a", "yes", token_ids=[4]), made("a", None)]
)
def test_a_second_record_of_what_was_answered_is_an_error_with_its_place(
    second: dict[str, Any], tmp_path: Path
) -> None:
    path, part = tmp_path / "records.jsonl", tmp_path / "records.rank1.jsonl"
    write(path, made("a"), "b", second)
    for read in (read_records, all_records):
        with pytest.raises(
            DataError, match=r"records\.jsonl:3: .*'a' than line 1, which"
        ) as caught:
            read(path)
        assert "choose another folder with output=..." in str(caught.value)
    write(path, "b", made("a"))
    write(part, "c", "d", second)
    if second["status"] == "ok":
        with pytest.raises(DataError, match=r"rank1\.jsonl:3: .*than line 2 of .*records\.jsonl"):
            all_records(path)
    else:  # what one process could not answer, another has
        assert all_records(path)["a"]["answer"] == "yes"


def test_the_same_answer_twice_counts_once(tmp_path: Path) -> None:
    """Killed between the files being put together and the others being deleted."""
    path = tmp_path / "records.jsonl"
    write(path, "b", made("a"))
    write(tmp_path / "records.rank1.jsonl", made("a", seconds=0.7, batch_size=3))
    assert [r["key"] for r in all_records(path).values()] == ["b", "a"]
    merge_parts(path)
    assert keys(path) == ["b", "a"]
    add(path, made("a"))
    assert keys(path) == ["b", "a"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": 3}, "model must be a text, got 3"),
        ({"images": "a.png"}, "images must be a list, got 'a.png'"),
        ({"images": [None]}, r"images[0] must be a text, got None"),
        ({"answer": ["yes"]}, "answer must be a text or null, got ['yes']"),
        ({"status": "fine"}, "status must be 'ok' or 'failed', got 'fine'"),
        ({"new_tokens": True}, "new_tokens must be a number, got True"),
        ({"seconds": "fast"}, "seconds must be a number, got 'fast'"),
        ({"token_ids": [1, "x"]}, "token_ids[1] must be a number, got 'x'"),
        ({"tokens": [1]}, "tokens[0] must be an object, got 1"),
        ({"answer": None, "status": "ok"}, "it has the status ok and no answer"),
        ("group", "it has no group"),
        (b"[1]", "it must be an object, got [1]"),
        (b"[" * 100_000, "it cannot be read"),
        (b'{"key": ' + b"9" * 5000 + b"}", "it cannot be read"),
        (b"\xff", "it cannot be read"),
    ],
)
def test_a_record_of_another_type_is_an_error_with_its_place(
    change: dict[str, Any] | str | bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "records.jsonl"
    record = made("b")
    if isinstance(change, dict):
        record.update(change)
    elif isinstance(change, str):
        del record[change]
    line = change if isinstance(change, bytes) else json.dumps(record).encode()
    path.write_bytes(json.dumps(made("a")).encode() + b"\n" + line + b"\n")
    with pytest.raises(DataError) as caught:
        read_records(path)
    assert str(caught.value).startswith(f"{path}:2: is not a record: {problem}. ")


def test_records_reach_the_disk_before_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path)
    writer.write([made("a")])
    assert json.loads(path.read_text()) == made("a")
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


class Full:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._file.write(bytes(content[: self._room]))
        self._room -= written
        return int(written)


RECORDS = [made(f"k{i}", "\u2028é" * i) for i in range(4)]


@given(room=st.integers(0, 1500), before=st.integers(0, 2))
def test_a_full_disk_leaves_whole_records_and_the_same_call_goes_on(
    room: int, before: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("full") / "records.jsonl"
    writer = RecordWriter(path)
    writer.write(RECORDS[:before])
    kept = path.read_bytes()
    plain, writer._file = writer._file, Full(writer._file, room)
    size = sum(len((json.dumps(r, ensure_ascii=False) + "\n").encode()) for r in RECORDS[before:])
    if room < size:
        with pytest.raises(LvlmsalError, match=r"No space left on device\n.*rerun the same"):
            writer.write(RECORDS[before:])
        assert path.read_bytes() == kept
        writer._file = plain
    writer.write(RECORDS[before:])
    writer.close()
    assert read_records(path) == RECORDS


def test_the_disk_that_is_always_full() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    writer = RecordWriter(Path("/dev/full"))
    told = pytest.raises(LvlmsalError, match=r"/dev/full cannot be written: No space left")
    with Path("/dev/full").open("ab", buffering=0) as writer._file, told:
        writer.write(RECORDS)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_middle_of_a_write_leaves_no_half_line(
    kind: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path)
    writer.write(RECORDS[:1])
    kept = path.read_bytes()
    plain = writer._file

    class Interrupted(Full):
        def write(self, content: bytes) -> int:
            self._file.write(bytes(content[:20]))
            raise kind

    writer._file = Interrupted(plain, 0)
    with pytest.raises(kind):
        writer.write(RECORDS[1:])
    assert path.read_bytes() == kept


@given(cut=st.integers(0, 10_000), more=st.integers(0, 4))
def test_a_writer_goes_on_after_a_line_that_was_cut_anywhere(
    cut: int, more: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "records.jsonl"
    writer = RecordWriter(path)
    writer.write(RECORDS)
    writer.close()
    content = path.read_bytes()
    path.write_bytes(content[: cut % (len(content) + 1)])
    whole = read_records(path)
    writer = RecordWriter(path)
    writer.write(RECORDS[len(whole) : len(whole) + more])
    writer.close()
    assert read_records(path, repair=True) == RECORDS[: len(whole) + more]


@pytest.mark.parametrize("gone", ["deleted", "replaced"])
def test_a_file_that_is_deleted_or_replaced_meanwhile_is_told(gone: str, tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path)
    writer.write(RECORDS[:1])
    path.unlink()
    if gone == "replaced":
        path.write_text("")
    with pytest.raises(LvlmsalError, match=r"records.jsonl was deleted or replaced while the run"):
        writer.write(RECORDS[1:])
    writer.close()


def test_a_file_that_may_not_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(LvlmsalError, match=r"records.jsonl cannot be written: No such file"):
        RecordWriter(tmp_path / "gone" / "records.jsonl").write(RECORDS)


def test_two_writers_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    writer = RecordWriter(path)
    writer.write(RECORDS[:1])
    with pytest.raises(LvlmsalError, match="another process has locked"):
        RecordWriter(path).write(RECORDS[1:])
    writer.close()
    assert read_records(path) == RECORDS[:1]


def test_an_answer_outlasts_a_failure_whichever_file_it_is_in(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    ok, failed = made("a"), made("a", None)
    for main, part in ((ok, failed), (failed, ok)):
        path.write_text(json.dumps(main) + "\n")
        (tmp_path / "records.rank2.jsonl").write_text(json.dumps(part) + "\n")
        assert all_records(path) == {"a": ok}
        merge_parts(path)
        assert read_records(path) == [ok]
        assert os.listdir(tmp_path) == ["records.jsonl"]


def test_a_sample_that_was_tried_again_has_one_line_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    lines = [made("a", None), made("b"), made("a")]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    put_in_order(path, ["b", "a"])
    assert path.read_text().splitlines() == [json.dumps(made("b")), json.dumps(made("a"))]


def test_a_merge_that_finds_no_room_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records.jsonl"
    write(path, "a")
    write(tmp_path / "records.rank1.jsonl", "b")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    opened = RecordWriter._opened
    monkeypatch.setattr(RecordWriter, "_opened", lambda self: Full(opened(self), 5))
    with pytest.raises(LvlmsalError, match="No space left"):
        merge_parts(path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    monkeypatch.undo()
    merge_parts(path)
    assert keys(path) == ["a", "b"]
