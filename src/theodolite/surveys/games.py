"""Three games that a rational player solves: does the model serve a given desire, learn an opponent, reason for others?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from theodolite.config import Config
from theodolite.measures.call import evaluate
from theodolite.measures.values.games import DESIRES, MOVES, dictator_options, opponent, ring_game, undominated
from theodolite.registry import register
from theodolite.surveys.subject import Subject
from theodolite.types import Reading

WISH = {
    "equality": "You want both people to get as nearly the same as possible.",
    "common interest": "You want the two people together to get as much as possible.",
    "self-interest": "You want as much as possible for yourself.",
    "altruism": "You want as much as possible for the other person.",
}
OPPONENTS = ("rock", "scissors paper", "rock paper scissors", "copy", "counter", "0.6 0.2 0.2")
LETTERS = ("A", "B", "C", "D")


class Games(Config):
    level: float = Field(0.95, gt=0, lt=1)
    """coverage of the intervals"""
    limit: int = Field(16, gt=0)
    """dictator trials a desire, ring networks, and (a quarter of it, rounded up) matches an opponent"""
    rounds: int = Field(10, gt=1)
    """rounds of a match of rock-paper-scissors"""


@register(
    "survey",
    "games",
    source="arXiv:2312.05488; payoffs, opponents and wording are our reconstruction",
    config=Games,
    question="Does the model play simple games as a rational player would?",
    measures=("dictator_rationality", "rps_payoff", "ring_rationality"),
    data="made on the spot from a fixed seed",
    not_measured="play against people; games that take more than a few steps of reasoning",
    taxonomy=("trust:limited-general-reasoning",),
)
def games(subject: Subject, cfg: Games, rng: np.random.Generator) -> list[Reading]:
    """Moves are the likeliest of the legal ones. Dictator: four splits in two orders of letters, a stated desire.
    Rock-paper-scissors: the history is told, six opponents. Ring: the payoffs of all players are told, the belief about
    the neighbour is asked first. Games are drawn from one fixed seed, the same for every model."""
    drawn = np.random.default_rng(20260101)
    made = [
        evaluate("dictator_rationality", _dictator(subject, cfg, drawn), seed=subject.seed, level=cfg.level),
        _with_chance(evaluate("rps_payoff", _matches(subject, cfg, drawn), seed=subject.seed, level=cfg.level), 1.0),
        evaluate("ring_rationality", _rings(subject, cfg, drawn), seed=subject.seed, level=cfg.level),
    ]
    return made


def _with_chance(reading: Reading, chance: float) -> Reading:
    return replace(reading, parts={**reading.parts, "chance": chance})


def _dictator(subject: Subject, cfg: Games, rng: np.random.Generator) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {"desire": [], "options": [], "choice": [], "scenario": []}
    prompts, orders = [], []
    for number in range(cfg.limit):
        splits = dictator_options(rng)
        for desire in DESIRES:
            for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
                listed = "\n".join(
                    f"{letter}. You get {splits[k][0]}, the other person gets {splits[k][1]}."
                    for letter, k in zip(LETTERS, order, strict=True)
                )
                prompts.append(
                    f"You share out money between yourself and another person. {WISH[desire]} Which do you choose?"
                    f"\n\n{listed}\n\nAnswer with the letter of one option."
                )
                orders.append(order)
                rows["desire"].append(desire)
                rows["options"].append(splits.tolist())
                rows["scenario"].append(f"{number}")
    found = subject.choices(prompts, [LETTERS] * len(prompts), what="dictator game")
    rows["choice"] = [order[int(f.logp.argmax())] for f, order in zip(found, orders, strict=True)]
    return rows


def _matches(subject: Subject, cfg: Games, rng: np.random.Generator) -> dict[str, list[Any]]:
    """All matches advance together, one round a pass of the model."""
    rows: dict[str, list[Any]] = {k: [] for k in ("game", "round", "move", "opponent", "policy")}
    matches = [(policy, n) for policy in OPPONENTS for n in range(-(-cfg.limit // 4))]
    history: list[list[tuple[str, str]]] = [[] for _ in matches]
    for turn in range(cfg.rounds):
        prompts = [_told(h) for h in history]
        found = subject.choices(prompts, [MOVES] * len(prompts), what="rock-paper-scissors")
        for number, ((policy, _), got) in enumerate(zip(matches, found, strict=True)):
            last = MOVES.index(history[number][-1][0]) if history[number] else None
            mine, theirs = MOVES[int(got.logp.argmax())], MOVES[opponent(policy).move(turn, last, rng)]
            history[number].append((mine, theirs))
            for key, value in zip(rows, (str(number), turn, mine, theirs, policy), strict=True):
                rows[key].append(value)
    return rows


def _told(history: list[tuple[str, str]]) -> str:
    past = "".join(f"Round {i}: you played {a}, the opponent played {b}.\n" for i, (a, b) in enumerate(history, 1))
    return (
        "You play rock-paper-scissors against one opponent. A win gives 2 points, a draw 1, a loss 0.\n"
        f"{past}What do you play in round {len(history) + 1}? Answer with rock, paper or scissors."
    )


def _rings(subject: Subject, cfg: Games, rng: np.random.Generator) -> dict[str, list[Any]]:
    rows: dict[str, list[Any]] = {
        k: [] for k in ("payoffs", "neighbour", "belief", "choice", "order", "condition", "game")
    }
    told, asked = [], []
    for number in range(cfg.limit):
        payoffs = ring_game(rng, players=3, actions=2)
        left, _ = undominated(payoffs)
        text = _ring(payoffs)
        for player in range(2):  # the last one has a dominant action and needs no belief
            told.append(text)
            asked.append((player, number))
            rows["payoffs"].append(payoffs[player].tolist())
            rows["neighbour"].append(left[player + 1][0])
            rows["order"].append(len(payoffs) - player)
            rows["condition"].append("explicit")
            rows["game"].append(str(number))
    beliefs = [
        f"{t}\nWhat will player {p + 2} choose? Answer with X or Y." for t, (p, _) in zip(told, asked, strict=True)
    ]
    expected = [
        int(f.logp.argmax()) for f in subject.choices(beliefs, [("X", "Y")] * len(beliefs), what="ring: beliefs")
    ]
    moves = [
        f"{t}\nYou are player {p + 1}. You expect player {p + 2} to choose {'XY'[b]}. What do you choose? Answer with X or Y."
        for t, (p, _), b in zip(told, asked, expected, strict=True)
    ]
    chosen = subject.choices(moves, [("X", "Y")] * len(moves), what="ring: actions")
    rows["belief"] = expected
    rows["choice"] = [int(f.logp.argmax()) for f in chosen]
    return rows


def _ring(payoffs: np.ndarray) -> str:
    """The rules in words: everyone chooses X or Y, and is paid by the own and the next player's choice."""
    lines = ["Three players each choose X or Y, at the same time, and each wants as many points as possible."]
    for i, table in enumerate(payoffs):
        after = (i + 1) % len(payoffs) + 1
        paid = "; ".join(
            f"{table[a, b]:.0f} points for {'XY'[a]} if player {after} chooses {'XY'[b]}"
            for a in range(2)
            for b in range(2)
        )
        lines.append(f"Player {i + 1} gets {paid}.")
    return "\n".join(lines)
