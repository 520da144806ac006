import json
import math

import pytest

from theodolite.reports.contents import contents
from theodolite.reports.folder import load
from theodolite.reports.samples import fold, outcome, side_by_side
from theodolite.reports.training import curves, spread, thin
from theodolite.types import Reading
from unit.reports.synthetic_run import RUN, STEPS, comparison, constraint_rows, sample_rows


def of(run):
    return contents(load(run))


def test_the_contents_are_strict_json(run):
    json.dumps(of(run), allow_nan=False)


def test_families_gather_the_sides_of_a_quantity(run):
    found = {f["name"]: set(f) & {"before", "after", "difference", "alone"} for f in of(run)["key_numbers"]}
    assert list(found)[:4] == ["pass_rate", "pass_rate_loose", "constraint_rate", "reward_accuracy"]
    assert found["pass_rate"] == {"before", "after", "difference"}
    assert found["kl"] == {"alone"}
    assert "best_of_n" not in found
    assert "distinct_2" not in found  # undefined, so no strip; the table of readings says why


def test_constraints_are_sorted_by_their_change_and_told_from_chance(run):
    rows = of(run)["by_constraint"]["rows"]
    assert [r["difference"] for r in rows] == sorted((r["difference"] for r in constraint_rows()), reverse=True)
    assert all(r["detectable"] == (r["low"] > 0 or r["high"] < 0) for r in rows)


def test_an_undefined_constraint_comes_last(make_run):
    row = {
        "constraint": "never asked",
        "n": 0,
        "before": None,
        "after": None,
        "difference": None,
        "low": None,
        "high": None,
    }
    parts = {"by_constraint": [row, *constraint_rows()]}
    last = of(make_run(readings_json=comparison("pass_rate", 0.2, 0.44, 0.08, parts=parts)))["by_constraint"]["rows"][
        -1
    ]
    assert (last["constraint"], last["shown"], last["detectable"]) == ("never asked", "undefined", False)


def test_best_of_n_at_the_same_kl_is_interpolated(make_run):
    curve = [
        {"n": 1, "kl": 0.0, "value": 0.2, "low": None, "high": None},
        {"n": 4, "kl": 0.64, "value": 0.4, "low": None, "high": None},
    ]
    best = Reading("best_of_n", math.nan, parts={"curve": curve}).to_json()
    kl = Reading("kl", 0.32, 0.3, 0.34, unit="nats").to_json()
    says = of(make_run(readings_json=[*comparison("pass_rate", 0.2, 0.44, 0.08), kl, best]))["frontier"]["says"]
    assert "best-of-n sampling reaches about 30 %" in says  # half way from 20 to 40


def test_beyond_the_curve_nothing_is_extrapolated(run):
    assert "beyond what the curve can be compared with" in of(run)["frontier"]["says"]


def test_no_kl_no_frontier(make_run):
    assert of(make_run(readings_json=comparison("pass_rate", 0.2, 0.44, 0.08)))["frontier"] is None


def test_steps_never_reached_are_named(make_run):
    run = make_run(
        steps_json=[STEPS[0], STEPS[1] | {"status": "failed"}],
        run_json=RUN | {"status": "failed", "failure": "out of memory"},
    )
    page = of(run)
    assert [s["status"] for s in page["steps"]] == ["done", "failed", "not reached", "not reached"]
    assert page["status"]["note"].endswith("It stopped in step 'align'.")
    assert page["status"]["failure"] == "out of memory"


def test_rows_left_out_are_gathered_by_reason(run):
    (group,) = of(run)["data"]["left_out"]
    assert (group["count"], group["rows"][:3]) == (10, [3, 8, 17])


# --- samples


def test_outcomes_by_score_then_by_checks():
    def side(score, *checks):
        return {"score": score, "checks": [{"name": str(i), "met": m} for i, m in enumerate(checks)]}

    assert outcome(side(0.0), side(1.0)) == "improved"
    assert outcome(side(1.0), side(0.5)) == "worsened"
    assert outcome(side(0.5), side(0.5)) == "unchanged"
    assert outcome(side(None, True, False), side(None, True, True)) == "improved"
    assert outcome(side(None), side(1.0)) == "unscored"
    assert outcome(None, side(1.0)) == "unscored"


def test_the_handful_is_mixed_and_the_counts_are_of_all():
    better, worse, same, *_ = sample_rows()[0], sample_rows()[2], sample_rows()[3]
    found = side_by_side([*[better] * 20, worse, same], shown=6)
    assert found["counts"] == {"improved": 20, "worsened": 1, "unchanged": 1}
    assert [s["outcome"] for s in found["shown"]] == ["improved"] * 4 + ["worsened", "unchanged"]


@pytest.mark.parametrize("row", [{}, {"before": [], "after": None}, {"prompt": "x", "before": ["text"]}])
def test_rows_without_answers_are_passed_over(row):
    assert side_by_side([row]) is None


def test_long_answers_fold_at_a_space_and_lose_nothing():
    text = "word " * 400
    head, rest = fold(text, 900)
    assert head + rest == text
    assert len(head) <= 900
    assert rest.startswith(" ")
    assert fold("x" * 1000, 900) == ("x" * 1000, "")  # hardly over: whole
    assert fold("x" * 2000, 900) == ("x" * 900, "x" * 1100)


# --- training


def test_evaluation_rows_join_the_step_they_belong_to():
    rows = [{"step": 1, "loss": 0.7}, {"step": 1, "eval_loss": 0.6, "eval_runtime": 2.0}, {"step": 2, "loss": math.nan}]
    found = curves(rows)
    assert found["columns"] == ["step", "loss", "eval_loss"]
    assert found["rows"] == [[1.0, 0.7, 0.6], [2.0, None, None]]
    assert found["panels"][0]["undefined"] == 1


def test_unknown_series_get_their_own_panel():
    found = curves([{"step": 1, "loss": 1.0, "my_metric": 2.0, "note": "text", "flag": True}])
    assert [p["title"] for p in found["panels"]] == ["Loss", "my metric"]


def test_a_series_that_was_never_a_number_is_named():
    found = curves([{"step": 1, "loss": math.nan}, {"step": 2, "loss": math.inf}])
    assert (found["panels"], found["broken"]) == ([], ["loss"])


def test_nothing_numeric_is_no_training():
    assert curves([{"step": 1, "note": "x"}]) is None
    assert curves([]) is None


def test_thinning_keeps_the_mean_level():
    points = [[float(i), float(i % 2)] for i in range(1000)]
    thinned = thin(points, 100)
    assert len(thinned) == 100
    assert {p[1] for p in thinned} == {0.5}


def test_spread_keeps_both_ends():
    assert spread(5, 10) == [0, 1, 2, 3, 4]
    assert spread(100, 3) == [0, 50, 99]
