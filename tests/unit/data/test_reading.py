"""`read`: detection, limits, columns, bad rows, folders, the hub, and what a stuck user is told."""

from __future__ import annotations

import json

import pytest

from theodolite import data
from theodolite.data import BadRow, read, reading
from theodolite.errors import DataError, UnknownName, UsageError


def save(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def pair(i, **more):
    return {"prompt": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i}", **more}


def test_rows_good_and_bad_are_counted_and_named(tmp_path):
    rows = [
        pair(0),
        pair(1, chosen=""),
        pair(2, chosen="bad 2"),
        {"prompt": "x", "chosen": "y"},
        pair(4, prompt=" "),
        pair(5),
    ]
    path = save(tmp_path / "pairs.jsonl", rows)
    with path.open("a") as f:
        f.write('{"prompt": \n')
    found = read(path)
    assert found.format == "preference"
    assert found.rows == 7
    assert [e.question for e in found.examples] == ["question 0", "question 5"]
    assert [b.row for b in found.bad] == [2, 3, 4, 5, 7]
    assert found.bad[0] == BadRow(2, "", "'chosen' is empty", "fill it, or leave the row out")
    assert "equal" in found.bad[1].reason
    assert "no column 'rejected' (the row has: prompt, chosen)" in found.bad[2].reason
    report = found.report()
    assert "7 rows read as 'preference': 2 examples, 5 bad rows" in report
    assert "1 x 'chosen' is empty (row 2)" in report
    assert "(row 7)" in report


def test_ids_are_the_rows_own_else_their_place_and_always_different(tmp_path):
    path = save(tmp_path / "p.jsonl", [pair(0, id="b7"), pair(1, id="b7"), pair(2), pair(3, id=9), pair(4, id="b7")])
    assert [e.id for e in read(path).examples] == ["b7", "b7~2", "p:3", "9", "b7~3"]
    assert [b.id for b in read(save(path, [pair(0), pair(1, id="b7", chosen="")])).bad] == ["b7"]


def test_limit_takes_the_first_good_rows_and_a_seed_takes_random_ones(tmp_path):
    path = save(tmp_path / "p.jsonl", [pair(0, chosen="")] + [pair(i) for i in range(1, 100)])
    first = read(path, limit=3)
    assert [e.question for e in first.examples] == ["question 1", "question 2", "question 3"]
    assert (first.rows, len(first.bad)) == (4, 1)
    some = [int(e.question.split()[1]) for e in read(path, limit=10, seed=1).examples]
    assert len(set(some)) == 10
    assert some == sorted(some)
    assert max(some) > 10
    assert some == [int(e.question.split()[1]) for e in read(path, limit=10, seed=1).examples]
    assert some != [int(e.question.split()[1]) for e in read(path, limit=10, seed=2).examples]
    assert len(read(path, limit=1000, seed=0).examples) == 99


@pytest.mark.parametrize(("options", "says"), [({"limit": 0}, "at least 1"), ({"seed": 1}, "give limit too")])
def test_options_that_cannot_be_meant(tmp_path, options, says):
    with pytest.raises(UsageError, match=says):
        read(save(tmp_path / "p.jsonl", [pair(0)]), **options)


def test_the_fingerprint_follows_the_examples_not_the_format(tmp_path):
    rows = [pair(i, id=str(i)) for i in range(5)]
    one = read(save(tmp_path / "a.jsonl", rows)).fingerprint
    (tmp_path / "b.json").write_text(json.dumps(rows))
    assert read(tmp_path / "b.json").fingerprint == one
    assert len(one) == 64
    rows[3]["rejected"] += "!"
    assert read(save(tmp_path / "c.jsonl", rows)).fingerprint != one


def test_columns_map_ours_to_theirs_and_hide(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("Question,Best Answer,Worst,margin\nq1,a,b,-3\nq2,c,d,-3\n")
    names = {"prompt": "Question", "chosen": "Best Answer", "rejected": "Worst"}
    assert [e.responses[0].text for e in read(path, columns={**names, "margin": None}).examples] == ["a", "c"]
    with pytest.raises(DataError, match=r"margin -3 is not above 0"):
        read(path, columns=names)
    with pytest.raises(DataError, match=r"no column 'Best answer'\. Did you mean 'Best Answer'\?"):
        read(path, columns={**names, "chosen": "Best answer"})


def test_unknown_columns_are_answered_with_what_every_reader_wants(tmp_path):
    path = save(tmp_path / "x.jsonl", [{"foo": 1, "bar": 2}])
    with pytest.raises(DataError) as letter:
        read(path)
    assert "the columns bar, foo fit no reader" in str(letter.value)
    assert "preference: prompt|question|instruction|query chosen rejected" in str(letter.value)


def test_two_readers_that_fit_equally_well_are_not_chosen_between(tmp_path):
    path = save(tmp_path / "x.jsonl", [{"prompt": "p", "completion": "c", "label": 1, "score": 2.0}])
    with pytest.raises(DataError, match="could be labels or scored"):
        read(path)
    assert read(path, format="scored").examples[0].responses[0].score == 2.0
    assert read(path, format="labels").examples[0].responses[0].label is True


def test_an_unknown_format_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'preference'"):
        read(tmp_path / "not looked at.jsonl", format="preferences")


def test_missing_empty_and_wholly_bad_files(tmp_path):
    save(tmp_path / "pairs.jsonl", [pair(0)])
    with pytest.raises(DataError, match=r"no file .*pair\.jsonl\. Did you mean 'pairs\.jsonl'\?"):
        read(tmp_path / "pair.jsonl")
    for name, content in (("a.jsonl", ""), ("b.csv", ""), ("c.csv", "a,b\n"), ("d.json", "[]")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match="is empty"):
            read(tmp_path / name)
    save(tmp_path / "bad.jsonl", [pair(i, chosen="") for i in range(8)])
    with pytest.raises(
        DataError, match=r"none of its 8 rows can be used.\n  8 x 'chosen' is empty \(row 1, 2, 3, 4, 5, \.\.\.\)"
    ):
        read(tmp_path / "bad.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xff\n" * 3)
    with pytest.raises(DataError, match="not UTF-8"):
        read(tmp_path / "bytes.jsonl")


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = save(tmp_path / "p.jsonl", [pair(0)])

    def refuse(self, *a, **k):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read(path)


def test_a_folder_reads_the_files_of_the_split_and_says_which_file_a_bad_row_is_in(tmp_path):
    save(tmp_path / "train-0.jsonl", [pair(0), pair(1, chosen="")])
    save(tmp_path / "train-1.jsonl", [pair(2)])
    save(tmp_path / "my_test.jsonl", [pair(3)])
    found = read(tmp_path)
    assert [e.question for e in found.examples] == ["question 0", "question 2"]
    assert [(b.file, b.row) for b in found.bad] == [("train-0.jsonl", 2)]
    assert "train-0.jsonl:2" in found.report()
    assert [e.question for e in read(tmp_path, split="test").examples] == ["question 3"]
    with pytest.raises(DataError, match=r"no file of the split 'dev'.*train-0\.jsonl"):
        read(tmp_path, split="dev")


def test_a_folder_without_split_names_is_read_whole_and_an_empty_one_refused(tmp_path):
    with pytest.raises(DataError, match="holds no data file"):
        read(tmp_path)
    save(tmp_path / "a.jsonl", [pair(0)])
    save(tmp_path / "b.jsonl", [pair(1)])
    assert len(read(tmp_path).examples) == 2


def test_one_file_has_no_splits(tmp_path):
    with pytest.raises(UsageError, match="no split 'test'"):
        read(save(tmp_path / "p.jsonl", [pair(0)]), split="test")


def test_a_dataset_saved_by_the_datasets_library(tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list([pair(i) for i in range(3)])
    table.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(tmp_path / "two")
    assert len(read(tmp_path / "one").examples) == 3
    assert len(read(tmp_path / "two", split="test").examples) == 1
    with pytest.raises(DataError, match=r"no split 'tset'\. Did you mean 'test'\?"):
        read(tmp_path / "two", split="tset")


def test_a_hub_name_goes_to_the_hub_with_config_and_split(monkeypatch):
    datasets = pytest.importorskip("datasets")
    calls = []

    def load(name, config, split):
        calls.append((name, config, split))
        return [pair(0), pair(1)]

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("theodolite.data.sources._reachable", lambda endpoint: True)
    found = read("someone/pairs:clean", split="test")
    assert calls == [("someone/pairs", "clean", "test")]
    assert [e.id for e in found.examples] == ["someone_pairs:clean:1", "someone_pairs:clean:2"]


def test_without_a_network_both_the_file_and_the_hub_are_named_at_once(tmp_path, monkeypatch):
    config = pytest.importorskip("datasets").config
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    save(tmp_path / "hh_pairs.jsonl", [pair(0)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("theodolite.data.sources._reachable", lambda endpoint: False)
    with pytest.raises(DataError) as letter:
        read("hh_pairs")
    assert "There is no file hh_pairs. Did you mean 'hh_pairs.jsonl'?" in str(letter.value)
    assert "fetched from the hub" in str(letter.value)
    assert config.HF_HUB_OFFLINE is False


def test_a_path_is_never_asked_of_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("theodolite.data.sources._hub", lambda *a: pytest.fail("asked the hub"))
    for name in ("missing.jsonl", "./missing", str(tmp_path / "missing"), "a/b/c"):
        with pytest.raises(DataError, match="There is no file"):
            read(name)


def test_detect_looks_at_most_rows_not_only_the_first():
    rows = [{"prompt": "p"}] + [pair(i) for i in range(9)]
    assert reading.detect(rows) == "preference"


def test_the_package_exports_what_it_says():
    assert all(getattr(data, name) is not None for name in data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        data.nothing  # noqa: B018


def test_a_missing_file_suggests_one_that_begins_alike(tmp_path):
    for name in ("hh_rlhf_harmless_base_test.jsonl.gz", "oasst_rm_zh.json"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match="Did you mean 'hh_rlhf_harmless_base_test"):
        read(tmp_path / "hh_rlhf_harmless.jsonl")
