"""What other models think of the data: numbers that are computed once, before training.

A teacher for BiAlign has the policy's vocabulary and scores the policy's own tokens. PoFT's aligned models
(arXiv:2412.12865) may be any; each reads the answer with its own tokenizer and template.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from theodolite.engine import token_logps
from theodolite.errors import DataError, UsageError
from theodolite.models.chat import group_of
from theodolite.models.load import Loaded
from theodolite.types import Example, Group

CHUNK = 16
"""groups a call, so that progress shows"""

Tell = Callable[[str, int, int], None]


def mean_logps(
    examples: Sequence[Example], teachers: Sequence[Loaded], tell: Tell = lambda what, done, total: None
) -> list[Example]:
    """Each Example's first response with the mean over teachers of its log-prob a token (nats) as its score.

    Responses that have a score keep it. An answer that a teacher cannot read (longer than its context) gets none.
    """
    wanted = [i for i, e in enumerate(examples) if e.responses and e.responses[0].score is None]
    total = dict.fromkeys(wanted, 0.0)
    for number, teacher in enumerate(teachers, 1):
        groups = {i: _read(examples[i], teacher) for i in wanted}
        rows = {i: g for i, g in groups.items() if g is not None}
        sums = _logps(teacher, list(rows.values()), lambda d, t, n=number: tell(f"asking teacher {n}", d, t))  # type: ignore[misc]
        found = {i: s / len(rows[i].responses[0]) for i, s in zip(rows, sums)}
        total = {i: t + found.get(i, math.nan) / len(teachers) for i, t in total.items()}
    made = list(examples)
    for i, value in total.items():
        if teachers and not math.isnan(value):
            first, *rest = examples[i].responses
            made[i] = examples[i].with_responses([replace(first, score=value), *rest])
    return made


def score_parts(
    bundles: Sequence[tuple[Group, ...]], teachers: Sequence[Loaded], tell: Tell = lambda what, done, total: None
) -> list[tuple[Group, ...]]:
    """Every group but the first of a bundle with the teacher's summed log-prob (nats) of its answer as score."""
    if len(teachers) != 1:
        raise UsageError(f"this objective has one teacher, got {len(teachers)}. Name one: align.teacher.")
    groups = [g for b in bundles for g in b[1:]]
    values = iter(_logps(teachers[0], groups, lambda d, t: tell("asking the teacher", d, t)) if groups else [])
    return [(b[0], *(replace(g, scores=(next(values),)) for g in b[1:])) for b in bundles]


def _read(example: Example, teacher: Loaded) -> Group | None:
    try:
        return group_of(example.with_responses(example.responses[:1]), teacher.tokenizer, max_length=teacher.max_length)
    except DataError:
        return None


def _logps(teacher: Loaded, groups: Sequence[Group], tell: Callable[[int, int], None]) -> list[float]:
    """Summed log-prob (nats) of the one response of each group."""
    found: list[float] = []
    for start in range(0, len(groups), CHUNK):
        part = groups[start : start + CHUNK]
        with torch.no_grad():
            found += token_logps(teacher.model, part).logp().double().tolist()
        tell(start + len(part), len(groups))
    return found
