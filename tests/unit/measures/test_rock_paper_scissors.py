"""Rounds by hand, regret against known policies, and players whose payoff is known."""

from __future__ import annotations

import numpy as np
import pytest

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.values.games import MOVES, RPS, opponent

COLUMNS = ("game", "round", "move", "opponent", "policy")


def played(how: str, policy: str, games: int = 8, rounds: int = 10) -> list[tuple]:
    generator, them, rows = np.random.default_rng(1), opponent(policy), []
    for g in range(games):
        last = None
        for turn in range(rounds):
            best = int((RPS @ them.belief(turn, last)).argmax())
            mine = {"knows": best, "loses": (best + 1) % 3, "random": int(generator.integers(3))}[how]
            rows.append((f"{policy}{g}", turn, MOVES[mine], MOVES[them.move(turn, last, generator)], policy))
            last = mine
    return rows


def table(rows: list[tuple]) -> Records:
    return Records(dict(zip(COLUMNS, map(list, zip(*rows)))))


GOOD, BAD = table(played("knows", "rock paper") + played("knows", "copy")), table(played("loses", "rock paper"))
GAPS = Records({"game": ["a", "a", "b", None], "round": [0, 1, 0, 0], "move": ["rock", None, "paper", "rock"],
                "opponent": ["rock", "rock", "rock", "rock"]})  # fmt: skip
NONE = Records({"game": ["a"], "round": [0], "move": [None], "opponent": ["rock"]})
CASES = {"rps_payoff": Case(good=GOOD, bad=BAD, undefined=NONE, missing=(GAPS, 2))}


def test_by_hand() -> None:
    # game a: win, draw, loss, illegal = (2 + 1 + 0 + 0)/4; game b: win = 2; mean of games (.75 + 2)/2
    data = Records({
        "game": ["a"] * 4 + ["b"], "round": [0, 1, 2, 3, 0],
        "move": ["paper", "rock", "rock", "illegal", "rock"], "opponent": ["rock", "rock", "paper", "rock", "scissors"],
        "belief": ["rock", "paper", None, "rock", "paper"], "policy": ["rock", "rock", "paper", "rock", None],
    })  # fmt: skip
    got = evaluate("rps_payoff", data)
    assert got.value == pytest.approx((0.75 + 2) / 2)
    assert got.parts["later_half"]["value"] == pytest.approx((0 + 2) / 2)
    assert got.parts["illegal"]["value"] == pytest.approx(1 / 5)
    assert got.parts["belief_accuracy"]["value"] == pytest.approx(2 / 4)
    # regret: paper against rock 0, rock against rock 1, rock against paper 2, illegal 2; game b has no policy
    assert got.parts["regret"]["value"] == pytest.approx(5 / 4)
    assert [(r["policy"], r["regret"]) for r in got.parts["by_policy"]] == [("paper", 2.0), ("rock", 1.0)]


def test_regret_of_copying_opponents_follows_our_own_moves() -> None:
    # copy: after our rock they play rock; paper then earns 2 (no regret), rock 1 (regret 1), each after its own past
    rows = [("g", 0, "rock", "rock", "copy"), ("g", 1, "paper", "rock", "copy"), ("g", 2, "paper", "paper", "copy")]
    assert evaluate("rps_payoff", table(rows)).parts["regret"]["value"] == pytest.approx((0 + 0 + 1) / 3)
    assert evaluate("rps_payoff", table(rows[::-1])).parts["regret"]["value"] == pytest.approx(1 / 3)


def test_players_whose_payoff_is_known() -> None:
    assert evaluate("rps_payoff", table(played("knows", "rock paper scissors"))).value == 2.0
    blind = evaluate("rps_payoff", table(played("random", "rock paper", games=200)))
    assert blind.value == pytest.approx(1.0, abs=0.06)
    assert blind.parts["regret"]["value"] == pytest.approx(1.0, abs=0.06)
    mixed = evaluate("rps_payoff", table(played("knows", "0.5 0.3 0.2", games=200)))
    assert mixed.value == pytest.approx(1.3, abs=0.06)
    assert mixed.parts["regret"]["value"] == pytest.approx(0, abs=1e-12)


def test_letters() -> None:
    with pytest.raises(DataError, match="'stone' is no move"):
        evaluate("rps_payoff", {"game": ["a"], "round": [0], "move": ["stone"], "opponent": ["rock"]})
