"""How the answer is laid out: lists, highlights, sections, JSON, a title, one of fixed answers."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import Field

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards import _text
from theodolite.rewards.constraints._relation import IFEVAL, Count, Several


class NumberBulletLists(Config):
    num_bullets: Count
    """Exactly so many bullet points."""


@register(
    "constraint", "detectable_format:number_bullet_lists", family="format", source=IFEVAL, config=NumberBulletLists
)
def number_bullet_lists(text: str, cfg: NumberBulletLists) -> bool:
    """Exactly n markdown bullets: lines that begin with `* ` or `- `.

    Differs: the official scorer also counts rules (---), lines that begin with *emphasis* and negative numbers;
    markdown and we want a space after the mark.
    """
    return len(_text.bullets(text)) == cfg.num_bullets


ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


class ConstrainedResponse(Config):
    pass


@register(
    "constraint", "detectable_format:constrained_response", family="format", source=IFEVAL, config=ConstrainedResponse
)
def constrained_response(text: str, cfg: ConstrainedResponse) -> bool:
    """One of 'My answer is yes.', 'My answer is no.', 'My answer is maybe.' stands in the response.

    Differs: two of them at once is no answer and fails; the official scorer accepts it.
    """
    return sum(answer in text for answer in ANSWERS) == 1


class NumberHighlightedSections(Config):
    num_highlights: Count
    """At least so many."""


@register(
    "constraint",
    "detectable_format:number_highlighted_sections",
    family="format",
    source=IFEVAL,
    config=NumberHighlightedSections,
)
def number_highlighted_sections(text: str, cfg: NumberHighlightedSections) -> bool:
    """At least n spans *like this*, **this** or ***this***, each on one line.

    Differs: the official scorer counts ***x*** twice and takes the stars of a bullet or a product for a pair; we
    count each span once and want no space inside its stars.
    """
    spans = re.findall(r"(?<!\*)(\*{1,3})(?=[^\s*])[^*\n]*(?<=\S)\1(?!\*)", text)
    return len(spans) >= cfg.num_highlights


class MultipleSections(Config):
    section_spliter: Annotated[str, Field(min_length=1)]
    """The word before each section's number, such as 'Section'; case matters. (The spelling is IFEval's.)"""
    num_sections: Several
    """At least so many."""


@register("constraint", "detectable_format:multiple_sections", family="format", source=IFEVAL, config=MultipleSections)
def multiple_sections(text: str, cfg: MultipleSections) -> bool:
    """At least n sections, each begun by a line 'Section 1', 'Section 2'...

    Differs: the official scorer counts every mention, also in running text; we count different numbers at the
    beginning of lines, marks such as # and ** before them allowed.
    """
    mark = re.escape(cfg.section_spliter.strip())
    return len(set(re.findall(rf"^[\W_]*{mark}\s?(\d+)", text, re.MULTILINE))) >= cfg.num_sections


class JsonFormat(Config):
    pass


@register("constraint", "detectable_format:json_format", family="format", source=IFEVAL, config=JsonFormat)
def json_format(text: str, cfg: JsonFormat) -> bool:
    """The whole response is a JSON object or array, a markdown fence around it allowed.

    Differs: the official scorer accepts any JSON value, so any quoted sentence or bare number, and NaN.
    """
    inside = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE).strip()
    try:
        return isinstance(json.loads(inside, parse_constant=_not_json), dict | list)
    except (ValueError, RecursionError):
        return False


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


class Title(Config):
    pass


@register("constraint", "detectable_format:title", family="format", source=IFEVAL, config=Title)
def title(text: str, cfg: Title) -> bool:
    """A title in double angular brackets, such as <<poem of joy>>, on one line."""
    return any(t.strip("<> \t") for t in re.findall(r"<<[^\n]+>>", text))


class NumberedList(Config):
    num_items: Several
    """Exactly so many items."""


@register(
    "constraint",
    "theodolite:numbered_list",
    family="format",
    source="ours: as bullets, with the order checked",
    config=NumberedList,
)
def numbered_list(text: str, cfg: NumberedList) -> bool:
    """A list numbered 1. to n. (or 1) to n)), in order, and no other numbered line."""
    numbers = re.findall(r"^[ \t]*(\d+)[.)][ \t]+\S", text, re.MULTILINE)
    return [int(n) for n in numbers] == list(range(1, cfg.num_items + 1))
