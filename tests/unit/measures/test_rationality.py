"""Dictator and ring games: a rational player scores 1, a blind one its chance, by hand in between."""

from __future__ import annotations

import math

import numpy as np
import pytest

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.values.games import DESIRES, best_options, dictator_options, ring_game, undominated


def dictator(pick: str, n: int = 40) -> Records:
    generator = np.random.default_rng(0)
    rows = []
    for i in range(n):
        options, desire = dictator_options(generator), DESIRES[i % 4]
        best = int(best_options(options, desire).argmax())
        choice = {"best": best, "worst": (best + 1) % 4, "random": int(generator.integers(4))}[pick]
        rows.append((desire, options.tolist(), choice))
    return Records(dict(zip(("desire", "options", "choice"), map(list, zip(*rows)))))


def ring(pick: str, games: int = 20) -> Records:
    generator = np.random.default_rng(0)
    rows = []
    for g in range(games):
        payoffs = ring_game(generator)
        left, decided = undominated(payoffs)
        for i in range(4):
            neighbour = left[(i + 1) % 4][0]
            choice = left[i][0] if pick == "best" else (left[i][0] + 1) % 3
            rows.append((payoffs[i].tolist(), neighbour, choice, decided[i], f"g{g}"))
    return Records(dict(zip(("payoffs", "neighbour", "choice", "order", "game"), map(list, zip(*rows)))))


def blank(data: Records, column: str, row: int) -> Records:
    return Records(dict(data.columns) | {column: [None if i == row else v for i, v in enumerate(data[column])]})


CASES = {
    "dictator_rationality": Case(
        good=dictator("best"), bad=dictator("worst"), undefined=blank(dictator("best", 1), "choice", 0),
        missing=(blank(blank(dictator("best"), "choice", 3), "desire", 5), 2),
    ),
    "ring_rationality": Case(
        good=ring("best"), bad=ring("worst"), undefined=Records({"payoffs": [], "neighbour": [], "choice": []}),
        missing=(blank(ring("best"), "choice", 3), 1),
    ),
}  # fmt: skip


def test_rational_players_score_one_and_blind_ones_their_chance() -> None:
    assert evaluate("dictator_rationality", dictator("best")).value == 1.0
    assert evaluate("ring_rationality", ring("best")).value == 1.0
    got = evaluate("dictator_rationality", dictator("random", 2000))
    assert got.parts["chance"] == 0.25
    assert got.value == pytest.approx(0.25, abs=0.03)
    assert evaluate("ring_rationality", ring("best")).parts["chance"] == pytest.approx(1 / 3)


def test_dictator_by_hand() -> None:
    splits = [[5, 5], [9, 7], [10, 0], [0, 10]]
    turned = splits[::-1]
    data = Records({
        "desire": ["equality", "equality", "altruism", "altruism", "self_interest"],
        "options": [splits, turned, splits, turned, splits],
        "choice": [0, 3, 3, 3, -1],
        "scenario": ["s"] * 5,
    })  # fmt: skip
    got = evaluate("dictator_rationality", data)
    # right: (5,5) twice, (0,10) once; (5,5) is no altruism; illegal is wrong: 3 of 5
    assert got.value == pytest.approx(3 / 5)
    assert got.n == 1
    assert math.isnan(got.low)  # one scenario says nothing about spread
    assert got.parts["illegal"]["value"] == 0.2
    assert got.parts["consistency"] == 0.5  # equality took one split twice, altruism two
    assert {r["desire"]: r["value"] for r in got.parts["by_desire"]} == {
        "altruism": 0.5, "equality": 1.0, "self-interest": 0.0
    }  # fmt: skip


def test_a_tied_best_option_counts() -> None:
    data = Records({"desire": ["equality"], "options": [[[5, 5], [6, 6], [1, 0]]], "choice": [1]})
    assert evaluate("dictator_rationality", data).value == 1.0


def test_ring_by_hand() -> None:
    table = [[1, 5], [4, 2]]  # best reply to 0 is 1, to 1 is 0
    data = Records({
        "payoffs": [table] * 4, "neighbour": [0, 0, 1, 1], "choice": [1, 0, 0, -1], "belief": [0, 1, 0, None],
        "condition": ["given", "given", "explicit", "explicit"], "order": [2, 2, 3, 3],
    })  # fmt: skip
    got = evaluate("ring_rationality", data)
    assert got.value == pytest.approx(2 / 4)
    assert got.parts["belief_accuracy"]["value"] == pytest.approx(1 / 3)
    # against its own belief: 1 to 0 is best, 0 to 1 is best, 0 to 0 is not
    assert got.parts["best_given_own_belief"]["value"] == pytest.approx(2 / 3)
    assert [(r["condition"], r["value"]) for r in got.parts["by_condition"]] == [("explicit", 0.5), ("given", 0.5)]
    assert [r["order"] for r in got.parts["by_order"]] == ["2", "3"]
    assert got.parts["illegal"]["value"] == 0.25


def test_letters() -> None:
    with pytest.raises(DataError, match="no desire is called 'greed'"):
        evaluate("dictator_rationality", {"desire": ["greed"], "options": [[[1, 2]]], "choice": [0]})
    with pytest.raises(DataError, match="pairs \\(self, other\\)"):
        evaluate("dictator_rationality", {"desire": ["altruism"], "options": [[[1, 2, 3]]], "choice": [0]})
    with pytest.raises(DataError, match="indices 0 to 1"):
        evaluate("ring_rationality", {"payoffs": [[[1, 2], [3, 4]]], "neighbour": [0], "choice": [2]})
    with pytest.raises(DataError, match="square"):
        evaluate("ring_rationality", {"payoffs": [[[1, 2]]], "neighbour": [0], "choice": [0]})
