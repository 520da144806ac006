from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.engine.packing import (
    STEM,
    check,
    computed_tokens,
    opening,
    pack_row,
    packs,
    pad_rows,
    padded_tokens,
    split,
)
from theodolite.engine.positions import Placed
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


def test_a_row_with_a_stem_by_hand():
    """Stem 5 6; prompts 7 and 4 3 behind it; the first group's responses compute 8 and 10 11, the second's 9."""
    pack = pack_row([PAIR, Group((5, 6, 4, 3), ((9, 2),))], [0, 2], stem=2)
    assert pack.tokens.tolist() == [[5, 6, 7, 8, 10, 11, 4, 3, 9]]
    assert pack.layout.position.tolist() == [0, 1, 2, 3, 3, 4, 2, 3, 4]
    assert pack.layout.owner.tolist() == [-1, -1, 0, 1, 2, 2, 3, 3, 4]
    assert pack.layout.root.tolist() == [-1, -1, 0, 0, 0, 0, 3, 3, 3]
    assert [(s.prompt, s.responses) for s in pack.layout.segments] == [((2, 3), ((3, 4), (4, 6))), ((6, 8), ((8, 9),))]
    assert pack.scored.source.tolist() == [2, 3, 2, 4, 5, 7, 8]
    assert pack.scored.target.tolist() == [8, 9, 10, 11, 12, 9, 2]


def test_the_opening_that_prompts_share():
    head = tuple(range(100, 100 + STEM))
    texts = [(*head, 1, 2), (*head, 1, 3, 4), (*head, 1, 2, 5)]
    assert opening([Group(t, ((9,),)) for t in texts]) == STEM + 1  # and every prompt keeps a token of its own
    assert opening([Group(t, ((9,),)) for t in (texts[0], texts[0])]) == STEM + 1
    assert opening([Group(t[1:], ((9,),)) for t in (texts[0], texts[0][:-1])]) == 0, "too short to pay"
    assert opening([Group(texts[0], ((9,),))]) == 0, "nobody to share with"
    assert opening([Group(texts[0], ((9,),)), Placed(texts[1], ((9,),), positions=tuple(range(STEM + 3)))]) == 0


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=6), min_size=2, max_size=6))
def test_the_opening_is_the_longest(ends):
    prompts = [(7,) * STEM + tuple(e) for e in ends]
    found, room = opening([Group(p, ((9,),)) for p in prompts]), min(map(len, prompts)) - 1
    assert len({p[:found] for p in prompts}) == 1
    assert found == room or len({p[: found + 1] for p in prompts}) > 1


def test_packs_count_a_shared_opening_once():
    """Four groups of 20 tokens, 16 of them shared: 16 + 4 * 4 = 32."""
    groups = [group(20, 1)] * 4
    assert packs(groups, 32) == [[0], [1], [2], [3]]
    assert packs(groups, 32, shared=16) == [[0, 1, 2, 3]]
    assert packs(groups, 31, shared=16) == [[0, 2], [1, 3]]


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


def test_a_group_is_cut_between_responses_by_hand():
    """4 + 6 * 4 = 28 tokens; behind 4 of the prompt a budget of 12 holds two responses of 4 computed tokens."""
    parts = split([PAIR, group(4, *[5] * 6)], 12)
    assert [(p.number, p.first, len(p.group)) for p in parts] == [(0, 0, 2), (1, 0, 2), (1, 2, 2), (1, 4, 2)]
    assert parts[0].group is PAIR
    assert [computed_tokens(p.group) for p in parts[1:]] == [12, 12, 12]


def test_a_long_prompt_is_not_repeated_for_less_than_its_own_length():
    """10 + 8 * 2 = 26 tokens and a budget of 12: parts may cost 2 * 10, so five responses of 2 join the first."""
    assert [(p.first, computed_tokens(p.group)) for p in split([group(10, *[3] * 8)], 12)] == [(0, 20), (5, 16)]
    assert len(split([group(10, *[3] * 5)], 12)) == 1


def test_one_response_cannot_be_cut():
    assert [p.group for p in split([group(2, 50), group(2, 50, 3)], 10)] == [group(2, 50), group(2, 50), group(2, 3)]


def test_what_a_group_says_is_cut_with_it():
    whole = Placed(
        (1, 2), ((3, 4, 5), (6, 7, 8)), ((1.0, 0.0, 1.0), (1.0, 1.0, 0.5)), (0.5, -1.0), (1, 0), (1, -1), "q", (0, 9)
    )
    first, second = (p.group for p in split([whole], 4))
    assert first == Placed((1, 2), ((3, 4, 5),), ((1.0, 0.0, 1.0),), (0.5,), (1,), (1,), "q", (0, 9))
    assert second == Placed((1, 2), ((6, 7, 8),), ((1.0, 1.0, 0.5),), (-1.0,), (0,), (-1,), "q", (0, 9))


@given(
    st.lists(st.tuples(st.integers(1, 30), st.lists(st.integers(1, 12), min_size=1, max_size=12)), max_size=6),
    st.integers(1, 80),
    st.sampled_from([computed_tokens, padded_tokens]),
)
def test_parts_make_up_the_groups_within_the_limit(shapes, budget, cost):
    groups = [Group((1,) * p, tuple((k,) * n for k, n in enumerate(lengths))) for p, lengths in shapes]
    parts = split(groups, budget, cost)
    for number, whole in enumerate(groups):
        own = [p for p in parts if p.number == number]
        assert tuple(r for p in own for r in p.group.responses) == whole.responses
        assert all(whole.responses[p.first : p.first + len(p.group)] == p.group.responses for p in own)
        limit = max(budget, 2 * len(whole.prompt))
        assert all(cost(p.group) <= limit or len(p.group) == 1 for p in own)
        assert sum(cost(p.group) for p in own) < 3 * cost(whole)
        assert len(own) == 1 or cost(whole) > limit
    assert [p.number for p in parts] == sorted(p.number for p in parts)


def test_a_budget_below_one_is_refused():
    for divide in (packs, split):
        with pytest.raises(UsageError, match="at least 1"):
            divide([PAIR], 0)


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
