"""Judges without judgement do exactly what their names say."""

from __future__ import annotations

import pytest

from theodolite.errors import ConfigError
from theodolite.judges import Comparison, build, compare_both

ITEMS = [Comparison.of(f"q{i}", "x" * (i % 7 + 1), "y" * 4, id=str(i)) for i in range(2000)]


def test_the_longer_answer_wins_in_any_order() -> None:
    both = compare_both(build("longer"), ITEMS[:7])
    assert [b.agreed for b in both] == ["B", "B", "B", "tie", "A", "A", "A"]


def test_length_in_words() -> None:
    item = Comparison.of("q", "one two three", "incomprehensibilities")
    assert build("longer").compare([item])[0].winner == "B"
    assert build("longer", count="words").compare([item])[0].winner == "A"


def test_the_coin_is_fair_and_forgets_the_order() -> None:
    both = compare_both(build("random", seed=3), ITEMS)
    heads = sum(b.first.winner == "A" for b in both)
    same = sum(bool(b.consistent) for b in both)
    assert abs(heads - 1000) < 120  # 5 standard deviations of a fair coin are 112
    assert abs(same - 1000) < 120
    again = compare_both(build("random", seed=3), ITEMS)
    assert [b.first for b in again] == [b.first for b in both]
    other = compare_both(build("random", seed=4), ITEMS)
    assert [b.first for b in other] != [b.first for b in both]


def test_first_shown_is_never_consistent() -> None:
    both = compare_both(build("first_shown"), ITEMS[:5])
    assert {b.consistent for b in both} == {False}
    assert {b.agreed for b in both} == {"tie"}


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'count'"):
        build("longer", cuont="words")
    with pytest.raises(ConfigError, match="no option 'seed'"):
        build("first_shown", seed=1)
