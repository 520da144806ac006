"""Which words and letters appear, and how often."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards.constraints._relation import IFEVAL, Count, Relation, holds

Word = Annotated[str, Field(min_length=1)]


class Existence(Config):
    keywords: Annotated[tuple[Word, ...], Field(min_length=1)]
    """All of these must appear."""


@register("constraint", "keywords:existence", family="keywords", source=IFEVAL, config=Existence)
def existence(text: str, cfg: Existence) -> bool:
    """Every keyword appears, in any case; inside a longer word counts, as in the official scorer.

    Differs: the official one reads a keyword as a regular expression; we take it literally ("C++", "U.S.").
    """
    return all(_occurrences(k, text) for k in cfg.keywords)


class Frequency(Config):
    keyword: Word
    """The word to count."""
    frequency: Count
    """The bound."""
    relation: Relation
    """'less than' or 'at least'."""


@register("constraint", "keywords:frequency", family="keywords", source=IFEVAL, config=Frequency)
def frequency(text: str, cfg: Frequency) -> bool:
    """A keyword appears less than, or at least, n times; counted as in `keywords:existence`."""
    return holds(_occurrences(cfg.keyword, text), cfg.relation, cfg.frequency)


class ForbiddenWords(Config):
    forbidden_words: Annotated[tuple[Word, ...], Field(min_length=1)]
    """None of these may appear."""


@register("constraint", "keywords:forbidden_words", family="keywords", source=IFEVAL, config=ForbiddenWords)
def forbidden_words(text: str, cfg: ForbiddenWords) -> bool:
    """None of the words appears as a whole word, in any case; taken literally, not as regular expressions."""
    return not any(re.search(rf"(?<!\w){re.escape(w.strip())}(?!\w)", text, re.IGNORECASE) for w in cfg.forbidden_words)


class LetterFrequency(Config):
    letter: Annotated[str, Field(min_length=1, max_length=1)]
    """One character."""
    let_frequency: Count
    """The bound."""
    let_relation: Relation
    """'less than' or 'at least'."""


@register("constraint", "keywords:letter_frequency", family="keywords", source=IFEVAL, config=LetterFrequency)
def letter_frequency(text: str, cfg: LetterFrequency) -> bool:
    """A letter, upper or lower case, appears less than, or at least, n times.

    Differs: for a character outside a-z ('#' and '!' stand in the public file) the official scorer draws a random
    letter instead; we count the character that was asked for.
    """
    return holds(text.lower().count(cfg.letter.lower()), cfg.let_relation, cfg.let_frequency)


def _occurrences(keyword: str, text: str) -> int:
    return len(re.findall(re.escape(keyword.strip()), text, re.IGNORECASE))
