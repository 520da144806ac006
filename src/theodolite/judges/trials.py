"""What judges are tried on: pairs or answers with a human label, from the sets that measure judges or from a file."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from theodolite.data.reading import read
from theodolite.errors import DataError, UsageError
from theodolite.judges.verdict import SWAPPED, Answer, Comparison, Winner
from theodolite.types import Example

SETS: dict[str, dict[str, str]] = {
    "llmbar": {s: f"llmbar_{s}.json" for s in ("natural", "neighbor", "gptinst", "gptout")},
    "pandalm": {"": "pandalm_testset_v1.json"},
    "judgebench": {"": "judgebench_gpt4o.jsonl.gz"},
}
"""name -> subset -> file in the folder of preference data"""
_VOTES: dict[int, Winner] = {0: "tie", 1: "A", 2: "B"}


@dataclass(frozen=True, slots=True)
class PairTrial:
    """A pair and whom people prefer. votes: each annotator's, where the data has them."""

    item: Comparison
    human: Winner
    subset: str = ""
    votes: tuple[Winner, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerTrial:
    """An answer and whether people find it good."""

    item: Answer
    human: bool
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Trials:
    """source: what was read. note: what was done to it. left_out: examples without a usable label, by reason."""

    source: str
    pairs: tuple[PairTrial, ...] = ()
    answers: tuple[AnswerTrial, ...] = ()
    note: str = ""
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def subsets(self) -> list[str]:
        return list(dict.fromkeys([t.subset for t in self.pairs] + [t.subset for t in self.answers]))


def read_trials(
    data: str, *, limit: int | None = None, seed: int = 0, folder: Path | None = None, format: str = "auto"
) -> Trials:
    """The trials of a named set, of one of its subsets (`llmbar/natural`), or of a file.

    limit: this many of each subset, drawn by `seed`. folder: where the named sets lie; by default `data/preference`
    in the folder that THEODOLITE_SHARED names, which is ../shared where it is not set.

    A file may hold pairs or rankings with scores, or single answers with labels (readers: `theodolite list reader`).
    Where a format puts the better answer first, half of the pairs are turned round, so that 'A' is no giveaway.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit}. Leave it out to judge everything.")
    name, _, part = data.partition("/")
    if name in SETS and not Path(data).exists():
        return _named(name, part, limit, seed, folder or default_folder())
    if not Path(data).is_file():
        raise DataError(f"there is no file {data}, and no set is called that. Sets: {', '.join(SETS)}, llmbar/natural.")
    return _from_file(data, limit, seed, format)


def default_folder() -> Path:
    return Path(os.environ.get("THEODOLITE_SHARED", "../shared")) / "data" / "preference"


def _named(name: str, part: str, limit: int | None, seed: int, folder: Path) -> Trials:
    files = SETS[name]
    if part and part not in files:
        raise UsageError(f"{name} has no subset '{part}'. It has: {', '.join(s for s in files if s) or 'none'}.")
    pairs: list[PairTrial] = []
    left: Counter[str] = Counter()
    for subset, file in files.items():
        if part in ("", subset):
            if not (folder / file).is_file():
                raise DataError(
                    f"{name} is looked for in {folder}, and {file} is not there. Set THEODOLITE_SHARED to the folder "
                    f"that has data/preference/{file}, or give a file of your own to --data."
                )
            found = read(folder / file, format=name)
            left.update(row.reason for row in found.bad)
            pairs += [_pair(e, subset or name) for e in _drawn(found.examples, limit, seed)]
    return Trials(f"{name}/{part}" if part else name, tuple(pairs), left_out=dict(left))


def _pair(e: Example, subset: str) -> PairTrial:
    a, b = e.responses
    item = Comparison(e.prompt, a.text, b.text, f"{subset}:{e.id}", references_of(e), str(e.meta.get("scenario", "")))
    human = _human(a.score, b.score)
    assert human is not None, "these readers always give scores"
    return PairTrial(item, human, subset, votes_of(e))


def _from_file(data: str, limit: int | None, seed: int, format: str) -> Trials:
    found = read(data, format=format)
    subset = Path(data).name.split(".")[0]
    pairs: list[PairTrial] = []
    answers: list[AnswerTrial] = []
    left = Counter(row.reason for row in found.bad)
    for e in _drawn(found.examples, limit, seed):
        here = str(e.meta.get("subset", subset))
        scenario = str(e.meta.get("scenario", ""))
        labelled = [r for r in e.responses if r.label is not None]
        made = _pairs_of(e, here)
        pairs += made
        if not made:
            answers += [
                AnswerTrial(Answer(e.prompt, r.text, f"{e.id}:{i}", references_of(e), scenario), bool(r.label), here)
                for i, r in enumerate(labelled)
            ]
        if not made and not labelled:
            left["no label or score that tells the better"] += 1
    if not pairs and not answers:
        raise DataError(
            f"{data}: none of its {len(found.examples)} examples has a human label: two answers with different scores, "
            "or answers with true or false."
        )
    if pairs and answers:
        raise DataError(f"{data} mixes pairs and labelled answers. Judge them as two files.")
    note = ""
    if len(pairs) > 1 and len({p.human for p in pairs}) == 1 and pairs[0].human != "tie":
        pairs = [_turned(p) if _coin(seed, p.item.id) else p for p in pairs]
        note = "the better answer always stood first; about half of the pairs were turned round"
    return Trials(data, tuple(pairs), tuple(answers), note, dict(left))


def _pairs_of(e: Example, subset: str) -> list[PairTrial]:
    """Every two answers with scores, in the order given; equal scores of just two answers are a tie, else no pair."""
    scored = [(i, r) for i, r in enumerate(e.responses) if r.score is not None]
    made = []
    for (i, a), (j, b) in itertools.combinations(scored, 2):
        human = _human(a.score, b.score)
        if human is None or (human == "tie" and len(scored) > 2):
            continue
        name = e.id if len(scored) == 2 else f"{e.id}:{i}-{j}"
        item = Comparison(e.prompt, a.text, b.text, name, references_of(e), str(e.meta.get("scenario", "")))
        made.append(PairTrial(item, human, subset, votes_of(e) if len(scored) == 2 else ()))
    return made


def references_of(e: Example) -> tuple[str, ...]:
    """Known right answers of an example: meta['references'], ['reference'] or ['answers']."""
    for key in ("references", "reference", "answers"):
        found: Any = e.meta.get(key)
        if isinstance(found, str):
            return (found,)
        if isinstance(found, Sequence):
            return tuple(str(x) for x in found)
    return ()


def votes_of(e: Example) -> tuple[Winner, ...]:
    """Each annotator's choice, where meta['votes'] has them as 1, 2 or 0 for a tie (PandaLM)."""
    found = e.meta.get("votes")
    if not isinstance(found, list) or any(v not in _VOTES for v in found):
        return ()
    return tuple(_VOTES[v] for v in found)


def _human(a: float | None, b: float | None) -> Winner | None:
    if a is None or b is None:
        return None
    return "A" if a > b else "B" if b > a else "tie"


def _turned(p: PairTrial) -> PairTrial:
    votes = tuple(SWAPPED[v] for v in p.votes)
    return replace(p, item=p.item.swapped(), human=SWAPPED[p.human], votes=votes)


def _coin(seed: int, name: str) -> bool:
    return bool(hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=1).digest()[0] & 1)


def _drawn(examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    if limit is None or limit >= len(examples):
        return list(examples)
    keep = np.random.default_rng(seed).choice(len(examples), limit, replace=False)
    return [examples[i] for i in sorted(keep)]
