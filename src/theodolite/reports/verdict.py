"""The headline: what changed, how sure we are, at what cost, in one honest sentence.

The interval of the paired difference decides. Where it contains 0 the verdict is 'no detectable change', whatever
the two rates look like; a drop is called a drop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from theodolite.reports import words
from theodolite.types import Reading

Kind = Literal["rose", "fell", "unclear", "unpaired", "measured", "none"]

MAIN = ("pass_rate", "pass_rate_loose", "constraint_rate", "reward_accuracy")
"""What a run is judged by, first found first; else the first difference that has a good direction."""


@dataclass(frozen=True)
class Verdict:
    """claim: the finding. evidence: size, interval, test. cost: what was paid in KL. length: what became of length.

    better: whether the change is for the good; None where nothing changed or no direction is good.
    about: base name of the readings it rests on. cautions: sentences that a reader must know beside it.
    """

    kind: Kind
    claim: str
    evidence: str = ""
    cost: str = ""
    length: str = ""
    better: bool | None = None
    about: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """All of it as plain text, for a terminal or a log."""
        first = self.claim + (f" ({self.evidence})" if self.evidence else "") + (f", {self.cost}" if self.cost else "")
        return first + "." + (f" {self.length}." if self.length else "")


def headline(readings: Iterable[Reading]) -> Verdict:
    """The verdict of a run's readings."""
    known = {r.name: r for r in readings}
    about = _subject(known)
    if not about:
        return _no_comparison(known)
    before, after, difference = (known.get(f"{about}.{side}") for side in words.SIDES)
    if difference is None or math.isnan(difference.value):
        return _unpaired(about, before, after, difference, known)
    return _compared(about, before, after, difference, known)


def detectable(difference: Reading) -> bool:
    """Whether the interval of the difference leaves out 0."""
    return difference.low > 0 or difference.high < 0


def _subject(known: dict[str, Reading]) -> str:
    bases = {words.split(n)[0]: None for n in known if words.split(n)[1]}
    differing = [b for b in bases if f"{b}.difference" in known and known[f"{b}.difference"].better != "neither"]
    both = [b for b in bases if f"{b}.before" in known and f"{b}.after" in known]
    return next((b for b in (*MAIN, *differing) if b in differing or b in both), "")


def _compared(
    about: str, before: Reading | None, after: Reading | None, difference: Reading, known: dict[str, Reading]
) -> Verdict:
    name, decimals = _lower(words.label(about)), words.agreeing(before, after, difference)
    two = _pair(before, after, decimals)
    kind: Kind = "unclear" if not detectable(difference) else "rose" if difference.low > 0 else "fell"
    good = (
        None
        if kind == "unclear" or difference.better == "neither"
        else (kind == "rose") == (difference.better == "higher")
    )
    if math.isnan(difference.low) or math.isnan(difference.high):
        claim = f"{_upper(name)} changed{' ' + two if two else ''}, but how sure this is was not computed"
    elif kind == "unclear":
        rates = (
            f": {words.amount(before, decimals)} before, {words.amount(after, decimals)} after"
            if before and after
            else ""
        )
        claim = f"No detectable change in {name}{rates}"
    else:
        claim = f"{_upper(name)} {kind}{' ' + two if two else ''}"
        claim += "" if difference.better != "lower" else ", an improvement" if good else ", which is worse"
    return Verdict(
        kind=kind,
        claim=claim,
        evidence=_evidence(difference, decimals),
        cost=_cost(known.get("kl")),
        length=_length(known),
        better=good,
        about=about,
        cautions=tuple(_cautions(before, after, difference)),
    )


def _pair(before: Reading | None, after: Reading | None, decimals: int) -> str:
    return f"from {words.amount(before, decimals)} to {words.amount(after, decimals)}" if before and after else ""


def _evidence(difference: Reading, decimals: int) -> str:
    span = words.span(difference, decimals)
    said = [
        words.amount(difference, decimals),
        f"{words.level_text(difference.level)} interval {span}" if span else "no interval",
    ]
    return ", ".join([*said, *filter(None, [words.p_text(difference.p_value)])])


def _cost(kl: Reading | None) -> str:
    if kl is None or math.isnan(kl.value):
        return ""
    return f"at a KL of {words.number(kl.value, words.digits(kl))} nats a response"


def _length(known: dict[str, Reading]) -> str:
    before, after, difference = (known.get(f"length.{side}") for side in words.SIDES)
    if before is None or after is None or math.isnan(before.value) or math.isnan(after.value):
        return ""
    unit = after.unit or "tokens"
    ends = f"{words.number(before.value)} to {words.number(after.value)} {unit}"
    if difference is None or math.isnan(difference.low) or math.isnan(difference.high):
        return f"Answers went from {ends}"
    if not detectable(difference):
        return f"Answer length shows no detectable change ({ends})"
    return f"Answers became {'longer' if difference.low > 0 else 'shorter'} ({ends})"


def _cautions(before: Reading | None, after: Reading | None, difference: Reading) -> Iterable[str]:
    if difference.p_value is not None and not math.isnan(difference.low) and difference.level == 0.95:
        if detectable(difference) and difference.p_value > 0.05:
            yield "The interval leaves out 0 but the test does not reach 5 %: read this as weak evidence."
        elif not detectable(difference) and difference.p_value < 0.05:
            yield "The test falls below 5 % but the interval contains 0: read this as weak evidence at most."
    for r in (before, after, difference):
        if r is not None and r.missing:
            why = "; ".join(f"{reason}: {count}" for reason, count in r.why.items())
            yield f"{r.name} leaves out {r.missing} of {r.n + r.missing} units" + (f" ({why})." if why else ".")
    if difference.note:
        yield f"About the difference: {difference.note}"


def _unpaired(
    about: str, before: Reading | None, after: Reading | None, difference: Reading | None, known: dict[str, Reading]
) -> Verdict:
    name = words.label(about)
    rates = [f"{words.amount(r)} {side}" for r, side in ((before, "before"), (after, "after")) if r is not None]
    reason = f": {difference.note}" if difference is not None and difference.note else ""
    claim = (
        f"{name}: {', '.join(rates)}, without a paired comparison{reason}"
        if rates
        else f"{name} could not be compared{reason}"
    )
    return Verdict("unpaired", claim, cost=_cost(known.get("kl")), length=_length(known), about=about)


def _no_comparison(known: dict[str, Reading]) -> Verdict:
    """One model only: its main number, without a word about change."""
    order = [f"{m}{side}" for m in MAIN for side in ("", ".before", ".after")]
    main = next((known[n] for n in order if n in known), next(iter(known.values()), None))
    if main is None:
        return Verdict("none", "Nothing was measured")
    span = words.span(main)
    evidence = (
        f"{words.level_text(main.level)} interval {span}, n = {main.n:,}"
        if span
        else f"n = {main.n:,}"
        if main.n
        else ""
    )
    base, side = words.split(main.name)
    claim = f"{words.label(base)} is {words.amount(main)}" + (f" {side} training" if side else "")
    return Verdict("measured", claim, evidence=evidence, about=base)


def _lower(text: str) -> str:
    """'Pass rate' -> 'pass rate', but 'KL ...' stays."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
