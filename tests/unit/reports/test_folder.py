import json
import math
import sys

import pytest

from theodolite.errors import UsageError
from theodolite.reports.folder import ABSENT, clean, load, reading_from
from theodolite.types import Reading
from unit.reports.synthetic_run import training


def test_a_whole_run_has_nothing_absent_and_no_problems(run):
    data = load(run)
    assert not data.absent
    assert not data.problems
    assert data.reading("kl").value == 6.21
    assert data.recipe["seed"] == 7
    assert [len(data.said(kind)) for kind in ("check", "warning")] == [3, 1]


def test_an_empty_folder_is_read_as_absence(tmp_path):
    data = load(tmp_path)
    assert dict(data.absent) == ABSENT
    assert data.problems == ()


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="there is no run folder"):
        load(tmp_path / "gone")


def test_a_line_half_written_by_a_killed_run_is_counted(make_run):
    lines = "".join(json.dumps(r) + "\n" for r in training(3)) + '{"step": 4, "lo'
    data = load(make_run(training_jsonl=lines))
    assert len(data.training) == 3
    assert data.problems == ("training.jsonl: 1 of 4 lines cannot be read (line 4); they were left out.",)


@pytest.mark.parametrize(
    ("file", "content", "letter"),
    [
        ("run_json", "{", "run.json is not valid JSON"),
        ("run_json", "[]", "run.json should hold a dict, but holds a list"),
        ("steps_json", "", "steps.json is empty"),
        ("readings_json", '[{"value": 1}]', "entry 0 is not a reading"),
        ("recipe_yaml", "a: [", "recipe.yaml is not valid YAML"),
    ],
)
def test_broken_files_become_letters(make_run, file, content, letter):
    assert any(letter in p for p in load(make_run(**{file: content})).problems)


def test_a_reading_survives_the_round_trip():
    r = Reading("kl", math.nan, 1.0, math.inf, n=3, missing=1, why={"late": 1}, p_value=0.5, note="x")
    back = reading_from(r.to_json() | {"a_later_key": 1})
    assert math.isnan(back.value)
    assert math.isnan(back.high)  # infinity is not JSON either
    assert (back.low, back.why, back.p_value, back.note) == (1.0, {"late": 1}, 0.5, "x")


def test_text_that_cannot_be_written_is_cleaned():
    assert clean({"a": ["\ud800x", "bell\x07", "tab\tnew\nline"]}) == {"a": ["?x", "bell\ufffd", "tab\tnew\nline"]}


def test_reports_need_no_torch():
    import subprocess

    code = "import sys, theodolite.reports.page, theodolite.reports.card; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
