"""What two runs must have in common before their numbers may be compared, and the letter where they have not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from theodolite.data.results.results import Results
from theodolite.errors import DataError, UsageError, did_you_mean

KEYS: dict[str, str] = {
    "template": "the chat template, or how a conversation was rendered",
    "system": "the system prompt",
    "few_shot": "examples in the prompt",
    "prompt": "the text shown for an item",
    "task_version": "the version of the task",
    "backend": "the engine that answered",
    "precision": "the number format of the weights",
    "decoding": "how answers were drawn",
    "judge": "who judged",
    "reference": "the answers that were compared with",
    "options": "options of a survey",
}
"""what must be equal, and what each is"""
CORE = ("template", "backend", "decoding")
"""what every comparison should be able to check"""
SHOWN_BY = ("template", "system", "few_shot", "task_version", "prompt")
"""differences that change the shown text by themselves"""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference of protocol. metrics: the ones it concerns; empty for all."""

    key: str
    a: str
    b: str
    a_value: str
    b_value: str
    metrics: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" (for {', '.join(self.metrics)})" if self.metrics else ""
        return f"{self.key}: {self.a} has {_short(self.a_value)}, {self.b} has {_short(self.b_value)}{where}"


def mismatches(a: Results, b: Results, metrics: Sequence[str]) -> list[Mismatch]:
    """Every key whose value is known on both sides and differs."""
    found = [
        Mismatch(key, a.name, b.name, a.protocol[key], b.protocol[key])
        for key in _ordered(a.protocol.keys() & b.protocol.keys())
        if a.protocol[key] != b.protocol[key]
    ]
    by_values: dict[tuple[str, str, str], list[str]] = {}
    for metric in metrics:
        here, there = a.metrics[metric].protocol, b.metrics[metric].protocol
        for key in _ordered(here.keys() & there.keys()):
            if here[key] != there[key]:
                by_values.setdefault((key, here[key], there[key]), []).append(metric)
    return found + [Mismatch(k, a.name, b.name, x, y, tuple(ms)) for (k, x, y), ms in by_values.items()]


def unrecorded(results: Sequence[Results], metrics: Mapping[str, Collection[str]]) -> list[str]:
    """Sentences on who does not record template, backend or decoding, which then nobody can check.

    metrics: name of a side -> the metrics of it that are compared.
    """
    by_keys: dict[tuple[str, ...], list[str]] = {}
    for r in results:
        own = [r.metrics[m].protocol for m in metrics[r.name]]
        keys = tuple(k for k in CORE if k not in r.protocol and not (own and all(k in p for p in own)))
        if keys and own:
            by_keys.setdefault(keys, []).append(r.name)
    return [
        f"{'No side records' if len(names) == len(results) else 'Not recorded by ' + ' and '.join(names) + ':'} "
        f"{', '.join(keys)}, so it cannot be checked that the sides agree in {'it' if len(keys) == 1 else 'them'}"
        for keys, names in by_keys.items()
    ]


def check_despite(despite: Iterable[str], results: Sequence[Results]) -> tuple[str, ...]:
    """The keys named by the user, all of them known."""
    recorded = {k for r in results for k in r.protocol} | {
        k for r in results for c in r.metrics.values() for k in c.protocol
    }
    known = _ordered({*KEYS, *recorded})
    for key in despite:
        if key not in known:
            raise UsageError(f"no part of a protocol is called '{key}'.{did_you_mean(key, known)} {_takes(known)}")
    return tuple(dict.fromkeys(despite))


def refuse(found: Sequence[Mismatch], despite: Sequence[str]) -> None:
    """A letter that names every difference the user has not accepted."""
    open_ = [m for m in found if m.key not in despite]
    if not open_:
        return
    keys = list(dict.fromkeys(m.key for m in open_))
    lines = "\n".join(f"  {m}" for m in open_)
    go_on = " ".join(f"--despite {k}" for k in keys)
    raise DataError(
        f"these runs were made under different protocols, so a difference of numbers may be one of protocol:\n{lines}\n"
        f"Run them alike. To compare them all the same, add {go_on}; the report will say so."
    )


def _ordered(keys: Iterable[str]) -> list[str]:
    order = {k: i for i, k in enumerate(KEYS)}
    return sorted(keys, key=lambda k: (order.get(k, len(order)), k))


def _takes(known: Sequence[str]) -> str:
    return f"It takes: {', '.join(known)}."


def _short(value: str) -> str:
    return f"'{value}'" if len(value) <= 90 else f"'{value[:80]}…' ({len(value)} characters)"
