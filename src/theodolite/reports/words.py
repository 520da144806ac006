"""Numbers, intervals, durations and names as a reader wants them. Plain spaces here; the page makes them thin.

Decimals follow the uncertainty: a half-width of 8 points shows none, one of 0.03 nats shows two. Shares are shown
as percentages and their differences as points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from theodolite.types import Reading

LABELS: dict[str, str] = {
    "pass_rate": "Pass rate on held-out instructions",
    "pass_rate_loose": "Pass rate, lenient reading",
    "constraint_rate": "Constraints met",
    "reward_accuracy": "Reward accuracy on held-out pairs",
    "kl": "KL from the model before, a response",
    "kl.per_token": "KL from the model before, a token",
    "length": "Answer length",
    "truncated": "Answers cut off at the length limit",
    "best_of_n": "Best-of-n sampling of the model before",
    "aqi": "Alignment Quality Index",
    "ece": "Calibration error (ECE)",
    "element_alignment": "Mean P(yes) by summary",
    "ifeval.prompt_strict": "Prompts met, strictly",
    "ifeval.prompt_loose": "Prompts met, leniently",
    "ifeval.instruction_strict": "Instructions met, strictly",
    "consistency_correlation": "Correlation with human scores",
    "factor_agreement": "Agreement of factor scores",
    "reading_time_slope": "Reading time a bit of surprisal",
    "rps_payoff": "Rock-paper-scissors, payoff",
    "dictator_rationality": "Dictator game, best choice",
    "ring_rationality": "Ring network, best action",
    "truthfulqa_mc1": "TruthfulQA MC1",
    "truthfulqa_mc2": "TruthfulQA MC2",
    "turing_rsa": "Turing RSA, group level",
    "preferences": "Preferred answer likelier",
    "knowledge": "Answers with the right fact",
    "ethics": "Everyday wrongs found wrong",
}
"""Names of readings in words, without `.before`, `.after`, `.difference`."""

SIDES = ("before", "after", "difference")


def split(name: str) -> tuple[str, str]:
    """`pass_rate.before` -> ('pass_rate', 'before'); a name without a side has side ''."""
    base, _, side = name.rpartition(".")
    return (base, side) if base and side in SIDES else (name, "")


def label(name: str) -> str:
    """The reading's name in words: `toxicity_max.after` -> 'Toxicity max'."""
    base, _ = split(name)
    said = LABELS.get(base) or base.replace("_", " ").replace(".", ", ")
    return said[:1].upper() + said[1:]


def rule(name: str) -> str:
    """A constraint's id in words: `punctuation:no_comma#0` is 'no comma'."""
    return name.split(":")[-1].split("#")[0].replace("_", " ")


def factor(unit: str) -> float:
    return 100.0 if unit == "share" else 1.0


def suffix(unit: str, difference: bool = False) -> str:
    """What follows the number: ' %', ' points', ' tokens' or nothing."""
    if unit == "share":
        return " points" if difference else " %"
    return f" {unit}" if unit else ""


def places(value: float, low: float = math.nan, high: float = math.nan) -> int:
    """Decimals worth showing: the last one is worth a tenth to a half of the half-width; three digits without an interval."""
    half = (high - low) / 2
    if math.isfinite(half) and half > 0:
        return min(3, max(0, math.ceil(-math.log10(half / 2))))
    if not math.isfinite(value) or value == 0 or value == round(value):
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def number(value: float | None, decimals: int = 0, signed: bool = False) -> str:
    """`-1234.5` -> '−1,234.5' with a true minus; 'undefined' for NaN; never '−0'."""
    if value is None or math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{abs(value):,.{decimals}f}"
    zero = not text.strip("0.,")
    sign = "" if zero else "−" if value < 0 else "+" if signed else ""
    return sign + text


def digits(reading: Reading) -> int:
    """Decimals for a reading in the unit it is shown in."""
    f = factor(reading.unit)
    return places(reading.value * f, reading.low * f, reading.high * f)


def agreeing(before: Reading | None, after: Reading | None, difference: Reading | None) -> int:
    """Decimals for three readings shown together; one more where rounding would make 20 -> 45 a change of +24."""
    known = [r for r in (difference, after, before) if r is not None and not math.isnan(r.value)]
    d = digits(known[0]) if known else 0
    if len(known) < 3 or before is None or after is None or difference is None:
        return d
    f = factor(difference.unit)
    gap = round(after.value * f, d) - round(before.value * f, d) - round(difference.value * f, d)
    return d + 1 if abs(gap) > 0.5 * 10**-d else d


def amount(reading: Reading, decimals: int | None = None) -> str:
    """Value with its unit: '44 %', '+24 points', '6.2 nats'."""
    difference = split(reading.name)[1] == "difference"
    if math.isnan(reading.value):
        return "undefined"
    d = digits(reading) if decimals is None else decimals
    return number(reading.value * factor(reading.unit), d, difference) + suffix(reading.unit, difference)


def span(reading: Reading, decimals: int | None = None) -> str:
    """The interval's bounds without unit: '15 to 33', or '' where there is none."""
    if math.isnan(reading.low) or math.isnan(reading.high):
        return ""
    f, d = factor(reading.unit), digits(reading) if decimals is None else decimals
    return f"{number(reading.low * f, d)} to {number(reading.high * f, d)}"


def percent(share: float, decimals: int = 0) -> str:
    return number(100 * share, decimals) + " %"


def p_text(p: float | None) -> str:
    """'p < 0.001', 'p = 0.023', or '' where no test was made."""
    if p is None or math.isnan(p):
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def level_text(level: float) -> str:
    return f"{100 * level:g} %"


def duration(seconds: Any) -> str:
    """'0.4 s', '38 s', '4 min 12 s', '2 h 05 min'; '' where unknown."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(iso: Any) -> str:
    """'2025-11-21T21:59:03+00:00' -> '21 November 2025, 21:59 UTC'; anything else as it stands."""
    try:
        when = datetime.fromisoformat(str(iso))
    except ValueError:
        return str(iso or "")
    zone = f" {when.tzname()}" if when.tzinfo else ""
    return f"{when.day} {when:%B %Y, %H:%M}{zone}"


def plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def compact(count: Any) -> str:
    """A large count: 134515008 -> '134.5 million'."""
    if not isinstance(count, int | float):
        return str(count or "")
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if count >= size:
            return f"{count / size:.1f} {word}"
    return f"{count:,.0f}"


def settings(step: Mapping[str, Any], skip: tuple[str, ...] = ("step", "name")) -> list[tuple[str, str]]:
    """A recipe step as flat (key, value) pairs in reading order; unset options are left out."""
    found: list[tuple[str, str]] = []

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if path or key not in skip:
                    walk(inner, f"{path}.{key}" if path else str(key))
        elif isinstance(value, list | tuple) and not any(isinstance(v, Mapping | list | tuple) for v in value):
            if value:
                found.append((path, ", ".join(_plain(v) for v in value)))
        elif isinstance(value, list | tuple):
            for i, inner in enumerate(value, 1):
                walk(inner, f"{path}.{i}")
        elif value is not None and value != "":
            found.append((path, _plain(value)))

    walk(step, "")
    return found


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
