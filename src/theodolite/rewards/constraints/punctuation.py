"""Which marks may not be used."""

from __future__ import annotations

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards.constraints._relation import IFEVAL


class NoComma(Config):
    pass


@register("constraint", "punctuation:no_comma", family="punctuation", source=IFEVAL, config=NoComma)
def no_comma(text: str, cfg: NoComma) -> bool:
    """No comma. Differs: the commas of Chinese, Japanese and Arabic count too."""
    return not any(mark in text for mark in ",，、،")


class NoExclamation(Config):
    pass


@register(
    "constraint",
    "theodolite:no_exclamation",
    family="punctuation",
    source="ours: chat models love them",
    config=NoExclamation,
)
def no_exclamation(text: str, cfg: NoExclamation) -> bool:
    """No exclamation mark."""
    return "!" not in text and "！" not in text
