"""What must stand in the answer: placeholders, a postscript, numbers, a question."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards import _text
from theodolite.rewards.constraints._relation import IFEVAL, Several


class NumberPlaceholders(Config):
    num_placeholders: Several
    """At least so many."""


@register(
    "constraint", "detectable_content:number_placeholders", family="content", source=IFEVAL, config=NumberPlaceholders
)
def number_placeholders(text: str, cfg: NumberPlaceholders) -> bool:
    """At least n placeholders in square brackets, such as [address]. Differs: empty brackets do not count."""
    return len(re.findall(r"\[[^\]\n]*\w[^\]\n]*\]", text)) >= cfg.num_placeholders


class Postscript(Config):
    postscript_marker: Annotated[str, Field(min_length=1)]
    """What the postscript begins with, such as 'P.S.' or 'P.P.S'."""


@register("constraint", "detectable_content:postscript", family="content", source=IFEVAL, config=Postscript)
def postscript(text: str, cfg: Postscript) -> bool:
    """A postscript that begins with the marker, in any case; 'P. S.' with a space counts.

    Differs: the marker must not be the end of another word or of a longer marker, and words must follow it; the
    official scorer takes a bare marker and reads others than P.S. and P.P.S as regular expressions.
    """
    pieces = re.split(r"(?<=\.)\s*", cfg.postscript_marker.strip())
    marker = r"\s?".join(re.escape(piece) for piece in pieces if piece)
    return re.search(rf"(?<![\w.]){marker}[\W_]*\w", text, re.IGNORECASE) is not None


class ContainsNumber(Config):
    at_least: Several = 1
    """How many numbers."""


@register(
    "constraint",
    "theodolite:contains_number",
    family="content",
    source="ours: asks for a figure",
    config=ContainsNumber,
)
def contains_number(text: str, cfg: ContainsNumber) -> bool:
    """At least n numbers written in digits; those that only count list items are left out."""
    return len(re.findall(r"\d+(?:[.,:]\d+)*", _text.without_list_marks(text))) >= cfg.at_least


class NoDigits(Config):
    pass


@register(
    "constraint",
    "theodolite:no_digits",
    family="content",
    source="ours: the opposite of contains_number",
    config=NoDigits,
)
def no_digits(text: str, cfg: NoDigits) -> bool:
    """No digit of any script appears."""
    return not re.search(r"\d", text)


class ContainsQuestion(Config):
    pass


@register(
    "constraint",
    "theodolite:contains_question",
    family="content",
    source="ours: an answer that asks back",
    config=ContainsQuestion,
)
def contains_question(text: str, cfg: ContainsQuestion) -> bool:
    """At least one sentence ends in a question mark."""
    return any(_text.bare(s).endswith(("?", "？", "؟")) for s in _text.sentences(text))
