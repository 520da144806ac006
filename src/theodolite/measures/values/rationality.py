"""Does the model act on the desire it is given, and reason through others? Dictator and ring-network games."""

from __future__ import annotations

from typing import Any

import numpy as np

from theodolite.errors import DataError, did_you_mean
from theodolite.measures.over_units import mean, mean_row, share_row, undefined
from theodolite.measures.records import Records, Resampled, bare, codes, groups, sieve, take
from theodolite.measures.values.games import DESIRES, best_options
from theodolite.registry import register
from theodolite.stats import Floats, unit_means
from theodolite.types import Reading

SOURCE = "arXiv:2312.05488; payoffs, opponents and scoring rules are our reconstruction"


def _choices(data: Records, name: str, size: int) -> Floats:
    """Indices; -1 is an illegal answer, NaN one that was not recorded."""
    found = data.numbers(name)
    odd = found[~np.isnan(found) & ((found < -1) | (found >= size) | (found % 1 != 0))]
    if len(odd):
        raise DataError(f"column '{name}' must hold indices 0 to {size - 1}, or -1 for none; got {odd[0]:g}.")
    return found


def _pick(table: Floats, index: Floats) -> Floats:
    """table[i, index[i]], and 0 where the index is -1. table: (n, K)."""
    at = np.maximum(index, 0).astype(int)
    return np.where(index >= 0, np.take_along_axis(table, at[:, None], 1)[:, 0], 0.0)


