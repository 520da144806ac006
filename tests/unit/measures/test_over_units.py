"""Rows left out are counted once; a share, a mean and bootstrap counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theodolite.measures import over_units
from theodolite.measures.records import Options

CFG = Options()


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_row_counts_under_the_first_rule_that_names_it() -> None:
    kept, why = over_units.sieve(
        ("a", [True, True, False, False]), ("b", [False, True, True, False]), ("c", [False] * 4)
    )
    assert kept.tolist() == [False, False, False, True]
    assert why == {"a": 2, "b": 1}


def test_codes_and_groups() -> None:
    names, code = over_units.codes(["y", "x", "y", None])
    assert names == ["y", "x", None]
    assert code.tolist() == [0, 1, 0, 2]
    assert [(n, r.tolist()) for n, r in over_units.groups(["y", "x", "y", None])] == [("x", [1]), ("y", [0, 2])]


def test_weights_are_counts_that_sum_to_n_and_come_in_small_blocks() -> None:
    blocks = list(over_units.weights(5, 300, rng(), rows=40_000))
    assert [len(b) for b in blocks] == [100, 100, 100]
    assert all((b.sum(1) == 5).all() for b in blocks)
    assert list(over_units.weights(1, 300, rng())) == []


def test_percentile_of_mostly_undefined_draws_is_undefined() -> None:
    assert math.isnan(over_units.percentile([math.nan, math.nan, 1.0], CFG, "x").low)
    span = over_units.percentile(np.linspace(0, 1, 101), CFG, "x")
    assert (span.low, span.high) == pytest.approx((0.025, 0.975))


def test_share_and_mean_of_nothing_are_undefined() -> None:
    got = over_units.share("s", 0, 0, CFG, better="higher", why={"x": 2}, empty="nothing")
    assert math.isnan(got.value)
    assert (got.note, got.missing, got.why) == ("nothing", 2, {"x": 2})
    assert math.isnan(over_units.mean("m", [], rng(), CFG, better="lower", why={}, empty="nothing").value)


def test_mean_is_the_mean() -> None:
    got = over_units.mean("m", [1.0, 2.0, 6.0], rng(), CFG, better="lower", why={}, empty="", units="docs")
    assert got.value == 3.0
    assert got.method == "bootstrap over docs"
    assert got.low <= 3 <= got.high
