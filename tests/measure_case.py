"""What a test file says about a measure of records, so that the contracts can be tested for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from theodolite.measures.records import Ratings, Records

Data = Ratings | Records


def shuffled(data: Data, rng: np.random.Generator) -> Data:
    """The same items in another order: rows of ratings, or of every column."""
    if isinstance(data, Ratings):
        return Ratings(data.values[rng.permutation(len(data.values))], data.raters, data.categories)
    order = rng.permutation(len(next(iter(data.columns.values()))))
    return Records({n: np.asarray(v)[order] for n, v in data.columns.items()})


@dataclass(frozen=True)
class Case:
    """good, bad: data on which the value must be obviously better and worse (None where `better` is neither).
    undefined: data without an answer; the value must be NaN with a note. missing: data with k missing units, and k.
    shuffle: another order of the same rows (default: all columns together); None where order is meant.
    """

    good: Data
    undefined: Data
    bad: Data | None = None
    missing: tuple[Data, int] | None = None
    shuffle: Callable[[Data, np.random.Generator], Data] | None = shuffled
    options: Mapping[str, Any] = field(default_factory=dict)
