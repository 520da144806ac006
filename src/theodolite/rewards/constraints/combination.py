"""Two answers at once; the request repeated before the answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from theodolite.config import Config
from theodolite.registry import register
from theodolite.rewards.constraints._relation import IFEVAL


class TwoResponses(Config):
    pass


@register("constraint", "combination:two_responses", family="combination", source=IFEVAL, config=TwoResponses)
def two_responses(text: str, cfg: TwoResponses) -> bool:
    """Two different answers parted by six asterisks; dividers at the very beginning or end are allowed."""
    parts = [p.strip() for p in text.split("******")]
    inner = [p for i, p in enumerate(parts) if p or 0 < i < len(parts) - 1]
    return len(inner) == 2 and all(inner) and inner[0] != inner[1]


class RepeatPrompt(Config):
    prompt_to_repeat: Annotated[str, Field(min_length=1)]
    """The request that the response must begin with."""


@register("constraint", "combination:repeat_prompt", family="combination", source=IFEVAL, config=RepeatPrompt)
def repeat_prompt(text: str, cfg: RepeatPrompt) -> bool:
    """Begins with the request word for word, in any case, and an answer follows.

    Differs: the official scorer does not ask for the answer, so echoing the request alone would be rewarded.
    """
    text, request = text.strip().lower(), cfg.prompt_to_repeat.strip().lower()
    return text.startswith(request) and any(c.isalnum() for c in text[len(request) :])
