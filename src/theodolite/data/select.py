"""Choosing Examples: splits that keep prompts whole, duplicates, leakage, length filters, and length bias."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from theodolite.data.duplicates import near_duplicates, tokens
from theodolite.data.views import LeftOut, View
from theodolite.errors import DataError, UsageError
from theodolite.stats import wilson
from theodolite.types import Example, Reading


class Split(NamedTuple):
    train: list[Example]
    held_out: list[Example]


def split(examples: Sequence[Example], held_out: float | int, seed: int, by: str = "prompt") -> Split:
    """Train and held-out examples, in their old order; what belongs together is never parted.

    held_out: a share (0.1) or a number (200) of examples. by: 'prompt' (equal prompts after case and white space),
    'id', or the name of a meta entry. Examples with an equal meta['group'] (one conversation tree) stay together in
    any case. Groups are drawn at random and taken where they fit; too large ones are passed over, so held-out may be
    a little smaller than asked.
    """
    want = round(held_out * len(examples)) if isinstance(held_out, float) else held_out
    if not 0 < want < len(examples) or (isinstance(held_out, float) and held_out >= 1):
        raise UsageError(
            f"held_out must leave something on both sides of {len(examples)} examples, got {held_out}. "
            "A share lies between 0 and 1 (0.1 is 10 %), a number is a count of examples."
        )
    groups = _groups(examples, by)
    taken: set[int] = set()
    for g in np.random.default_rng(seed).permutation(len(groups)):
        if len(taken) + len(groups[g]) <= want:
            taken.update(groups[g])
    if not taken:
        raise DataError(
            f"no group of equal {by}s is as small as the {want} held-out examples asked for; the smallest has "
            f"{min(map(len, groups))}. Ask for more, or split by something else."
        )
    return Split([e for i, e in enumerate(examples) if i not in taken], [examples[i] for i in sorted(taken)])


def unique(examples: Sequence[Example]) -> View:
    """Without exact duplicates (equal prompt and equal responses, as texts); the first of each is kept."""
    seen: set[Hashable] = set()
    kept, out = [], []
    for e in examples:
        key = (e.prompt, tuple(r.text for r in e.responses))
        if key in seen:
            out.append(LeftOut(e.id, "an exact duplicate of an earlier example"))
        else:
            seen.add(key)
            kept.append(e)
    return View(kept, out)


def merge(examples: Sequence[Example]) -> list[Example]:
    """Examples with equal prompts become one with all their responses (equal texts once, the first wins)."""
    by_prompt: dict[Hashable, Example] = {}
    for e in examples:
        if e.prompt not in by_prompt:
            by_prompt[e.prompt] = e
            continue
        old = by_prompt[e.prompt]
        known = {r.text for r in old.responses}
        new = tuple(r for r in e.responses if r.text not in known)
        by_prompt[e.prompt] = replace(old, responses=old.responses + new)
    return list(by_prompt.values())


def word_count(text: str) -> int:
    """Words (runs of letters or digits; each Chinese, Japanese or Korean character counts)."""
    return len(tokens(text))


def by_length(
    examples: Sequence[Example],
    *,
    max_prompt: int | None = None,
    min_response: int | None = None,
    max_response: int | None = None,
    count: Callable[[str], int] = word_count,
) -> View:
    """Examples whose prompt (all turns) and responses keep these limits, in the unit of `count` (words, or tokens).

    An Example goes as a whole: cutting one response out of a ranking would change what it says.
    """
    kept, out = [], []
    for e in examples:
        prompt = count("\n".join(m.content for m in e.prompt)) if max_prompt is not None else 0
        lengths = [count(r.text) for r in e.responses] if (min_response, max_response) != (None, None) else []
        if max_prompt is not None and prompt > max_prompt:
            out.append(LeftOut(e.id, f"a prompt longer than {max_prompt}"))
        elif max_response is not None and any(n > max_response for n in lengths):
            out.append(LeftOut(e.id, f"a response longer than {max_response}"))
        elif min_response is not None and any(n < min_response for n in lengths):
            out.append(LeftOut(e.id, f"a response shorter than {min_response}"))
        else:
            kept.append(e)
    return View(kept, out)


def leakage(
    train: Sequence[Example], held_out: Sequence[Example], threshold: float = 0.8
) -> list[tuple[int, int, float]]:
    """(train number, held-out number, similarity) of prompts that are nearly the same, most similar first.

    Prompts are compared with all their turns; system turns are left out, for they are often the same everywhere.
    """
    return near_duplicates(_prompt_texts(train), _prompt_texts(held_out), threshold)


def length_bias(pairs: Sequence[Example], count: Callable[[str], int] = word_count) -> Reading:
    """Share of pairs whose chosen answer is the longer one; 0.5 is no bias.

    pairs: Examples with exactly two responses, the chosen first (`views.pairs`). Pairs of equal length are missing.
    Several pairs of one prompt (meta['prompt_id']) count as one unit, by their mean. Wilson interval over units, exact
    two-sided sign test over units (units at exactly 0.5 drop out). parts: mean_difference (chosen minus rejected, in
    the unit of `count`) over all pairs, and mean lengths of both sides.
    Not measured: whether people prefer length itself, or what longer answers hold.
    """
    if wrong := next((e for e in pairs if len(e.responses) != 2), None):
        raise DataError(
            f"example '{wrong.id}' has {len(wrong.responses)} responses; length_bias takes pairs (views.pairs)."
        )
    lengths = np.array([[count(r.text) for r in e.responses] for e in pairs], float).reshape(-1, 2)
    longer: dict[Hashable, list[float]] = {}
    for e, (chosen, rejected) in zip(pairs, lengths):
        if chosen != rejected:
            longer.setdefault(e.meta.get("prompt_id") or e.prompt, []).append(float(chosen > rejected))
    units = np.array([np.mean(v) for v in longer.values()])
    ties = int(np.sum(lengths[:, 0] == lengths[:, 1]))
    n, up, down = len(units), int(np.sum(units > 0.5)), int(np.sum(units < 0.5))
    interval = wilson(float(units.sum()), n)
    parts: dict[str, Any] = {"pairs": len(pairs)}
    if len(pairs):
        means = lengths.mean(0).tolist()
        parts |= {"mean_difference": means[0] - means[1], "mean_chosen": means[0], "mean_rejected": means[1]}
    return Reading(
        "length_bias",
        float(units.mean()) if n else float("nan"),
        interval.low,
        interval.high,
        method="wilson",
        n=n,
        missing=ties,
        why={"equal length": ties} if ties else {},
        unit="share of prompts",
        p_value=float(scipy_stats.binomtest(up, up + down, 0.5).pvalue) if up + down else None,
        note="" if n else "no pair with answers of different length",
        parts=parts,
    )


def _groups(examples: Sequence[Example], by: str) -> list[list[int]]:
    """Numbers of examples that belong together: equal key, or equal meta['group'] (connected through both)."""
    parent = list(range(len(examples)))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first: dict[Hashable, int] = {}
    for i, e in enumerate(examples):
        for key in _keys(e, by):
            a, b = top(i), top(first.setdefault(key, i))
            parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = {}
    for i in range(len(examples)):
        groups.setdefault(top(i), []).append(i)
    return list(groups.values())


def _keys(e: Example, by: str) -> list[Hashable]:
    if by == "prompt":
        key: Hashable = tuple((m.role, " ".join(m.content.lower().split())) for m in e.prompt)
    elif by == "id":
        key = e.id
    elif by in e.meta:
        key = str(e.meta[by])
    else:
        raise UsageError(f"example '{e.id}' has no '{by}' to split by. Its meta has: {', '.join(e.meta) or 'nothing'}.")
    keys: list[Hashable] = [(by, key)]
    return keys + ([("group", str(e.meta["group"]))] if e.meta.get("group") else [])


def _prompt_texts(examples: Sequence[Example]) -> list[str]:
    return ["\n".join(m.content for m in e.prompt if m.role != "system") for e in examples]
