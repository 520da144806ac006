"""Pairs: prompt, chosen, rejected; and edits, a text before and after a person revised it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from theodolite.data.readers._row import (
    Row,
    RowError,
    check_prompt,
    check_text,
    distinct,
    example,
    is_messages,
    messages,
    number,
    present,
    prompt_of,
    system_of,
    text,
    value,
)
from theodolite.registry import register
from theodolite.types import Example, Message, Response

_PROMPT = ("prompt", "question", "instruction", "query")


@register(
    "reader",
    "preference",
    source="TRL's preference columns (huggingface.co/docs/trl/dataset_formats); UltraFeedback-binarized",
    columns=("prompt|question|instruction|query chosen rejected", "chosen=messages rejected=messages"),
)
def preference(row: Row) -> Example:
    """A prompt with a chosen and a rejected answer, each a text or a list of messages.

    {"prompt": "Name a colour.", "chosen": "Blue.", "rejected": "Seven."}

    Without `prompt` both answers are conversations and the prompt is what they share. Scores are 1 and 0; with
    `margin` they are margin and 0; with `score_chosen` and `score_rejected` they are those.
    """
    name = present(row, *_PROMPT)
    prompt = prompt_of(row, name) if name else None
    chosen, rejected = (_turns(row, k) for k in ("chosen", "rejected"))
    if prompt is None:
        prompt = check_prompt(system_of(row) + shared(chosen, rejected))
        cut = len(prompt) - len(system_of(row))
        answers = [_answer(t[cut:], k) for t, k in ((chosen, "chosen"), (rejected, "rejected"))]
    else:
        prompt, answers = _explicit(prompt, chosen, rejected)
    distinct(*answers)
    high, low = scores(row)
    made = [
        Response(answers[0], score=high, source=_source(row, "chosen")),
        Response(answers[1], score=low, source=_source(row, "rejected")),
    ]
    used = ("chosen", "rejected", "score_chosen", "score_rejected", "chosen_model", "rejected_model", name or "")
    return example(row, prompt, made, used)


@register(
    "reader",
    "edits",
    source="the shape of SALT's data, arXiv:2310.20033: a generated text and its human revision",
    columns=("prompt|instruction|question|query before|unedited|original after|edited",),
)
def edits(row: Row) -> Example:
    """A text before and after revision: the edited one is the better, the original the worse.

    {"prompt": "Summarise the visit.", "before": "Patient well.", "after": "Patient reports mild pain."}
    """
    before = text(row, "before", "unedited", "original")
    after = text(row, "after", "edited")
    distinct(before, after)
    made = [Response(after, score=1.0, source="edited"), Response(before, score=0.0, source="original")]
    used = ("before", "unedited", "original", "after", "edited", *_PROMPT)
    return example(row, prompt_of(row, *_PROMPT), made, used, edit=True)


def scores(row: Row) -> tuple[float, float]:
    """(chosen, rejected). Columns that contradict each other are an error, not a choice for us to make."""
    if present(row, "score_chosen") and present(row, "score_rejected"):
        high, low = number(row["score_chosen"], "score_chosen"), number(row["score_rejected"], "score_rejected")
        what = f"score_chosen {high:g} is not above score_rejected {low:g}"
    elif present(row, "margin"):
        high, low = number(row["margin"], "margin"), 0.0
        what = f"the margin {high:g} is not above 0"
    else:
        return 1.0, 0.0
    if high <= low:
        fix = "leave the row out, swap the answers, or hide the column: columns={'score_chosen': None}"
        raise RowError(f"{what}, so the row contradicts itself", fix)
    return high, low


def shared(a: Sequence[Message], b: Sequence[Message]) -> tuple[Message, ...]:
    """The turns that two conversations have in common, up to the answers that end them."""
    if len(a) != len(b) or tuple(a[:-1]) != tuple(b[:-1]):
        n = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        if n < max(len(a), len(b)) - 1:
            reason = f"the conversations part at turn {n + 1} of {len(a)} and {len(b)}, before their last answers"
            raise RowError(reason, "cut both after the first differing answer, or leave the row out")
    return tuple(a[:-1])


def _turns(row: Row, column: str) -> tuple[Message, ...]:
    found = value(row, column)
    if is_messages(found):
        return messages(found, column)
    return (
        messages([found], column) if isinstance(found, Mapping) else (Message("assistant", check_text(found, column)),)
    )


def _explicit(prompt: tuple[Message, ...], chosen: Any, rejected: Any) -> tuple[tuple[Message, ...], list[str]]:
    """The prompt given beside the answers; answers that repeat the conversation must begin with that prompt."""
    answers = []
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        before = turns[:-1]
        if before and _plain(before)[-len(prompt) :] != _plain(prompt):
            reason = f"the conversation in '{name}' does not begin with the prompt"
            raise RowError(reason, "make both the same, or leave 'prompt' out: columns={'prompt': None}")
        answers.append(_answer(turns[-1:], name))
    if chosen[:-1] and rejected[:-1] and _plain(chosen[:-1]) != _plain(rejected[:-1]):
        raise RowError("the two conversations have different prompts", "compare answers to one prompt only")
    fuller = max((prompt, chosen[:-1], rejected[:-1]), key=len)  # a conversation may hold a system turn besides
    return check_prompt(fuller), answers


def _plain(turns: Sequence[Message]) -> list[tuple[str, str]]:
    return [(m.role, m.content.strip()) for m in turns]


def _answer(turns: Sequence[Message], column: str) -> str:
    if len(turns) != 1 or turns[0].role != "assistant":
        raise RowError(f"'{column}' does not end with one answer of the assistant", "end it with the assistant's turn")
    return check_text(turns[0].content, column)


def _source(row: Row, side: str) -> str | None:
    found = row.get(f"{side}_model")
    return found if isinstance(found, str) and found else None
