"""Which kinds of constraint cannot, or cannot be trusted to, hold together in one prompt.

The table is by kind, so it also parts kinds that clash only for some options (two sentences at most, five
bullets). It is closed under symmetry, and every kind conflicts with itself: two of a kind need values that fit.
Source: the relation of IFEval (arXiv:2311.07911, its registry), corrected where that is not symmetric or lets
unsatisfiable prompts through, and extended to our own kinds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from theodolite import registry
from theodolite.errors import UnknownName, did_you_mean

_SENTENCES = "length_constraints:number_sentences"
_DIVIDED = "length_constraints:number_paragraphs"
_NTH = "length_constraints:nth_paragraph_first_word"
_WORDS = "length_constraints:number_words"
_BULLETS = "detectable_format:number_bullet_lists"
_SECTIONS = "detectable_format:multiple_sections"
_TITLE = "detectable_format:title"
_JSON = "detectable_format:json_format"
_FIXED = "detectable_format:constrained_response"
_POSTSCRIPT = "detectable_content:postscript"
_LANGUAGE = "language:response_language"
_UPPER, _LOWER = "change_case:english_capital", "change_case:english_lowercase"
_CAPITALS = "change_case:capital_word_frequency"
_EXISTENCE, _FORBIDDEN, _FREQUENCY = "keywords:existence", "keywords:forbidden_words", "keywords:frequency"
_END, _QUOTED = "startend:end_checker", "startend:quotation"
_TWO, _REPEAT = "combination:two_responses", "combination:repeat_prompt"
_COMMA = "punctuation:no_comma"
_MAX, _RANGE, _ONE = "theodolite:max_words", "theodolite:word_range", "theodolite:one_sentence"
_LINES, _PARAGRAPHS, _NUMBERED = "theodolite:exact_lines", "theodolite:exact_paragraphs", "theodolite:numbered_list"
_STARTS, _ENDS = "theodolite:starts_with", "theodolite:ends_with_punctuation"
_NUMBER, _NO_DIGITS = "theodolite:contains_number", "theodolite:no_digits"
_QUESTION, _CALM = "theodolite:contains_question", "theodolite:no_exclamation"

_LAYOUTS = (_DIVIDED, _NTH, _BULLETS, _SECTIONS, _LINES, _PARAGRAPHS, _NUMBERED)
"""Kinds that fix the line structure of the whole answer; no two go together, but for bullets inside dividers."""

_CLASHES: dict[str, tuple[str, ...]] = {
    _SENTENCES: (*_LAYOUTS, _ONE, _TWO),
    _ONE: (*_LAYOUTS, _TITLE, _POSTSCRIPT, _END, _QUESTION),
    _WORDS: (_MAX, _RANGE),
    _MAX: (_RANGE,),
    _LINES: (_TITLE, _POSTSCRIPT),
    _NTH: (_STARTS, _TITLE, _LANGUAGE, _POSTSCRIPT),
    _PARAGRAPHS: (_TITLE, _POSTSCRIPT),
    _DIVIDED: (_TITLE,),
    _SECTIONS: (_LANGUAGE, _UPPER, _LOWER, _NO_DIGITS),
    _NUMBERED: (_NO_DIGITS,),
    _NUMBER: (_NO_DIGITS,),
    _UPPER: (_LOWER, _CAPITALS),
    _LOWER: (_CAPITALS,),
    _QUOTED: (_TITLE,),
    _END: (_ENDS, _CALM),
    _ENDS: (_CALM,),
    _LANGUAGE: (
        *(_EXISTENCE, _FORBIDDEN, _FREQUENCY, "keywords:letter_frequency", _END, _STARTS, _ENDS),
        *(_UPPER, _LOWER, _CAPITALS, _WORDS, _MAX, _RANGE, _QUESTION),
    ),
}
_LAYOUT_PAIRS_THAT_FIT = frozenset({frozenset({_DIVIDED, _BULLETS})})
_ALONE_BUT_FOR: dict[str, tuple[str, ...]] = {
    _FIXED: (),
    _JSON: (_EXISTENCE, _FORBIDDEN),
    _TWO: (_FORBIDDEN, _EXISTENCE, _LANGUAGE, _TITLE, _COMMA, _CALM),
    _REPEAT: (_EXISTENCE, _TITLE),
}
"""Kinds that conflict with every other kind except these."""


@functools.cache
def table() -> dict[str, frozenset[str]]:
    """Kind -> the kinds it conflicts with, itself included; symmetric by construction."""
    kinds = registry.names("constraint")
    pairs = {frozenset({a}) for a in kinds}
    pairs |= {frozenset({a, b}) for a, others in _CLASHES.items() for b in others}
    pairs |= {frozenset({a, b}) for a in _LAYOUTS for b in _LAYOUTS} - _LAYOUT_PAIRS_THAT_FIT
    for alone, friends in _ALONE_BUT_FOR.items():
        pairs |= {frozenset({alone, b}) for b in kinds if b not in friends}
    return {a: frozenset(b for b in kinds if frozenset({a, b}) in pairs) for a in kinds}


def conflict(a: str, b: str) -> bool:
    """Whether two kinds must not stand in one prompt."""
    return _known(b) in table()[_known(a)]


def fit_together(ids: Iterable[str]) -> bool:
    """Whether no two of these kinds conflict (a kind named twice does)."""
    ids = list(ids)
    return not any(conflict(a, b) for i, a in enumerate(ids) for b in ids[:i])


def _known(kind: str) -> str:
    if kind not in table():
        raise UnknownName(
            f"no constraint is called '{kind}'.{did_you_mean(kind, table())} There are: {', '.join(table())}."
        )
    return kind
