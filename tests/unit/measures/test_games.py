"""Rules of the games: every desire has its own best split, best replies, and rings solved two ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theodolite.errors import UsageError
from theodolite.measures.values.games import (
    DESIRES,
    RPS,
    best_options,
    dictator_options,
    equilibria,
    opponent,
    ring_game,
    undominated,
    utility,
)


def test_desires_by_hand() -> None:
    options = np.array([[5, 5], [9, 7], [10, 0], [0, 10], [6, 6]])
    assert utility(options, "equality").tolist() == [0, -2, -10, -10, 0]
    assert best_options(options, "equality").tolist() == [True, False, False, False, True]
    assert best_options(options, "common interest").tolist() == [False, True, False, False, False]
    assert best_options(options, "self-interest").tolist() == [False, False, True, False, False]
    assert best_options(options, "altruism").tolist() == [False, False, False, True, False]
    with pytest.raises(UsageError, match="Did you mean 'altruism'"):
        utility(options, "altruist")


@given(st.integers(0, 10**6))
def test_every_desire_has_one_best_split_of_its_own(seed: int) -> None:
    options = dictator_options(np.random.default_rng(seed))
    best = [best_options(options, d) for d in DESIRES]
    assert [b.sum() for b in best] == [1] * 4
    assert len({int(b.argmax()) for b in best}) == 4


def test_payoffs_are_rock_paper_scissors() -> None:
    assert (RPS + RPS.T == 2).all()
    assert (RPS.sum(1) == 3).all()
    assert RPS[1, 0] == 2  # paper beats rock
    assert RPS[2, 1] == 2  # scissors beat paper
    assert RPS[0, 2] == 2  # rock beats scissors


@pytest.mark.parametrize("text", ["rock", "rock paper", "rock, paper, scissors", "copy", "counter", "0.5 0.3 0.2"])
def test_a_player_who_knows_the_policy_earns_the_best_payoff(text: str) -> None:
    them, generator, last, earned, best = opponent(text), np.random.default_rng(0), None, 0.0, 0.0
    for turn in range(3000):
        mine = int((RPS @ them.belief(turn, last)).argmax())
        best += them.best_payoff(turn, last)
        earned += RPS[mine, them.move(turn, last, generator)]
        last = mine
    # the mixture .5 .3 .2: paper wins .5, draws .3: 1.3 a round; all others are certain after the first round
    assert best / 3000 == pytest.approx(1.3 if text[0] == "0" else 2.0, abs=1e-3)
    assert earned / 3000 == pytest.approx(best / 3000, abs=0.05)


def test_playing_at_random_earns_one() -> None:
    for text in ("rock", "copy", "0.2 0.2 0.6"):
        assert (np.full(3, 1 / 3) @ RPS @ opponent(text).belief(1, 2)) == pytest.approx(1.0)


def test_opponents() -> None:
    assert opponent("copy").belief(3, 1).tolist() == [0, 1, 0]
    assert opponent("counter").belief(3, 1).tolist() == [0, 0, 1]  # scissors beat our paper
    assert opponent("copy").belief(0, None) == pytest.approx([1 / 3] * 3)
    assert opponent("Rock, Paper").belief(3, None).tolist() == [0, 1, 0]
    for text in ("lizard", "0.5 0.6 0.1", "", "rock 0.5"):
        with pytest.raises(UsageError, match="no opponent is described"):
            opponent(text)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(2, 4))
def test_a_ring_has_one_equilibrium_found_by_reasoning(seed: int, players: int, actions: int) -> None:
    payoffs = ring_game(np.random.default_rng(seed), players, actions)
    left, decided = undominated(payoffs)
    assert [len(a) for a in left] == [1] * players
    assert equilibria(payoffs) == [tuple(a[0] for a in left)]
    assert decided == [players - i for i in range(players)]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_on_any_ring_equilibria_survive_elimination(seed: int) -> None:
    payoffs = np.random.default_rng(seed).integers(0, 6, (3, 3, 3)).astype(float)
    left, _ = undominated(payoffs)
    for profile in equilibria(payoffs):
        assert all(a in kept for a, kept in zip(profile, left))


def test_a_ring_needs_two() -> None:
    with pytest.raises(UsageError, match="2 players and 2 actions"):
        ring_game(np.random.default_rng(0), 1, 3)
