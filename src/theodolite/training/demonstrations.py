"""In-context sequences for BiAlign (arXiv:2312.17055): a question after demonstrations, and after parts of them.

The demonstrations of a row are the rows after it (round the end), in that order; the choice is made once, so no
shuffle changes it.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from theodolite.errors import DataError
from theodolite.models.chat import group_of
from theodolite.types import Example, Group, Message, Role

SHOTS = 4
"""Demonstrations before a question; the paper draws 4 to 10."""
SUBSETS = 4
"""Parts of the demonstrations that are compared; N of the paper."""


def compose(examples: Sequence[Example], shots: int) -> list[Example]:
    """Each Example with the next `shots` Examples of other prompts in meta['demonstrations']."""
    made = []
    for i, e in enumerate(examples):
        following = (examples[(i + j) % len(examples)] for j in range(1, len(examples)))
        fit = (d for d in following if d.prompt != e.prompt and d.prompt[0].role != "system" and d.responses)
        made.append(replace(e, meta={**e.meta, "demonstrations": tuple(itertools.islice(fit, shots))}))
    return made


def bundle(example: Example, tokenizer: Any, max_length: int) -> tuple[Group, ...]:
    """The whole sequence as one group whose response is all of it but the first token; then the answer after each of
    up to SUBSETS parts of the demonstrations, half of them each. As many demonstrations as fit are used."""
    if len(example.responses) != 1:
        raise DataError(f"example '{example.id}' has {len(example.responses)} responses, a demonstration has 1.")
    shown: tuple[Example, ...] = example.meta.get("demonstrations", ())
    while shown:
        try:
            long = group_of(_after(example, shown), tokenizer, max_length=max_length)
            break
        except DataError:
            shown = shown[:-1]
    else:
        raise DataError(f"example '{example.id}' has no other row that fits before it as a demonstration.")
    ids = long.prompt + long.responses[0]
    whole = Group(ids[:1], (ids[1:],), scores=(math.nan,), labels=(-1,), roles=(Role.OTHER,), id=example.id)
    parts = [group_of(_after(example, part), tokenizer, roles=(Role.OTHER,)) for part in _parts(example.id, shown)]
    return whole, *(replace(g, scores=(math.nan,)) for g in parts)


def _parts(id: str, shown: tuple[Example, ...]) -> list[tuple[Example, ...]]:
    if len(shown) < 2:
        return []
    every = list(itertools.combinations(shown, math.ceil(len(shown) / 2)))
    return random.Random(id).sample(every, min(SUBSETS, len(every)))


def _after(example: Example, shown: Sequence[Example]) -> Example:
    turns = [m for d in shown for m in (*d.prompt, Message("assistant", d.responses[0].text))]
    return replace(example, prompt=(*turns, *example.prompt))
