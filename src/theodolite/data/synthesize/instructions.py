"""Prompts whose instructions a program can verify, composed from written topics and constraints.

A prompt is a request about a topic followed by one to three constraints in plain words:

    How do I make fluffy pancakes? Write without commas. Use at most 30 words.

The topics file fixes which topics are for training and which are held out; a topic stands in one split only.
Idea: IFEval (arXiv:2311.07911) for the constraints; topics, wording and composition are ours.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import resources
from random import Random
from typing import Any

from theodolite.data.synthesize.kinds import DRAWS, Topic, kinds, wordings
from theodolite.errors import UsageError, did_you_mean
from theodolite.rewards.conflicts import fit_together, table
from theodolite.types import Example

SPLITS = ("train", "held_out")
_TRIES = 30


@functools.cache
def all_topics() -> tuple[Topic, ...]:
    text = resources.files(__package__).joinpath("topics.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)
    rows = [{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()} for row in json.loads(text)]
    return tuple(Topic(**row) for row in rows)


def topics(chosen: str | Sequence[str]) -> tuple[Topic, ...]:
    """The topics of a split ('train' or 'held_out'), or those named in a list."""
    if isinstance(chosen, str):
        if chosen not in SPLITS:
            hint = did_you_mean(chosen, SPLITS)
            raise UsageError(f"no split of the topics is called '{chosen}'.{hint} There are: {', '.join(SPLITS)}.")
        return tuple(t for t in all_topics() if t.split == chosen)
    named = {t.topic: t for t in all_topics()}
    for name in chosen:
        if name not in named:
            raise UsageError(
                f"no topic is called '{name}'.{did_you_mean(name, named)} There are {len(named)} in topics.json."
            )
    if not chosen:
        raise UsageError("the list of topics is empty; name at least one, or a split: 'train' or 'held_out'.")
    return tuple(named[name] for name in dict.fromkeys(chosen))


def build(
    n: int,
    *,
    seed: int,
    topics: str | Sequence[str] = "train",
    constraints: str | Sequence[str] = "easy",
    min_constraints: int = 1,
    max_constraints: int = 3,
) -> list[Example]:
    """`n` prompts, each a different pair of request and set of constraint kinds; the same seed gives the same list.

    topics: a split or a list of topic names. constraints: a preset or a list of ids. Topics are used evenly, and
    so are kinds as far as conflicts allow. The number of constraints of a prompt is uniform between the bounds.
    Each Example has an id made of its text, and meta {'topic', 'split', 'constraints': [{'id', 'kwargs'}, ...]}.
    Raises UsageError when more prompts are asked for than there are pairs.
    """
    chosen, ids = _topics(topics), kinds(constraints)
    if n < 0:
        raise UsageError(f"n is the number of prompts and cannot be negative; got {n}.")
    if not 1 <= min_constraints <= max_constraints:
        raise UsageError(
            f"1 <= min_constraints <= max_constraints must hold; got {min_constraints} and {max_constraints}."
        )
    requests = [(t, r) for t in chosen for r in t.requests]
    combos = {k: found for k in range(min_constraints, max_constraints + 1) if (found := combinations(ids, k))}
    room = len(requests) * sum(map(len, combos.values()))
    if n > room:
        raise UsageError(
            f"{n} different prompts were asked for, but {len(requests)} requests and {len(ids)} kinds of constraint "
            f"make only {room}. Ask for fewer, or allow more topics, kinds or constraints in a prompt."
        )
    g = Random(f"theodolite instructions {seed}")
    pairs = itertools.islice(_pairs(g, chosen, requests, combos), n)
    return [compose(g, topic, request, combo) for topic, request, combo in pairs]


_topics = topics


@functools.lru_cache(maxsize=64)
def combinations(ids: tuple[str, ...], size: int) -> tuple[tuple[str, ...], ...]:
    """All sets of `size` kinds among `ids` of which no two conflict."""
    if size == 1:
        return tuple((i,) for i in ids)
    conflicts = table()
    return tuple(
        (*small, last)
        for small in combinations(ids, size - 1)
        for last in ids
        if last > small[-1] and not any(last in conflicts[i] for i in small)
    )


def compose(g: Random, topic: Topic, request: str, ids: Sequence[str]) -> Example:
    """One Example: the request and, in random order and wording, a constraint of each kind."""
    if not fit_together(ids):
        raise UsageError(f"these kinds of constraint cannot stand in one prompt: {', '.join(ids)}.")
    ordered = g.sample(list(ids), len(ids))
    constraints: list[dict[str, Any]] = [{"id": i, "kwargs": DRAWS[i](g, topic, request)} for i in ordered]
    text = " ".join([request, *(g.choice(wordings(c["id"], c["kwargs"])) for c in constraints)])
    digest = hashlib.sha256(json.dumps([text, constraints], sort_keys=True).encode()).hexdigest()[:10]
    return Example.of(text, id=f"{topic.split}-{digest}", topic=topic.topic, split=topic.split, constraints=constraints)


def _pairs(
    g: Random, chosen: Sequence[Topic], requests: Sequence[tuple[Topic, str]], combos: dict[int, Any]
) -> Iterator[tuple[Topic, str, tuple[str, ...]]]:
    """All pairs of request and combination, each once, in a random order that uses topics and kinds evenly."""
    used: set[tuple[str, tuple[str, ...]]] = set()
    counts: Counter[str] = Counter()
    for topic in _rounds(g, chosen):
        request, combo = _fresh(g, topic, combos, used, counts) or _rest(g, requests, combos, used)
        used.add((request, combo))
        counts.update(combo)
        yield next(t for t, r in requests if r == request), request, combo


def _rounds(g: Random, chosen: Sequence[Topic]) -> Iterator[Topic]:
    while True:
        yield from g.sample(chosen, len(chosen))


def _fresh(
    g: Random, topic: Topic, combos: dict[int, Any], used: set[Any], counts: Counter[str]
) -> tuple[str, tuple[str, ...]] | None:
    """Of some random unused pairs on this topic with one size, the one whose kinds were used least."""
    options = combos[g.choice(list(combos))]
    drawn = [(g.choice(topic.requests), g.choice(options)) for _ in range(_TRIES)]
    free = [pair for pair in drawn if pair not in used]
    return min(free, key=lambda pair: sum(counts[i] for i in pair[1]), default=None)


def _rest(g: Random, requests: Sequence[tuple[Topic, str]], combos: dict[int, Any], used: set[Any]) -> tuple[str, Any]:
    left = [(r, c) for _, r in requests for options in combos.values() for c in options if (r, c) not in used]
    return g.choice(left)
