"""Ranked pairs: majorities, a cycle, ties, missing items."""

from __future__ import annotations

import pytest

from theodolite.data.voting import ranked_pairs


def test_everyone_agrees():
    assert ranked_pairs([[2, 0, 1]] * 3) == [2, 0, 1]


def test_a_cycle_is_cut_at_its_weakest_majority():
    votes = [[0, 1, 2]] * 4 + [[1, 2, 0]] * 2 + [[2, 0, 1]] * 3
    # 0>1 by 4 + 3 of 9, 1>2 by 4 + 2 of 9, 2>0 by 2 + 3 of 9: the last is the weakest and would close the cycle
    assert ranked_pairs(votes) == [0, 1, 2]


def test_a_condorcet_winner_wins_though_others_have_more_first_places():
    votes = [[0, 1, 2]] * 4 + [[2, 1, 0]] * 3 + [[1, 2, 0]] * 2
    assert ranked_pairs(votes)[0] == 1


def test_ties_and_missing_items_are_decided_the_same_way_each_time():
    assert ranked_pairs([[0, 1], [1, 0]]) == [0, 1]
    assert ranked_pairs([[3, 1], [1, 2]]) == [3, 1, 2]
    assert ranked_pairs([]) == []


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_reversed_votes_reverse_a_strict_order(n):
    votes = [[*range(n)]] * 3
    assert ranked_pairs([v[::-1] for v in votes]) == ranked_pairs(votes)[::-1]
