"""Anthropic's hh-rlhf: two transcripts that share all turns but the last answer."""

from __future__ import annotations

from theodolite.data.readers._row import Row, RowError, check_prompt, distinct, example, text, transcript
from theodolite.data.readers.preference import scores, shared
from theodolite.registry import register
from theodolite.types import Example, Message, Response


@register(
    "reader",
    "hh_rlhf",
    source="arXiv:2204.05862, github.com/anthropics/hh-rlhf",
    columns=("chosen=transcript rejected=transcript",),
)
def hh_rlhf(row: Row) -> Example:
    """Two transcripts with one prompt: all turns up to the last answer.

    {"chosen": "\\n\\nHuman: Hi\\n\\nAssistant: Hello!", "rejected": "\\n\\nHuman: Hi\\n\\nAssistant: Go away."}

    White space around turns is removed. Transcripts that part before their last answer, end with an empty answer
    or with the human's turn, or are equal, are bad rows (8 of the first 2000 harmless-base test rows).
    """
    chosen, rejected = (transcript(text(row, side), side) for side in ("chosen", "rejected"))
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        _check_end(name, turns)
    prompt = check_prompt(shared(chosen, rejected))
    distinct(chosen[-1].content, rejected[-1].content)
    high, low = scores(row)
    answers = (Response(chosen[-1].content, score=high), Response(rejected[-1].content, score=low))
    return example(row, prompt, answers, ("chosen", "rejected", "prompt", "score_chosen", "score_rejected"))


def _check_end(name: str, turns: tuple[Message, ...]) -> None:
    if turns[-1].role != "assistant":
        raise RowError(f"'{name}' ends with the human's turn", "cut it after the last answer, or leave the row out")
    if not turns[-1].content:
        raise RowError(f"'{name}' ends with an empty answer", "leave the row out")
