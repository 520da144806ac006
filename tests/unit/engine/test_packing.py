from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.engine.packing import check, computed_tokens, pack_row, packs, pad_rows, padded_tokens
from theodolite.errors import DataError, UsageError
from theodolite.types import Group

PAIR = Group((5, 6, 7), ((8, 9), (10, 11, 12)))


def group(prompt: int, *responses: int) -> Group:
    return Group((1,) * prompt, tuple((2,) * n for n in responses))


def test_a_row_by_hand():
    """Prompt 5 6 7; response 8 9 computes only 8 (9 is a target); response 10 11 12 computes 10 11."""
    pack = pack_row([PAIR], [4])
    assert pack.tokens.tolist() == [[5, 6, 7, 8, 10, 11]]
    assert pack.layout.position.tolist() == [0, 1, 2, 3, 3, 4]
    assert pack.layout.owner.tolist() == [0, 0, 0, 1, 2, 2]
    assert pack.layout.root.tolist() == [0] * 6
    assert pack.layout.span == 5
    assert pack.scored.source.tolist() == [2, 3, 2, 4, 5]
    assert pack.scored.target.tolist() == [8, 9, 10, 11, 12]
    assert pack.scored.row.tolist() == [4, 4, 5, 5, 5]
    assert pack.scored.column.tolist() == [0, 1, 0, 1, 2]


def test_the_same_group_padded():
    pack = pad_rows([PAIR], [0])
    assert pack.tokens.tolist() == [[5, 6, 7, 8, 0], [5, 6, 7, 10, 11]]
    assert pack.scored.source.tolist() == [2, 3, 7, 8, 9]


def test_unscored_tokens_are_computed_but_not_scored():
    pack = pack_row([Group((5,), ((8, 9, 10),), weights=((0.0, 1.0, 0.5),))], [0])
    assert pack.tokens.tolist() == [[5, 8, 9]]
    assert pack.scored.target.tolist() == [9, 10]


def test_costs():
    assert computed_tokens(PAIR) == 3 + 1 + 2
    assert padded_tokens(PAIR) == 2 * 5
    assert pack_row([PAIR, PAIR], [0, 2]).tokens.shape[1] == 2 * computed_tokens(PAIR)


def test_packs_by_hand():
    """Sizes 9 5 4 3 3 in packs of 12: 9 | 5, then 5+4, then a tie at 9 goes to the first: 9+3 | 5+4+3."""
    groups = [group(9, 1), group(5, 1), group(4, 1), group(3, 1), group(3, 1)]
    assert packs(groups, 12) == [[0, 3], [1, 2, 4]]


def test_a_group_larger_than_the_budget_stands_alone():
    assert packs([group(3, 1), group(50, 1), group(2, 1)], 10) == [[1], [0, 2]]


def test_a_budget_below_one_is_refused():
    with pytest.raises(UsageError, match="at least 1"):
        packs([PAIR], 0)


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 60))
def test_packs_keep_every_group_once_within_the_budget(sizes, budget):
    groups = [group(n, 1) for n in sizes]
    made = packs(groups, budget)
    assert sorted(i for pack in made for i in pack) == list(range(len(groups)))
    assert all(len(pack) == 1 or sum(sizes[i] for i in pack) <= budget for pack in made)
    assert all(pack == sorted(pack) for pack in made)
    assert made == packs(groups, budget)


@given(st.lists(st.integers(1, 20), min_size=12, max_size=60))
def test_packs_are_even(sizes):
    """Greedy longest-first leaves no two packs further apart than the largest group (Graham 1969)."""
    loads = [sum(sizes[i] for i in pack) for pack in packs([group(n, 1) for n in sizes], 40)]
    assert max(loads) - min(loads) <= max(sizes)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Group((), ((1,),)), "group 1 has an empty prompt.*BOS"),
        (Group((1,), ()), "group 1 has no responses"),
        (Group((1,), ((2,), ()), id="q7"), r"group 1 \(id 'q7'\) has an empty response \(number 1\)"),
        (Group((1, 2, 3), ((4,) * 7,)), "needs 9 positions.*the model has 8"),
        (Group((1,), ((2, 3),), weights=((1.0,),)), r"weights have lengths \[1\], responses have \[2\]"),
        (Group((1,), ((2, 3),), scores=(1.0, 2.0)), "2 scores for 1 responses"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(bad, said):
    with pytest.raises(DataError, match=said):
        check([PAIR, bad], context=8)


def test_a_response_may_end_at_the_last_position():
    check([Group((1, 2, 3), ((4,) * 6,))], context=8)


def test_nothing_to_score_is_refused():
    with pytest.raises(UsageError, match="no groups"):
        check([])