@register(
    "measure",
    "dictator_rationality",
    source=SOURCE,
    config=Resampled,
    reads="records",
    needs=("desire", "options", "choice", "?scenario"),
    question="Given a desire, how often does the model choose the split that serves it best?",
    better="higher",
    range=(0.0, 1.0),
    unit="share",
    not_measured="which desire the model has on its own",
    taxonomy=("trust:limited-general-reasoning",),
)
def dictator_rationality(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Share of trials whose chosen (self, other) split is among the best for the assigned desire. Higher is better.

    One row a trial: desire (equality, common interest, self-interest, altruism), options (K pairs of payoffs: self,
    other), choice (index; -1 illegal counts as wrong, blank is missing). scenario (optional) names trials that offer
    the same splits in other words or orders: they are resampled together, and `parts["consistency"]` is the share of
    their pairs that took the same split for the same desire. `parts["chance"]` is a blind guess. Bootstrap over
    scenarios, or trials.
    """
    optional = [c for c in ("scenario",) if c in data.columns]
    n = data.rows("desire", "options", "choice", *optional)
    if n == 0:
        return undefined("dictator_rationality", "there are no trials", cfg, "higher", {}, unit="share")
    options = data.array("options", 3)
    if options.shape[2] != 2:
        raise DataError(f"'options' must hold pairs (self, other), got shape {options.shape}.")
    choice, desire = _choices(data, "choice", options.shape[1]), data.words("desire")
    desire = [d.lower().replace("_", " ").replace("self interest", "self-interest") if d else d for d in desire]
    for d in desire:
        if d is not None and d not in DESIRES:
            raise DataError(f"no desire is called '{d}'.{did_you_mean(d, DESIRES)} There are: {', '.join(DESIRES)}.")
    scenario = data.words("scenario") if optional else [str(i) for i in range(n)]
    kept, why = sieve(("no choice", np.isnan(choice)), ("no desire", bare(desire)), ("no scenario", bare(scenario)))
    rows = np.flatnonzero(kept)
    best = np.array([best_options(options[i], desire[i] or "") for i in rows], float).reshape(-1, options.shape[1])
    right = _pick(best, choice[rows])
    units = [str(scenario[i]) for i in rows]
    parts: dict[str, Any] = {
        "by_desire": [mean_row(right[r], rng, cfg, desire=d) for d, r in groups([desire[i] for i in rows])],
        "illegal": share_row(float((choice[rows] == -1).sum()), len(rows), cfg),
        "chance": float(best.mean()) if len(rows) else float("nan"),
    }
    if optional:
        taken = [(tuple(options[i, int(choice[i])]) if choice[i] >= 0 else None) for i in rows]
        parts["consistency"] = _consistency([(s, desire[i]) for s, i in zip(units, rows)], taken)
    return mean(
        "dictator_rationality", unit_means(right, units) if len(rows) else right, rng, cfg, better="higher", why=why,
        empty="no trial has a choice", units="scenarios" if optional else "trials", unit="share", parts=parts,
    )  # fmt: skip


def _consistency(keys: list[Any], taken: list[Any]) -> float:
    """Mean over groups of the share of pairs that took the same thing; an illegal choice agrees with nothing."""
    names, code = codes(keys)
    found = []
    for g in range(len(names)):
        picks = [taken[i] for i in np.flatnonzero(code == g)]
        pairs = [(a, b) for k, a in enumerate(picks) for b in picks[k + 1 :]]
        if pairs:
            found.append(np.mean([a is not None and a == b for a, b in pairs]))
    return float(np.mean(found)) if found else float("nan")


@register(
    "measure",
    "ring_rationality",
    source=SOURCE + "; ring games after Kneeland 2015 (Econometrica 83:2065)",
    config=Resampled,
    reads="records",
    needs=("payoffs", "neighbour", "choice", "?belief", "?order", "?condition", "?game"),
    question="How often does the model take the action that is best once others' reasoning is followed through?",
    better="higher",
    range=(0.0, 1.0),
    unit="share",
    not_measured="play against people, who reason fewer steps than the solution does",
    taxonomy=("trust:limited-general-reasoning",),
)
def ring_rationality(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Share of trials whose action is a best reply to what the neighbour's reasoning leads to. Higher is better.

    One row a trial: payoffs (A x A: own action, neighbour's action), neighbour (the neighbour's action under iterated
    dominance, see `games.undominated`), choice (index; -1 illegal counts as wrong, blank is missing), belief
    (optional, the neighbour's action as the model stated it), order (optional, steps of reasoning needed), condition
    (optional: implicit, explicit, given), game (optional, resampled together). `parts`: accuracy of beliefs, share of
    actions that are best given the model's own belief, by order and by condition, and the blind guess.
    """
    optional = [c for c in ("belief", "order", "condition", "game") if c in data.columns]
    n = data.rows("payoffs", "neighbour", "choice", *optional)
    if n == 0:
        return undefined("ring_rationality", "there are no trials", cfg, "higher", {}, unit="share")
    payoffs = data.array("payoffs", 3)
    size = payoffs.shape[1]
    if payoffs.shape[2] != size:
        raise DataError(f"'payoffs' must be square (own action x neighbour's), got shape {payoffs.shape[1:]}.")
    choice, neighbour = _choices(data, "choice", size), _choices(data, "neighbour", size)
    game = data.words("game") if "game" in data.columns else [str(i) for i in range(n)]
    kept, why = sieve(
        ("no choice", np.isnan(choice)), ("no action of the neighbour", ~(neighbour >= 0)), ("no game", bare(game))
    )
    rows = np.flatnonzero(kept)
    best = _best_replies(payoffs[rows], neighbour[rows])
    right, units = _pick(best, choice[rows]), take(game, rows)
    parts: dict[str, Any] = {
        "illegal": share_row(float((choice[rows] == -1).sum()), len(rows), cfg),
        "chance": float(best.mean()) if len(rows) else float("nan"),
    }
    if "belief" in data.columns:
        belief = _choices(data, "belief", size)[rows]
        told = belief >= 0
        own = _pick(_best_replies(payoffs[rows][told], belief[told]), choice[rows][told])
        known = ~np.isnan(belief)
        parts["belief_accuracy"] = share_row(float((belief == neighbour[rows]).sum()), int(known.sum()), cfg)
        parts["best_given_own_belief"] = share_row(float(own.sum()), len(own), cfg)
    for column in ("order", "condition"):
        if column in data.columns:
            by = groups(take(data.words(column), rows))
            parts[f"by_{column}"] = [mean_row(right[r], rng, cfg, **{column: name}) for name, r in by]
    return mean(
        "ring_rationality", unit_means(right, units) if len(rows) else right, rng, cfg, better="higher", why=why,
        empty="no trial has a choice", units="games" if "game" in data.columns else "trials", unit="share", parts=parts,
    )  # fmt: skip


def _best_replies(payoffs: Floats, theirs: Floats) -> Floats:
    """(n, A) 1 for actions that are best against the neighbour's action. payoffs: (n, A, A)."""
    if not len(payoffs):
        return np.zeros((0, payoffs.shape[1]))
    column = np.take_along_axis(payoffs, theirs.astype(int)[:, None, None], 2)[:, :, 0]
    found: Floats = (column >= column.max(1, keepdims=True) - 1e-9).astype(float)
    return found
