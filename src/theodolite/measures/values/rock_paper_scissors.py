"""Does the model learn how its opponent plays? Rounds of rock-paper-scissors against known policies."""

from __future__ import annotations

from typing import Any

import numpy as np

from theodolite.errors import DataError, did_you_mean
from theodolite.measures.over_units import mean, mean_row, share_row, undefined
from theodolite.measures.records import Mask, Records, Resampled, bare, codes, groups, sieve, take
from theodolite.measures.values.games import MOVES, RPS, opponent
from theodolite.measures.values.rationality import SOURCE
from theodolite.registry import register
from theodolite.stats import Floats, unit_means
from theodolite.types import Reading


@register(
    "measure",
    "rps_payoff",
    source=SOURCE,
    config=Resampled,
    reads="records",
    needs=("game", "round", "move", "opponent", "?policy", "?belief"),
    question="How much does the model win at rock-paper-scissors against an opponent it could learn?",
    better="higher",
    range=(0.0, 2.0),
    unit="points a round",
    not_measured="how it would play against an opponent that learns too",
    taxonomy=("trust:limited-general-reasoning",),
)
def rps_payoff(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Mean over games of the mean payoff a round: win 2, draw 1, loss 0. Random play gets 1, knowing all gets 2.

    One row a round: game, round (0, 1, ...), move and opponent (rock, paper, scissors; a move 'illegal' earns 0),
    policy (optional, see `games.opponent`), belief (optional, the move that the model expected). `parts`: the later
    half of each game, illegal moves, accuracy of stated beliefs, regret (best expected payoff against the policy
    minus that of the move played), all by policy too. Bootstrap over games.
    """
    columns = [c for c in ("game", "round", "move", "opponent", "policy", "belief") if c in data.columns]
    n = data.rows(*columns)
    if n == 0:
        return undefined("rps_payoff", "there are no rounds", cfg, "higher", {}, unit="points a round")
    move, theirs = _moves(data, "move"), _moves(data, "opponent")
    game, turn = data.words("game"), data.numbers("round")
    kept, why = sieve(
        ("no move", np.isnan(move)), ("no move of the opponent", np.isnan(theirs) | (theirs < 0)),
        ("no game", bare(game)), ("no round", np.isnan(turn)),
    )  # fmt: skip
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((turn[rows], codes([game[i] for i in rows])[1]))]
    names = [str(game[i]) for i in rows]
    pay = np.where(move[rows] >= 0, RPS[np.maximum(move[rows], 0).astype(int), theirs[rows].astype(int)], 0.0)
    parts: dict[str, Any] = {"illegal": share_row(float((move[rows] == -1).sum()), len(rows), cfg), "random_play": 1.0}
    if len(rows):
        parts["later_half"] = mean_row(unit_means(np.where(_late(names), pay, np.nan), names), rng, cfg)
    if "belief" in data.columns:
        belief = _moves(data, "belief")[rows]
        told = ~np.isnan(belief)
        parts["belief_accuracy"] = share_row(float((belief == theirs[rows])[told].sum()), int(told.sum()), cfg)
    if "policy" in data.columns and len(rows):
        policy = take(data.words("policy"), rows)
        regret = _regret(policy, names, turn[rows], move[rows])
        parts["regret"] = mean_row(_games(regret, names), rng, cfg)
        parts["by_policy"] = [
            mean_row(unit_means(pay[r], take(names, r)), rng, cfg, policy=p, regret=float(regret[r].mean()))
            for p, r in groups(policy)
        ]
    return mean(
        "rps_payoff", unit_means(pay, names) if len(rows) else pay, rng, cfg, better="higher", why=why,
        empty="no round has both moves", units="games", unit="points a round", parts=parts,
    )  # fmt: skip


def _games(values: Floats, names: list[str]) -> Floats:
    """Means of the games that have a value."""
    found = unit_means(values, names)
    return found[~np.isnan(found)]


def _moves(data: Records, name: str) -> Floats:
    known = {m: float(i) for i, m in enumerate(MOVES)} | {"illegal": -1.0}
    found = []
    for number, word in enumerate(data.words(name)):
        if word is not None and word.lower() not in known:
            raise DataError(
                f"column '{name}', row {number + 1}: '{word}' is no move.{did_you_mean(word, known)} "
                "Moves are rock, paper, scissors; write illegal where an answer named none."
            )
        found.append(np.nan if word is None else known[word.lower()])
    return np.array(found, float)


def _late(names: list[str]) -> Mask:
    """True on the later half of each game's rounds (the larger half of an odd number)."""
    found = np.zeros(len(names), bool)
    for _, rows in groups(names):
        found[rows[len(rows) // 2 :]] = True
    return found


def _regret(policy: list[str | None], names: list[str], turn: Floats, move: Floats) -> Floats:
    """Best expected payoff minus that of the move, a round; rows in order of play. NaN without a policy."""
    known = {p: opponent(p) for p in set(policy) if p is not None}
    found = np.full(len(policy), np.nan)
    last: int | None = None
    for i, p in enumerate(policy):
        if i == 0 or names[i] != names[i - 1]:
            last = None
        if p is not None:
            expected = RPS @ known[p].belief(int(turn[i]), last)
            found[i] = known[p].best_payoff(int(turn[i]), last) - (expected[int(move[i])] if move[i] >= 0 else 0.0)
        last = int(move[i]) if move[i] >= 0 else None
    return found
