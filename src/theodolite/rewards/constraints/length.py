"""How long: words, sentences, lines, paragraphs."""

from __future__ import annotations

import re
from typing import Self

from pydantic import model_validator

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards import _text
from theodolite.rewards.constraints._relation import IFEVAL, Count, Relation, Several, holds


class NumberWords(Config):
    num_words: Count
    """The bound."""
    relation: Relation
    """'less than' or 'at least'."""


@register("constraint", "length_constraints:number_words", family="length", source=IFEVAL, config=NumberWords)
def number_words(text: str, cfg: NumberWords) -> bool:
    """The number of words is less than, or at least, a bound."""
    return holds(len(_text.words(text)), cfg.relation, cfg.num_words)


class NumberSentences(Config):
    num_sentences: Count
    """The bound."""
    relation: Relation
    """'less than' or 'at least'."""


@register("constraint", "length_constraints:number_sentences", family="length", source=IFEVAL, config=NumberSentences)
def number_sentences(text: str, cfg: NumberSentences) -> bool:
    """The number of sentences is less than, or at least, a bound.

    The official scorer cuts with a trained Punkt model; ours is rules. They differ on rare abbreviations, and on
    lists without full stops, where Punkt sees one sentence and we see one an item.
    """
    return holds(len(_text.sentences(text)), cfg.relation, cfg.num_sentences)


class NumberParagraphs(Config):
    num_paragraphs: Several
    """Exactly so many."""


@register("constraint", "length_constraints:number_paragraphs", family="length", source=IFEVAL, config=NumberParagraphs)
def number_paragraphs(text: str, cfg: NumberParagraphs) -> bool:
    """Exactly n paragraphs parted by the markdown divider `***`; an empty one in the middle fails."""
    parts = [p.strip() for p in text.strip().split("***")]
    if len(parts) > 1 and not parts[0]:
        parts = parts[1:]
    if len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return all(parts) and len(parts) == cfg.num_paragraphs


class NthParagraphFirstWord(Config):
    num_paragraphs: Several
    """Exactly so many paragraphs."""
    nth_paragraph: Several
    """Which one is looked at, from 1."""
    first_word: str
    """The word it begins with, in any case."""

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.nth_paragraph > self.num_paragraphs:
            raise ValueError(
                f"nth_paragraph is {self.nth_paragraph} of {self.num_paragraphs} paragraphs; it must be one of them"
            )
        return self


@register(
    "constraint",
    "length_constraints:nth_paragraph_first_word",
    family="length",
    source=IFEVAL,
    config=NthParagraphFirstWord,
)
def nth_paragraph_first_word(text: str, cfg: NthParagraphFirstWord) -> bool:
    """Exactly n paragraphs parted by blank lines, and one of them begins with a given word.

    Differs: the official index counts the empty paragraphs that its count leaves out, and its word keeps a colon
    or asterisk; we drop empty paragraphs first and skip marks around the word.
    """
    found = _text.paragraphs(text)
    if len(found) != cfg.num_paragraphs:
        return False
    first = re.match(r"[\W_]*(\w[\w-]*)", found[cfg.nth_paragraph - 1])
    return first is not None and first.group(1).rstrip("_-").casefold() == cfg.first_word.strip().casefold()


class MaxWords(Config):
    max_words: Several
    """The most words allowed."""


@register(
    "constraint",
    "theodolite:max_words",
    family="length",
    source="ours: a limit that small models can meet",
    config=MaxWords,
)
def max_words(text: str, cfg: MaxWords) -> bool:
    """At most n words."""
    return len(_text.words(text)) <= cfg.max_words


class WordRange(Config):
    min_words: Several
    """The fewest words allowed."""
    max_words: Several
    """The most words allowed."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}; no answer could pass")
        return self


@register(
    "constraint",
    "theodolite:word_range",
    family="length",
    source="ours: two-sided, so it cannot be met by brevity",
    config=WordRange,
)
def word_range(text: str, cfg: WordRange) -> bool:
    """Between a and b words, both allowed."""
    return cfg.min_words <= len(_text.words(text)) <= cfg.max_words


class OneSentence(Config):
    pass


@register(
    "constraint",
    "theodolite:one_sentence",
    family="length",
    source="ours: the shortest whole answer",
    config=OneSentence,
)
def one_sentence(text: str, cfg: OneSentence) -> bool:
    """One sentence on one line."""
    return len(_text.lines(text)) == 1 and len(_text.sentences(text)) == 1


class ExactLines(Config):
    num_lines: Several
    """Exactly so many lines that are not blank."""


@register(
    "constraint", "theodolite:exact_lines", family="length", source="ours: for poems and short lists", config=ExactLines
)
def exact_lines(text: str, cfg: ExactLines) -> bool:
    """Exactly n lines; blank ones do not count."""
    return len(_text.lines(text)) == cfg.num_lines


class ExactParagraphs(Config):
    num_paragraphs: Several
    """Exactly so many paragraphs."""


@register(
    "constraint",
    "theodolite:exact_paragraphs",
    family="length",
    source="ours: paragraphs as people write them, without IFEval's divider",
    config=ExactParagraphs,
)
def exact_paragraphs(text: str, cfg: ExactParagraphs) -> bool:
    """Exactly n paragraphs parted by blank lines."""
    return len(_text.paragraphs(text)) == cfg.num_paragraphs
