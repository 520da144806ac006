"""The language of the answer."""

from __future__ import annotations

from pydantic import field_validator

from theodolite.config import Config
from theodolite.errors import did_you_mean
from theodolite.registry import register
from theodolite.rewards.constraints._relation import IFEVAL
from theodolite.rewards.language import detect, names


class ResponseLanguage(Config):
    language: str
    """ISO 639-1 code, such as 'sw' for Swahili."""

    @field_validator("language")
    @classmethod
    def _known(cls, code: str) -> str:
        if code not in names():
            raise ValueError(
                f"we know no language '{code}'.{did_you_mean(code, names())} There are: {', '.join(names())}"
            )
        return code


@register("constraint", "language:response_language", family="language", source=IFEVAL, config=ResponseLanguage)
def response_language(text: str, cfg: ResponseLanguage) -> bool:
    """Most of the text is in the language, by our own detector (`rewards.language`, which states its limits).

    Differs: the official scorer passes a text whose language it cannot tell; we fail it, for nothing shows that
    the instruction was followed.
    """
    return detect(text) == cfg.language
