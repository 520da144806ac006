"""Items that both sides have, matched by id, and what is only on one side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theodolite import stats
from theodolite.data.results.results import Column, Floats


@dataclass(frozen=True, slots=True)
class Aligned:
    """items: the n matched ids, in the order of a. a, b: (n,) an item's mean over its answers, NaN where missing.
    clusters: (n,) codes, equal for items with one prompt.

    only_a, only_b: ids on one side. changed: ids whose question differs between the sides, left out.
    reworded: matched items whose shown text differs (another template or other examples); they stay in.
    """

    items: tuple[str, ...]
    a: Floats
    b: Floats
    clusters: NDArray[np.int64]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    changed: tuple[str, ...]
    reworded: int

    @property
    def why(self) -> dict[str, int]:
        """Items that are left out of the difference, counted by reason."""
        lacks_a, lacks_b = np.isnan(self.a), np.isnan(self.b)
        counts = {
            "only in the first": len(self.only_a),
            "only in the second": len(self.only_b),
            "same id, another question": len(self.changed),
            "no value in the first": int((lacks_a & ~lacks_b).sum()),
            "no value in the second": int((lacks_b & ~lacks_a).sum()),
            "no value in either": int((lacks_a & lacks_b).sum()),
        }
        return {reason: count for reason, count in counts.items() if count}


def align(a: Column, b: Column) -> Aligned:
    """Match two columns by item id. An item answered several times counts once, with the mean of its values.

    Where both files identify their questions, an id that stands for another question on the other side is no match.
    """
    left, right = _means(a), _means(b)
    asked_a, asked_b = _first(a, a.prompts), _first(b, b.prompts)
    shown_a, shown_b = _first(a, a.shown), _first(b, b.shown)
    common = [i for i in left if i in right]
    known = bool(asked_a) and bool(asked_b)
    changed = tuple(i for i in common if known and asked_a[i] != asked_b[i])
    gone = set(changed)
    items = tuple(i for i in common if i not in gone)
    asked = asked_a or asked_b
    labels = [asked[i] if asked else i for i in items]
    codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    return Aligned(
        items=items,
        a=np.array([left[i] for i in items], float),
        b=np.array([right[i] for i in items], float),
        clusters=np.array([codes[label] for label in labels], np.int64),
        only_a=tuple(i for i in left if i not in right),
        only_b=tuple(i for i in right if i not in left),
        changed=changed,
        reworded=sum(shown_a[i] != shown_b[i] for i in items) if shown_a and shown_b else 0,
    )


def _means(column: Column) -> dict[str, float]:
    """item -> mean of its values, in order of first appearance."""
    if not column.items:
        return {}
    means = stats.unit_means(column.values, np.array(column.items, dtype=object).astype(str))
    return dict(zip(dict.fromkeys(column.items), means.tolist(), strict=True))


def _first(column: Column, texts: tuple[str, ...] | None) -> Mapping[str, str]:
    if texts is None:
        return {}
    found: dict[str, str] = {}
    for item, text in zip(column.items, texts, strict=True):
        found.setdefault(item, text)
    return found
