"""Small pieces for drawing: escaped elements, linear axes with round ticks, figures with a title and a description.

Colours and weights live in page.css under the class names used here, so one drawing serves light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element with everything escaped: `tag("text", "a<b", x=3, class_="soft", text_anchor="end")`."""
    written = "".join(f' {_name(k)}="{escape(_value(v))}"' for k, v in attributes.items() if v is not None)
    inner = "".join(str(escape(c)) for c in children)
    return Markup(f"<{name}{written}>{inner}</{name}>" if children else f"<{name}{written}/>")


def _name(key: str) -> str:
    return key if key == "viewBox" else key.rstrip("_").replace("_", "-")


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def figure(name: str, width: float, height: float, title: str, desc: str, *children: object) -> Markup:
    """An accessible svg. `name` must be unique in the page; it becomes the ids that the labels point to."""
    return tag(
        "svg",
        tag("title", title, id=f"{name}-t"),
        tag("desc", desc, id=f"{name}-d"),
        *children,
        viewBox=f"0 0 {_value(float(width))} {_value(float(height))}",
        width=float(width),
        height=float(height),
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
    )


def group(*children: object, class_: str | None = None) -> Markup:
    return tag("g", *(children or ("",)), class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def text(x: float, y: float, words: object, class_: str = "", anchor: str = "start") -> Markup:
    return tag(
        "text", words, x=float(x), y=float(y), class_=class_ or None, text_anchor=None if anchor == "start" else anchor
    )


def dot(x: float, y: float, class_: str, r: float = 4.5) -> Markup:
    return tag("circle", cx=float(x), cy=float(y), r=float(r), class_=class_)


def trace(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A polyline through points in drawing units."""
    return tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


@dataclass(frozen=True)
class Axis:
    """A linear scale from data `low..high` to drawing units `start..end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + min(max(share, -0.02), 1.02) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        step = nice_step((self.high - self.low) / max(about, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]

    def decimals(self, about: int = 5) -> int:
        """Decimals that tell neighbouring ticks apart."""
        step = nice_step((self.high - self.low) / max(about, 1))
        return min(8, max(0, -math.floor(math.log10(step) + 1e-9)))


def nice_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten at or above `rough`."""
    if not math.isfinite(rough) or rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def limits(values: Sequence[float], zero: bool = False, room: float = 0.05) -> tuple[float, float]:
    """Round ends that hold all finite values, with some room that never crosses 0; `zero` makes 0 one of the values."""
    known = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = (low - 1, high + 1) if not zero else (low, high + 1)
    step = nice_step((high - low) / 10)
    padded = low - room * (high - low), high + room * (high - low)
    below = 0.0 if padded[0] < 0 <= low else padded[0]
    above = 0.0 if high <= 0 < padded[1] else padded[1]
    return math.floor(below / step) * step, math.ceil(above / step) * step
