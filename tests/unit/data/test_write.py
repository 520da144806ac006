"""Writing: what comes back, what is never half written, and what a stuck user is told."""

from __future__ import annotations

import errno
import gzip
import json
import os

import pytest

from theodolite.data import read, views, write_jsonl
from theodolite.data.write import trl_rows, write_rows, write_trl
from theodolite.errors import DataError, StorageError
from theodolite.types import Example, Message, Response, Span

EXAMPLES = [
    Example(
        (Message("system", "s"), Message("user", "grüße 你好\n\u2028")),
        (
            Response("a", score=0.5, label=True, spans=(Span(0, 1, "ok"),), judgment="j", source="m", meta={"x": [1]}),
            Response("", tokens=(1, 2), logps=(-0.5, -1.0), finish="length"),
        ),
        id="1",
        meta={"constraints": [{"id": "a:b", "kwargs": {"n": 3}}]},
    ),
    Example.of("q", id="2"),
]


@pytest.mark.parametrize("name", ["a.jsonl", "deep/er/a.jsonl.gz"])
def test_what_is_written_is_read_back(tmp_path, name):
    path = write_jsonl(EXAMPLES, tmp_path / name)
    found = read(path)
    assert found.format == "example"
    assert found.examples == EXAMPLES
    assert os.listdir(path.parent) == [path.name]


def test_equal_examples_give_equal_bytes_also_gzipped(tmp_path):
    one, two = (write_jsonl(EXAMPLES, tmp_path / n).read_bytes() for n in ("a.jsonl.gz", "b.jsonl.gz"))
    assert one == two
    assert gzip.decompress(one).count(b"\n") == 2


def test_a_break_in_the_middle_leaves_the_old_file_and_no_rest(tmp_path):
    path = write_jsonl(EXAMPLES, tmp_path / "a.jsonl")
    before = path.read_bytes()

    def interrupted():
        yield EXAMPLES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(interrupted(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    bad = Example.of("q", Response("a", score=float("nan")), id="b7")
    with pytest.raises(DataError, match=r"row 2 \(id 'b7'\)"):
        write_jsonl([EXAMPLES[0], bad], tmp_path / "a.jsonl")
    assert os.listdir(tmp_path) == []


def test_a_full_disk(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write_jsonl(EXAMPLES[:1], tmp_path / "a.jsonl")
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"disk is full.*untouched"):
        write_jsonl(EXAMPLES, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.jsonl"]


def test_a_device_that_is_really_full(tmp_path, monkeypatch):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    (tmp_path / "part").touch()
    monkeypatch.setattr("tempfile.mkstemp", lambda **k: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / "part")))
    with pytest.raises(StorageError, match="disk is full"):
        write_jsonl(EXAMPLES, tmp_path / "a.jsonl")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "says"),
    [(errno.EACCES, "no permission"), (errno.EROFS, "no permission"), (errno.EIO, "cannot be written")],
)
def test_other_troubles_with_the_folder(tmp_path, monkeypatch, code, says):
    def refuse(*a, **k):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(StorageError, match=says):
        write_jsonl(EXAMPLES, tmp_path / "a.jsonl")


def test_a_folder_or_a_file_in_the_way(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="is a folder"):
        write_jsonl(EXAMPLES, tmp_path / "folder")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="a part of that path is a file"):
        write_jsonl(EXAMPLES, tmp_path / "file" / "a.jsonl")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_the_file_is_readable_by_others_as_the_umask_says(tmp_path):
    old = os.umask(0o022)
    try:
        assert write_rows([{}], tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(old)


def test_trl_columns_for_pairs_labels_and_single_answers(tmp_path):
    pair = views.pairs([Example.of("q", Response("bad", score=0), Response("good", score=1))]).examples
    assert trl_rows(pair) == [
        {
            "prompt": [{"role": "user", "content": "q"}],
            "chosen": [{"role": "assistant", "content": "good"}],
            "rejected": [{"role": "assistant", "content": "bad"}],
        }
    ]
    path = write_trl(pair, tmp_path / "trl.jsonl")
    back = read(path)
    assert back.format == "preference"
    assert [r.text for r in back.examples[0].responses] == ["good", "bad"]
    thumbs = Example.of("q", Response("a", label=True), Response("b", label=False))
    assert [r["label"] for r in trl_rows([thumbs])] == [True, False]
    assert set(trl_rows([Example.of("q", "a")])[0]) == {"prompt", "completion"}
    with pytest.raises(DataError, match="these are pairs, single answers"):
        trl_rows([*pair, Example.of("q", "a")])
    with pytest.raises(DataError, match="3 responses"):
        trl_rows([Example.of("q", "a", "b", "c")])
    assert json.loads(path.read_text())["prompt"][0]["role"] == "user"


def test_trl_itself_takes_these_columns(tmp_path):
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl.data_utils")
    pair = views.pairs([Example.of("q", Response("bad", score=0), Response("good", score=1))]).examples
    row = datasets.Dataset.from_list(trl_rows(pair))[0]
    assert trl.is_conversational(row)
