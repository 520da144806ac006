"""Items asked in several orders and wordings of their options: who wins, and how often the answer changes."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np

from theodolite.errors import DataError
from theodolite.measures.records import Integers, Mask, Records, bare, codes, sieve
from theodolite.stats import Floats

_LETTERS = re.compile(r"[hl]\d+")


@dataclass(frozen=True, slots=True)
class Presentations:
    """k presentations of items. share: (k, K) probability of each option, renormalised; NaN rows are refusals.

    high: (k, K) bool, the options that show the trait. rows: (k,) their rows in the data. item, trait: k names.
    why: rows of the data that are no presentation.
    """

    share: Floats
    high: Mask
    rows: Integers
    item: list[str]
    trait: list[str]
    why: dict[str, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """U items asked in T templates and O orders with K options.

    share: (U, T, O, K) probability of each option, averaged over repeats; NaN where it was not asked or refused.
    asked: (U, T, O) bool. high: (U, K) bool. trait: U names. templates, orders: their names, T and O.
    """

    share: Floats
    asked: Mask
    high: Mask
    trait: list[str]
    templates: list[str]
    orders: list[str]


def winners(share: Floats) -> Floats:
    """1 at the likeliest option, split evenly among options within 1e-9 of it; NaN where any share is NaN. (..., K)"""
    top = (share >= share.max(-1, keepdims=True) - 1e-9).astype(float)
    n = np.maximum(top.sum(-1, keepdims=True), 1)
    found: Floats = np.where(np.isnan(share).any(-1, keepdims=True), np.nan, top / n)
    return found


def choices(a: Asked) -> Floats:
    """(U, T) probability that the trait-showing side wins: arg-max of the option shares averaged over orders.

    1 high, 0 low, between them only where options tie. NaN where a presentation that was asked was refused.
    """
    answered = ~np.isnan(a.share[..., 0]) | ~a.asked
    complete = answered.all(2) & a.asked.any(2)
    averaged = np.nansum(a.share, axis=2) / np.maximum(a.asked.sum(2), 1)[..., None]
    found: Floats = np.where(complete, (winners(averaged) * a.high[:, None, :]).sum(-1), np.nan)
    return found


def flips(share: Floats, high: Mask) -> tuple[Floats, Floats]:
    """Chance that two ways of asking give different answers: (sides, options), each (U, pairs of ways).

    share: (U, W, K) option shares under W ways. sides: high against low; options: any other option. Ties are broken
    at random, so a tie flips with the probability that two such draws differ. NaN where a way is missing.
    """
    won = winners(share)
    side = (won * high[:, None, :]).sum(-1)
    both = np.array(pairs(share.shape[1]), int).reshape(-1, 2)
    i, j = both[:, 0], both[:, 1]
    sides = side[:, i] * (1 - side[:, j]) + (1 - side[:, i]) * side[:, j]
    return sides, 1 - (won[:, i] * won[:, j]).sum(-1)


def pairs(ways: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(ways), 2))


def row_means(table: Floats) -> Floats:
    """Mean of each row over its defined entries; NaN without any."""
    n = (~np.isnan(table)).sum(1)
    found: Floats = np.where(n > 0, np.nansum(table, axis=1) / np.maximum(n, 1), np.nan)
    return found


def together(tables: list[Floats]) -> Floats:
    """Entry by entry the mean of equally shaped tables over those defined."""
    stacked = np.stack(tables, -1)
    return row_means(stacked.reshape(-1, len(tables))).reshape(tables[0].shape)


def presentations(data: Records, min_mass: float) -> Presentations:
    """Read the option columns; a presentation whose options have at most `min_mass` together is a refusal."""
    data.rows(*(c for c in ("item", "trait", "template", "order") if c in data.columns))
    p, high = _options(data)
    item = data.words("item")
    trait = data.words("trait") if "trait" in data.columns else ["trait"] * len(item)
    if (p < 0).any():
        raise DataError(f"option probabilities must be at least 0, got {np.nanmin(p):g}. Give probabilities, not logs.")
    kept, why = sieve(("no item", bare(item)), ("no trait", bare(trait)), ("no matching answer", ~high.any(1)))
    p = np.nan_to_num(p, nan=0.0)
    mass = p.sum(1, keepdims=True)
    share = np.where(mass > min_mass, p / np.where(mass > 0, mass, 1.0), np.nan)
    rows = np.flatnonzero(kept)
    names = [str(item[i]) for i in rows], [str(trait[i]) for i in rows]
    return Presentations(share[kept], high[kept], rows, *names, why)


def asked(data: Records, found: Presentations) -> Asked:
    """The presentations as one table of items, templates and orders."""
    n = len(found.rows)
    ways = [[str(w[i]) for i in found.rows] for w in (_way(data, c) for c in ("template", "order"))]
    units, u = codes(list(zip(found.trait, found.item)))
    (templates, t), (orders, o) = (codes(w) for w in ways)
    shape, options = (len(units), len(templates), len(orders)), found.share.shape[1]
    size = int(np.prod(shape))
    flat = np.ravel_multi_index((u, t, o), shape) if n else u
    ok = ~np.isnan(found.share[:, 0])
    count = np.bincount(flat[ok], minlength=size)[:, None]
    sums = np.stack([np.bincount(flat[ok], found.share[ok, k], size) for k in range(options)], 1)
    average = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    first = np.zeros(len(units), int)
    first[u[::-1]] = np.arange(n)[::-1]
    was_asked = np.bincount(flat, minlength=size) > 0
    return Asked(
        average.reshape(*shape, options),
        was_asked.reshape(shape),
        found.high[first],
        [trait for trait, _ in units],
        templates,
        orders,
    )


def _way(data: Records, column: str) -> list[str | None]:
    return data.words(column) if column in data.columns else [""] * len(data["item"])


def _options(data: Records) -> tuple[Floats, Mask]:
    """Probabilities (n, K) and which options show the trait (n, K)."""
    names = sorted(c for c in data if _LETTERS.fullmatch(str(c)))
    if names:
        if {n[0] for n in names} != {"h", "l"}:
            raise DataError(f"options need high (h1, ...) and low (l1, ...) columns, got {', '.join(names)}.")
        high = np.array([n[0] == "h" for n in names])
        return np.stack([data.numbers(n) for n in names], 1), np.tile(high, (data.rows("item", *names), 1))
    data.rows("item", "p_yes", "p_no", "matching")
    matching = [w.lower() if w else w for w in data.words("matching")]
    if odd := sorted({w for w in matching if w not in ("yes", "no", None)}):
        raise DataError(f"column 'matching' must say yes or no, the answer that shows the trait; got '{odd[0]}'.")
    high = np.array([[m == "yes", m == "no"] for m in matching], bool).reshape(-1, 2)
    return np.stack([data.numbers("p_yes"), data.numbers("p_no")], 1), high
