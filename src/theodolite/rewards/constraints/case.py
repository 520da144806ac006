"""Upper and lower case."""

from __future__ import annotations

import re

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards.constraints._relation import IFEVAL, Count, Relation, holds
from theodolite.rewards.language import detect, script_of


class CapitalWordFrequency(Config):
    capital_frequency: Count
    """The bound."""
    capital_relation: Relation
    """'less than' or 'at least'."""


@register("constraint", "change_case:capital_word_frequency", family="case", source=IFEVAL, config=CapitalWordFrequency)
def capital_word_frequency(text: str, cfg: CapitalWordFrequency) -> bool:
    """Words all in capitals number less than, or at least, n; 'I' and 'A' count, hyphenated words count once.

    The official scorer cuts words with NLTK; ours are runs of letters, digits and hyphens, initials (U.S.) one word.
    """
    found = re.findall(r"(?:[^\W\d_]\.){2,}|\w+(?:-\w+)*", text)
    return holds(sum(w.isupper() for w in found), cfg.capital_relation, cfg.capital_frequency)


class EnglishCapital(Config):
    pass


@register("constraint", "change_case:english_capital", family="case", source=IFEVAL, config=EnglishCapital)
def english_capital(text: str, cfg: EnglishCapital) -> bool:
    """English, and every letter a capital.

    Differs: the official scorer asks a detector that errs on capitals and passes the response when it fails; we
    fold case before asking, and let a text too short to tell pass when it is in Latin letters.
    """
    return text.isupper() and _may_be_english(text)


class EnglishLowercase(Config):
    pass


@register("constraint", "change_case:english_lowercase", family="case", source=IFEVAL, config=EnglishLowercase)
def english_lowercase(text: str, cfg: EnglishLowercase) -> bool:
    """English, and no capital letter; a text too short to tell its language passes when in Latin letters."""
    return text.islower() and _may_be_english(text)


def _may_be_english(text: str) -> bool:
    return script_of(text) == "latin" and detect(text) in ("en", None)
