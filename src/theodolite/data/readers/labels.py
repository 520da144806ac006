"""Unpaired thumbs: one answer, good or bad."""

from __future__ import annotations

from typing import Any

from theodolite.data.readers._row import Row, RowError, check_text, example, is_messages, messages, prompt_of, text
from theodolite.data.readers._row import value as value_of
from theodolite.registry import register
from theodolite.types import Example, Response

_GOOD = {"true", "1", "1.0", "good", "yes", "+1", "up", "desirable", "chosen"}
_BAD = {"false", "0", "0.0", "bad", "no", "-1", "-1.0", "down", "undesirable", "rejected"}


@register(
    "reader",
    "labels",
    source="TRL's unpaired preference columns; arXiv:2402.01306 section 4",
    columns=("prompt|question|instruction completion|response|answer|output label",),
)
def labels(row: Row) -> Example:
    """A prompt, one completion, and whether it is good.

    {"prompt": "2 + 2?", "completion": "4", "label": true}
    """
    names = ("completion", "response", "answer", "output")
    found = value_of(row, *names)
    answer = messages(found, "completion")[-1].content if is_messages(found) else text(row, *names)
    response = Response(check_text(answer, "completion"), label=thumb(value_of(row, "label"), "label"))
    return example(
        row, prompt_of(row, "prompt", "question", "instruction"), (response,), (*names, "prompt", "question", "label")
    )


def thumb(found: Any, what: str) -> bool:
    """True for true, 1, 'good', 'yes', 'up'...; False for their opposites; anything else is an error."""
    said = str(found).strip().lower()
    if said in _GOOD:
        return True
    if said in _BAD:
        return False
    raise RowError(
        f"'{what}' is {str(found)[:40]!r}, neither good nor bad", "write true or false (also 1/0, good/bad, yes/no)"
    )
