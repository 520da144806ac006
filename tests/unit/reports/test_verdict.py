import math

import pytest

from theodolite.reports.folder import reading_from
from theodolite.reports.verdict import headline
from theodolite.types import Reading
from unit.reports.synthetic_run import comparison


def said(*rows):
    return headline([reading_from(r) if isinstance(r, dict) else r for r in rows])


KL = Reading("kl", 6.21, 5.48, 7.02, unit="nats")


def test_a_rise_with_its_cost():
    v = said(*comparison("pass_rate", 0.20, 0.44, 0.08), KL)
    assert v.sentence == (
        "Pass rate on held-out instructions rose from 20 % to 44 % (+24 points, 95 % interval 15 to 33, p < 0.001), at a KL of 6.2 nats a response."
    )
    assert (v.kind, v.better) == ("rose", True)


def test_a_drop_is_called_a_drop():
    v = said(*comparison("pass_rate", 0.44, 0.20, 0.08))
    assert v.claim == "Pass rate on held-out instructions fell from 44 % to 20 %"
    assert (v.kind, v.better) == ("fell", False)


def test_an_interval_over_zero_is_no_detectable_change():
    v = said(*comparison("pass_rate", 0.20, 0.26, 0.08, p=0.2))
    assert v.claim == "No detectable change in pass rate on held-out instructions: 20 % before, 26 % after"
    assert v.evidence == "+6 points, 95 % interval −3 to 15, p = 0.2"
    assert (v.kind, v.better) == ("unclear", None)


@pytest.mark.parametrize(("low", "kind"), [(0.0, "unclear"), (1e-9, "rose")])
def test_zero_itself_belongs_to_the_interval(low, kind):
    assert said(Reading("x.difference", 0.1, low, 0.2, better="higher")).kind == kind


def test_lower_may_be_better():
    better = said(*comparison("toxicity", 0.5, 0.2, 0.05, better="lower"))
    worse = said(*comparison("toxicity", 0.2, 0.5, 0.05, better="lower"))
    assert better.claim.endswith("fell from 50 % to 20 %, an improvement")
    assert better.better is True
    assert worse.claim.endswith("rose from 20 % to 50 %, which is worse")
    assert worse.better is False


def test_no_interval_is_no_verdict():
    rows = [
        Reading(f"pass_rate.{s}", v, unit="share", better="higher")
        for s, v in (("before", 0.2), ("after", 0.44), ("difference", 0.24))
    ]
    v = said(*rows)
    assert v.kind == "unclear"
    assert "how sure this is was not computed" in v.claim


def test_an_undefined_difference_claims_nothing():
    rows = comparison("pass_rate", 0.2, 0.44, 0.08)
    rows[2] |= {"value": None, "low": None, "high": None, "note": "no prompt was answered by both"}
    v = said(*rows)
    assert v.kind == "unpaired"
    assert v.claim.endswith("20 % before, 44 % after, without a paired comparison: no prompt was answered by both")


def test_length_is_said_with_its_own_honesty():
    main = comparison("pass_rate", 0.2, 0.44, 0.08)
    assert (
        said(*main, *comparison("length", 82, 68, 4, unit="tokens", better="neither")).length
        == "Answers became shorter (82 to 68 tokens)"
    )
    assert said(*main, *comparison("length", 80, 81, 4, unit="tokens", better="neither")).length.startswith(
        "Answer length shows no detectable"
    )


def test_length_alone_is_never_the_main_finding():
    v = said(
        *comparison("length", 82, 68, 4, unit="tokens", better="neither"),
        *comparison("reward_accuracy", 0.5, 0.6, 0.05),
    )
    assert v.about == "reward_accuracy"


def test_one_model_only():
    v = said(Reading("reward_accuracy", 0.53, 0.47, 0.59, n=200, unit="share", better="higher"))
    assert v.sentence == "Reward accuracy on held-out pairs is 53 % (95 % interval 47 to 59, n = 200)."
    assert v.kind == "measured"


def test_nothing():
    assert said().sentence == "Nothing was measured."


def test_cautions_for_missing_units_and_for_a_test_that_disagrees():
    v = said(*comparison("pass_rate", 0.2, 0.3, 0.08, p=0.2, missing=3, why={"timed out": 3}))
    assert any("test does not reach 5 %" in c for c in v.cautions)
    assert any(c == "pass_rate.after leaves out 3 of 75 units (timed out: 3)." for c in v.cautions)
    assert said(*comparison("pass_rate", 0.2, 0.44, 0.08)).cautions == ()


def test_nan_kl_is_not_a_cost():
    assert said(*comparison("pass_rate", 0.2, 0.44, 0.08), Reading("kl", math.nan, unit="nats")).cost == ""
