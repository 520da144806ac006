"""Rows out of files: each format, and each way a file can be broken."""

from __future__ import annotations

import gzip
import json

import pytest

from theodolite.data import files
from theodolite.errors import DataError

ROWS = [{"id": i, "text": f'größe, "{i}"\nnext\tline 你好'} for i in range(400)]


def got(path):
    return list(files.rows(path))


def values(path):
    return [r.value for r in got(path)]


def jsonl(rows):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()


def csv_bytes(rows):
    lines = ["id,text"] + ['{},"{}"'.format(r["id"], r["text"].replace('"', '""')) for r in rows]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.jsonl", jsonl),
        ("a.ndjson", jsonl),
        ("a.json", lambda r: json.dumps(r).encode()),
        ("a.json", lambda r: json.dumps({"version": 1, "data": r}).encode()),
        ("a.json", lambda r: json.dumps({k: [x[k] for x in r] for k in r[0]}).encode()),
        ("a.json", jsonl),  # JSON lines under the wrong name
    ],
)
def test_json_in_all_its_forms_gives_the_same_rows(tmp_path, name, make, packed):
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(make(ROWS)) if packed else make(ROWS))
    assert values(path) == ROWS
    assert [r.number for r in got(path)][:3] == [1, 2, 3]


def test_csv_keeps_quotes_line_breaks_and_byte_order_marks_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + csv_bytes(ROWS))
    assert values(path) == [{"id": str(r["id"]), "text": r["text"]} for r in ROWS]


def test_tsv_takes_quotes_as_letters_but_unwraps_quoted_cells(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('id\ttext\n1\tsay "hi"\n2\t"a ""b"" c"\n3\t"\n')
    assert [v["text"] for v in values(path)] == ['say "hi"', 'a "b" c', '"']


def test_parquet(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"prompt": "p", "chosen": [{"role": "user", "content": "x"}], "score": 1.5, "none": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == rows
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        got(tmp_path / "b.parquet")
    (tmp_path / "c.parquet.gz").write_bytes(b"")
    with pytest.raises(DataError, match="Unpack it first"):
        got(tmp_path / "c.parquet.gz")


def test_unreadable_jsonl_lines_are_named_by_line_and_the_others_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \n{"a": "\xff\xfe"}\n[1, 2]\n"text"\nnull\n{"a": 2}\r\n')
    found = got(path)
    assert [(r.number, r.value) for r in found if r.value] == [(1, {"a": 1}), (8, {"a": 2})]
    faults = {r.number: r.fault.reason for r in found if r.fault}
    assert list(faults) == [3, 4, 5, 6, 7]
    assert "broken JSON at column 7" in faults[3]
    assert "not UTF-8 (0xff" in faults[4]
    assert "a JSON list, not an object" in faults[5]
    assert "a JSON string" in faults[6]
    assert "a JSON null" in faults[7]


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("name", "make"), [("a.jsonl", jsonl), ("a.csv", csv_bytes), ("a.json", lambda r: json.dumps(r).encode())]
)
def test_a_truncated_gzip_keeps_every_whole_row_before_the_break_and_says_so(tmp_path, name, make, cut):
    import random

    rng = random.Random(0)  # incompressible, so that a cut falls among the rows
    rows = [{"id": i, "text": "".join(rng.choices("abcdefghij \n,", k=90))} for i in range(400)]
    packed = gzip.compress(make(rows))
    path = tmp_path / (name + ".gz")
    path.write_bytes(packed[: int(len(packed) * cut)])
    *good, last = got(path)
    assert last.value is None
    assert "truncated" in last.fault.reason
    assert 400 * cut * 0.8 < len(good) < 400
    assert last.number == len(good) + 1
    kept = [{"id": int(r.value["id"]), "text": r.value["text"]} for r in good]
    assert kept == rows[: len(kept)]  # nothing cut in the middle passes for whole


def test_a_gzip_damaged_in_the_middle_and_several_members(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl(ROWS[:10])) + gzip.compress(jsonl(ROWS[10:20])))
    assert values(path) == ROWS[:20]
    path.write_bytes(gzip.compress(jsonl(ROWS[:10])) + b"this is no gzip member at all")
    *good, last = got(path)
    assert [r.value for r in good] == ROWS[:10]
    assert "damaged" in last.fault.reason


def test_a_json_list_that_breaks_off_keeps_its_whole_objects(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1},\n {"a": 2},\n {"a": 3')
    one, two, broken = got(path)
    assert (one.value, two.value) == ({"a": 1}, {"a": 2})
    assert broken.number == 3
    assert "line 3" in broken.fault.reason


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{broken", "not valid JSON"),
        ("3", "a JSON number"),
        ('{"a": 1, "b": [1]}', "not clear which"),
        ("", "not valid JSON"),
    ],
)
def test_json_without_a_table_of_rows(tmp_path, content, says):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=says):
        got(tmp_path / "a.json")


def test_csv_rows_with_wrong_fields_bad_bytes_or_an_open_quote_are_faults(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'a,b\n1,2\n1,2,3\n1\n\xe9,2\n\n5,6\n"open,7\n8,9\n')
    found = got(path)
    assert [(r.number, r.value) for r in found if r.value] == [(1, {"a": "1", "b": "2"}), (5, {"a": "5", "b": "6"})]
    faults = {r.number: r.fault.reason for r in found if r.fault}
    assert "3 fields where the header names 2" in faults[2]
    assert "1 fields" in faults[3]
    assert "not UTF-8 (0xe9)" in faults[4]
    assert "never closed" in faults[6]


def test_a_header_that_names_a_column_twice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(DataError, match="'a' stands in it twice"):
        got(tmp_path / "a.csv")


def test_an_ending_that_says_nothing_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"\.jsonl"):
        got(tmp_path / "a.txt")
