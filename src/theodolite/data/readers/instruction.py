"""Alpaca-type rows: instruction, input, output, with history and with several outputs, best first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theodolite.data.readers._row import (
    Row,
    RowError,
    check_prompt,
    check_text,
    distinct,
    example,
    system_of,
    text,
    unpack,
)
from theodolite.data.readers._row import prompt_of as _prompt_of
from theodolite.registry import register
from theodolite.types import Example, Message, Response

_OUTPUT = ("output", "completion", "response", "answer")


@register(
    "reader",
    "instruction",
    source="github.com/tatsu-lab/stanford_alpaca; LLaMA-Factory's history and ranking columns",
    columns=(
        "instruction output",
        "instruction instances=list",
        "prompt|instruction completion|response|output|answer",
    ),
)
def instruction(row: Row) -> Example | list[Example]:
    """An instruction, its optional input and history, and one output, or several from best to worst.

    {"instruction": "Translate.", "input": "Hallo", "output": ["Hello", "Bye"], "history": [["Hi", "Hello!"]]}

    The input follows the instruction after a blank line. K outputs get the scores K-1 ... 0. Self-Instruct's
    `instances` [{"input": ..., "output": ...}] are several tasks of one instruction: each becomes an Example.
    """
    outputs = next((row[n] for n in _OUTPUT if row.get(n) is not None), None)
    if isinstance(row.get("instances"), list) and outputs is None:
        return _instances(row)
    answers = _ranked(outputs) if isinstance(outputs, list) else (Response(text(row, *_OUTPUT)),)
    used = ("instruction", "prompt", "input", "history", *_OUTPUT)
    return example(row, instruction_prompt(row), answers, used)


def _instances(row: Row) -> list[Example]:
    made = []
    for i, found in enumerate(row["instances"], 1):
        if not isinstance(found, Mapping):
            raise RowError(f"instance {i} is not an object", "write instances as [{'input': ..., 'output': ...}]")
        answer = Response(check_text(found.get("output"), f"output of instance {i}"))
        prompt = instruction_prompt({**row, "input": found.get("input")})
        made.append(example(row, prompt, (answer,), ("instruction", "instances")))
    if not made:
        raise RowError("'instances' is an empty list", "give at least one instance")
    return made


def instruction_prompt(row: Row) -> tuple[Message, ...]:
    """System text, history and the instruction with its input, as messages."""
    past = [m for i, turn in enumerate(_history(row)) for m in _exchange(turn, i)]
    first, *last = _prompt_of({**row, "system": None, "system_prompt": None}, "instruction", "prompt")
    asked = first.content + (
        f"\n\n{row['input']}" if isinstance(row.get("input"), str) and row["input"].strip() else ""
    )
    turns = [first, *last] if last else [Message(first.role, asked)]
    return check_prompt((*system_of(row), *past, *turns))


def _ranked(outputs: list[Any]) -> tuple[Response, ...]:
    if not outputs:
        raise RowError("'output' is an empty list", "give at least one output")
    texts = [check_text(o, f"output {i} of {len(outputs)}") for i, o in enumerate(outputs, 1)]
    if len(texts) == 1:
        return (Response(texts[0]),)
    distinct(*texts)
    return tuple(Response(t, score=float(len(texts) - 1 - i)) for i, t in enumerate(texts))


def _history(row: Row) -> list[Any]:
    found = unpack(row.get("history")) or []
    if not isinstance(found, list):
        raise RowError("'history' is not a list", "write history as [[question, answer], ...]")
    return found


def _exchange(turn: Any, i: int) -> tuple[Message, Message]:
    if not isinstance(turn, list | tuple) or len(turn) != 2:
        raise RowError(f"history {i + 1} is not a pair of texts", "write history as [[question, answer], ...]")
    return Message("user", check_text(turn[0], f"history {i + 1}")), Message(
        "assistant", check_text(turn[1], f"history {i + 1}")
    )
