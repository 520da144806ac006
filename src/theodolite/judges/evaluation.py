"""Judges at work on trials: both orders, verdicts kept as they come, nothing asked twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from theodolite import registry
from theodolite.errors import ServerError, UsageError
from theodolite.judges.making import Means, as_pair_judge, build, reads_norms, settings
from theodolite.judges.orders import BothOrders
from theodolite.judges.records import VerdictFile, key_of
from theodolite.judges.rubric import scenarios
from theodolite.judges.trials import Trials
from theodolite.judges.verdict import Answer, Comparison, GradingJudge, Judge, Progress, Undecided, Verdict
from theodolite.judges.wording import asks

CHUNK = 32
"""requests after which verdicts are written down"""
Heard = Callable[[str, int, int], None]
"""heard(judge, done, total), in requests"""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A judge under trial. identity: all that shapes its verdicts; where it changes, verdicts are asked for anew.

    kind: the judge as `theodolite list judge` names it, where `name` tells one of several models that judge so.
    """

    name: str
    judge: Judge
    identity: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""

    @classmethod
    def of(
        cls, name: str, means: Means | None = None, *, apart: bool = False, known_as: str = "", **options: Any
    ) -> Entrant:
        """The registered judge `name`; `known_as` tells apart several models that judge in the same way."""
        uses_model = needs_model(name)
        identity: dict[str, Any] = {"judge": name, "options": settings(name, options).model_dump(mode="json")}
        if uses_model and means is not None:
            identity["model"] = means.name
        if reads_norms(name):
            given = means.rubric if means else None
            rubric = given.model_dump(mode="json") if given else None
            identity |= {"apart": apart, "rubric": rubric, "ours": _ours()}
        return cls(known_as or name, build(name, means, apart=apart, **options), identity, name)


@dataclass(frozen=True, slots=True)
class Judged:
    """pairs: judge -> one BothOrders a pair trial; answers: judge -> one Verdict an answer trial. middle: judge -> the
    grade from which an answer counts as good."""

    trials: Trials
    pairs: Mapping[str, Sequence[BothOrders]] = field(default_factory=dict)
    answers: Mapping[str, Sequence[Verdict]] = field(default_factory=dict)
    middle: Mapping[str, float] = field(default_factory=dict)


def needs_model(name: str) -> bool:
    """Must this judge be given a model or an endpoint?"""
    return bool(getattr(registry.get("judge", name).function, "needs_model", False))


def judge_trials(
    trials: Trials, entrants: Sequence[Entrant], verdicts: VerdictFile | None = None, heard: Heard | None = None
) -> Judged:
    """Every entrant's verdict on every trial. What `verdicts` has already is not asked for.

    Raises ServerError when a server is lost; verdicts given before are in `verdicts`.
    """
    store = verdicts or VerdictFile()
    names = [e.name for e in entrants]
    if twice := {n for n in names if names.count(n) > 1}:
        raise UsageError(f"the judge '{sorted(twice)[0]}' is named twice. Try its other settings in a second run.")
    if trials.answers:
        graded = {e.name: _graded(e, [t.item for t in trials.answers], store, heard) for e in entrants}
        middle = {e.name: e.judge.middle for e in entrants if isinstance(e.judge, GradingJudge)}
        return Judged(trials, answers=graded, middle=middle)
    return Judged(trials, {e.name: _compared(e, [t.item for t in trials.pairs], store, heard) for e in entrants})


def _compared(
    entrant: Entrant, items: Sequence[Comparison], store: VerdictFile, heard: Heard | None
) -> list[BothOrders]:
    judge = as_pair_judge(entrant.judge)
    _check_references(entrant, items)
    shown = [(i, "ab") for i in items]
    if judge.sees_order:  # the two orders of a pair stand side by side, so that a stopped run has whole pairs
        shown = [row for i in items for row in ((i, "ab"), (i.swapped(), "ba"))]
    told = _asked(entrant, shown, lambda some, p: judge.compare([i for i, _ in some], progress=p), store, heard)
    if not judge.sees_order:
        return [BothOrders(v, v) for v in told]
    return [BothOrders(a, b.swapped()) for a, b in zip(told[::2], told[1::2], strict=True)]


def _graded(entrant: Entrant, items: Sequence[Answer], store: VerdictFile, heard: Heard | None) -> list[Verdict]:
    judge = entrant.judge
    if not isinstance(judge, GradingJudge):
        raise UsageError(
            f"the judge '{entrant.name}' compares pairs, and the data are single answers. Judges of single answers: "
            f"{', '.join(e.name for e in registry.entries('judge') if e.protocol != 'pairwise')}."
        )
    _check_references(entrant, items)
    return _asked(
        entrant, [(i, "") for i in items], lambda some, p: judge.grade([i for i, _ in some], progress=p), store, heard
    )


Shown = Sequence[tuple[Any, str]]


def _asked(
    entrant: Entrant,
    shown: Shown,
    ask: Callable[[Shown, Progress], list[Verdict]],
    store: VerdictFile,
    heard: Heard | None,
) -> list[Verdict]:
    keys = [key_of(entrant.identity, item) for item, _ in shown]
    waiting = list({k: n for n, k in enumerate(keys) if k not in store}.values())
    total, before = len(shown), len(shown) - len(waiting)
    for start in range(0, len(waiting), CHUNK):
        numbers = waiting[start : start + CHUNK]
        at = before + start

        def progress(done: int, _: int, at: int = at) -> None:
            if heard is not None:
                heard(entrant.name, min(at + done, total), total)

        def keep(given: Mapping[int, Verdict], numbers: Sequence[int] = numbers) -> None:
            rows = [(numbers[i], v) for i, v in sorted(given.items())]
            store.add((keys[n], _facts(entrant, *shown[n]), v) for n, v in rows)

        try:
            keep(dict(enumerate(ask([shown[n] for n in numbers], progress))))
        except Undecided as stopped:
            keep(stopped.done)
            letter = _stopped(str(stopped), entrant.name, keys, store)
            raise (ServerError if isinstance(stopped, ServerError) else KeyboardInterrupt)(letter) from stopped
    return [store[k] for k in keys]


def _facts(entrant: Entrant, item: Comparison | Answer, order: str) -> dict[str, Any]:
    return {"judge": entrant.name, "item": item.id} | ({"order": order} if order else {})


def _stopped(letter: str, name: str, keys: Sequence[str], store: VerdictFile) -> str:
    have = sum(k in store for k in keys)
    kept = (
        f"are kept in {store.path}; the same command continues"
        if store.path
        else "are lost; with --out FILE they would be kept"
    )
    return f"{letter}\n{have} of {len(keys)} verdicts of '{name}' {kept}."


def _check_references(entrant: Entrant, items: Sequence[Comparison] | Sequence[Answer]) -> None:
    lexical = registry.get("judge", entrant.kind or entrant.name).protocol == "lexical"
    if lexical and not any(i.references for i in items):
        raise UsageError(
            f"the judge '{entrant.name}' compares with known right answers, and the data has none. Give them in a column "
            "'references' (a list) or 'reference'."
        )


def _ours() -> str:
    """A hash of our wording, norms and parser, so that verdicts by older ones are not taken for new ones."""
    parser = (resources.files("theodolite.judges") / "parse.py").read_text(encoding="utf-8")
    text = repr(sorted(asks().items())) + scenarios().model_dump_json() + parser
    return hashlib.sha256(text.encode()).hexdigest()[:16]
