import math

import pytest

from theodolite.reports import words
from theodolite.types import Reading

nan = math.nan


def test_decimals_follow_the_half_width():
    # half-width 8 -> ceil(-log10 4) = 0; 0.75 -> ceil(0.43) = 1; 0.1 -> ceil(1.30) = 2; 0.0095 -> ceil(2.32) = 3
    assert [words.places(1.0, 1 - h, 1 + h) for h in (8, 0.75, 0.1, 0.0095)] == [0, 1, 2, 3]


def test_decimals_without_an_interval_are_three_digits():
    assert [words.places(v) for v in (123.4, 12.34, 0.01234, 7.0, 0.0, nan)] == [0, 1, 4, 0, 0, 0]


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "shown"),
    [
        (-1234.5, 1, False, "−1,234.5"),
        (0.24, 2, True, "+0.24"),
        (-0.001, 1, True, "0.0"),
        (nan, 1, True, "undefined"),
        (math.inf, 0, False, "∞"),
    ],
)
def test_numbers(value, decimals, signed, shown):
    assert words.number(value, decimals, signed) == shown


def test_shares_are_percentages_and_their_differences_points():
    assert words.amount(Reading("pass_rate.after", 0.44, 0.36, 0.52, unit="share")) == "44 %"
    assert words.amount(Reading("pass_rate.difference", 0.24, 0.15, 0.33, unit="share")) == "+24 points"
    assert words.span(Reading("pass_rate.difference", -0.05, -0.14, 0.04, unit="share")) == "−14 to 4"
    assert words.amount(Reading("kl", 6.21, 5.48, 7.02, unit="nats")) == "6.2 nats"
    assert words.amount(Reading("kl", nan, unit="nats")) == "undefined"


def test_three_readings_agree_after_rounding():
    def rates(before, after):
        d = after - before
        return [
            Reading(n, v, v - 0.08, v + 0.08, unit="share")
            for n, v in (("x.before", before), ("x.after", after), ("x.difference", d))
        ]

    assert words.agreeing(*rates(0.20, 0.44)) == 0
    assert words.agreeing(*rates(0.204, 0.446)) == 1  # 20 -> 45 would be said to be +24
    assert words.agreeing(None, None, Reading("x.difference", nan, unit="share")) == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.41, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (252, "4 min 12 s"),
        (7500, "2 h 05 min"),
        (None, ""),
        (nan, ""),
    ],
)
def test_durations(seconds, said):
    assert words.duration(seconds) == said


def test_p_values():
    assert [words.p_text(p) for p in (0.0002, 0.0234, 0.31, 1.0, None)] == [
        "p < 0.001",
        "p = 0.023",
        "p = 0.31",
        "p = 1",
        "",
    ]


def test_names_in_words():
    assert words.split("pass_rate.before") == ("pass_rate", "before")
    assert words.split("kl.per_token") == ("kl.per_token", "")
    assert words.label("toxicity_max.after") == "Toxicity max"


def test_a_recipe_step_as_flat_settings():
    step = {
        "step": "align",
        "objective": {"name": "dpo", "beta": 0.1},
        "seed": None,
        "what": ["kl", "length"],
        "resume": True,
    }
    assert words.settings(step) == [
        ("objective.name", "dpo"),
        ("objective.beta", "0.1"),
        ("what", "kl, length"),
        ("resume", "yes"),
    ]


def test_moments():
    assert words.moment("2025-11-21T21:59:03+00:00") == "21 November 2025, 21:59 UTC"
    assert words.moment("yesterday") == "yesterday"
    assert words.moment(None) == ""


def test_a_constraint_reads_as_words():
    assert words.rule("punctuation:no_comma#0") == "no comma"
    assert words.rule("plain") == "plain"
