"""Natural Stories: do people slow down where the model is surprised?"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from theodolite.measures.call import evaluate
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class ReadingTime(Protocol):
    data: str = "$THEODOLITE_SHARED/data/cognition"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 10
    """stories to read, of ten"""


@register(
    "survey",
    "reading_time",
    source="Natural Stories (Futrell et al. 2021); surprisal theory; protocol as in arXiv:2312.00575 section 4",
    config=ReadingTime,
    question="Do people read more slowly where the model is surprised?",
    measures=("reading_time_slope",),
    data="Natural Stories: 10 stories, mean self-paced reading times of about 80 readers a word",
    not_measured="what readers understood",
    taxonomy=(),
)
def reading_time(subject: Subject, cfg: ReadingTime, rng: np.random.Generator) -> list[Reading]:
    """Surprisal of every word given its story so far, in bits, against the mean reading time of the word.

    The slope is in ms a bit, with word length and the previous word's surprisal held constant.
    """
    folder = locate(cfg.data)
    stories, times = _stories(folder), _times(folder)
    numbers = sorted(stories)[: cfg.limit]
    found = subject.surprisals([[w for w, _ in stories[n]] for n in numbers], what="natural stories")
    columns: dict[str, list[float | str]] = defaultdict(list)
    for number, bits in zip(numbers, found, strict=True):
        for i, (word, zone) in enumerate(stories[number]):
            if i == 0 or (number, zone) not in times:
                continue
            columns["surprisal"].append(float(bits[i]))
            columns["previous_surprisal"].append(float(bits[i - 1]))
            columns["reading_time"].append(times[number, zone])
            columns["word_length"].append(float(len(word)))
            columns["story"].append(str(number))
    return [evaluate("reading_time_slope", dict(columns), seed=subject.seed, level=cfg.level)]


def _stories(folder: Path) -> dict[int, list[tuple[str, int]]]:
    """story -> (word, zone) in order."""
    made: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for row in _rows(folder / "naturalstories_all_stories.tok.tsv"):
        made[int(row["item"])].append((row["word"], int(row["zone"])))
    return dict(made)


def _times(folder: Path) -> dict[tuple[int, int], float]:
    rows = _rows(folder / "naturalstories_wordinfo_rt.tsv")
    return {(int(r["item"]), int(r["zone"])): float(r["meanItemRT"]) for r in rows}


def _rows(path: Path) -> list[dict[str, str]]:
    with locate(str(path)).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
