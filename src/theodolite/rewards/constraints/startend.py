"""How the answer begins and ends."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards import _text
from theodolite.rewards.constraints._relation import IFEVAL

Phrase = Annotated[str, Field(min_length=1)]


class EndChecker(Config):
    end_phrase: Phrase
    """The last words, in any case."""


@register("constraint", "startend:end_checker", family="startend", source=IFEVAL, config=EndChecker)
def end_checker(text: str, cfg: EndChecker) -> bool:
    """Ends with the phrase, in any case; a closing quotation mark after it is allowed."""
    return text.strip().strip('"').rstrip().lower().endswith(cfg.end_phrase.strip().lower())


class Quotation(Config):
    pass


@register("constraint", "startend:quotation", family="startend", source=IFEVAL, config=Quotation)
def quotation(text: str, cfg: Quotation) -> bool:
    """Wrapped in straight double quotation marks. Differs: there must be something inside."""
    text = text.strip()
    return text.startswith('"') and text.endswith('"') and bool(text[1:-1].strip(' \t\n"'))


class StartsWith(Config):
    phrase: Phrase
    """The first words, in any case."""


@register(
    "constraint",
    "theodolite:starts_with",
    family="startend",
    source="ours: the mirror of IFEval's end_checker",
    config=StartsWith,
)
def starts_with(text: str, cfg: StartsWith) -> bool:
    """Begins with the phrase, whole words, in any case; an opening quotation mark or emphasis is skipped."""
    text, phrase = _text.bare(text).casefold(), cfg.phrase.strip().casefold()
    rest = text[len(phrase) :]
    return text.startswith(phrase) and not (phrase[-1].isalnum() and rest[:1].isalnum())


class EndsWithPunctuation(Config):
    mark: Literal[".", "!", "?"]
    """The last character."""


@register(
    "constraint",
    "theodolite:ends_with_punctuation",
    family="startend",
    source="ours: one character decides, so small models can learn it",
    config=EndsWithPunctuation,
)
def ends_with_punctuation(text: str, cfg: EndsWithPunctuation) -> bool:
    """Ends with the mark; quotation marks and emphasis after it are skipped, and an ellipsis is no full stop."""
    text = _text.bare(text)
    return text.endswith(cfg.mark) and not text.endswith("..")
