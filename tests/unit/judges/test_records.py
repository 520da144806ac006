"""Verdicts on disk: appended, found again, torn lines passed over, other people's files refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from theodolite.errors import DataError, StorageError
from theodolite.judges import Comparison, Verdict
from theodolite.judges.records import VerdictFile, key_of
from theodolite.judges.verdict import Answer

A = Verdict("A", raw="Verdict: A\nü")


def test_what_is_added_is_found_again(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "v.jsonl"
    VerdictFile(file).add([("k1", {"judge": "x", "item": "1", "order": "ab"}, A)])
    VerdictFile(file).add([("k2", {}, Verdict.missing("unparsed", "?"))])
    found = VerdictFile(file)
    assert found.known == {"k1": A, "k2": Verdict.missing("unparsed", "?")}
    assert json.loads(file.read_text().splitlines()[0])["judge"] == "x"


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_last_line_costs_only_itself(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "v.jsonl"
    VerdictFile(file).add([("k1", {}, A), ("k2", {}, A)])
    file.write_bytes(file.read_bytes()[:-cut])
    again = VerdictFile(file)
    assert "k1" in again
    assert ("k2" in again) == (cut == 1)  # only the line break was lost
    again.add([("k3", {}, A)])
    assert {"k1", "k3"} <= VerdictFile(file).known.keys()


def test_a_file_of_something_else_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"prompt": "q"}\n')
    with pytest.raises(DataError, match="holds no verdicts"):
        VerdictFile(file)
    assert file.read_text() == '{"prompt": "q"}\n'
    (tmp_path / "empty.jsonl").touch()
    assert VerdictFile(tmp_path / "empty.jsonl").known == {}


def test_a_folder_that_cannot_be_written_is_a_letter(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        VerdictFile(tmp_path / "file" / "v.jsonl").add([("k", {}, A)])


def test_memory_alone() -> None:
    store = VerdictFile()
    store.add([("k", {}, A)])
    assert store["k"] == A


def test_a_key_stands_for_all_that_shapes_a_verdict() -> None:
    item = Comparison.of("q", "a", "b", id="1")
    keys = [
        key_of({"judge": "x"}, item),
        key_of({"judge": "y"}, item),
        key_of({"judge": "x", "options": {"seed": 1}}, item),
        key_of({"judge": "x"}, item.swapped()),
        key_of({"judge": "x"}, Comparison.of("q2", "a", "b", id="1")),
        key_of({"judge": "x"}, Comparison.of("q", "a", "b", references=["r"])),
        key_of({"judge": "x"}, Answer.of("q", "a")),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of({"judge": "x"}, Comparison.of("q", "a", "b", id="another name")) == keys[0]
