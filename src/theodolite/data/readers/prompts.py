"""Prompts without answers, questions with reference answers, and IFEval's prompts with checkable constraints."""

from __future__ import annotations

from typing import Any

from theodolite.data.readers._row import Row, RowError, check_text, example, prompt_of, text, unpack
from theodolite.data.readers._row import value as value_of
from theodolite.data.readers.instruction import instruction_prompt
from theodolite.registry import register
from theodolite.types import Example, Message, Response


@register(
    "reader",
    "prompts",
    source="MT-bench's `turns` (arXiv:2306.05685); plain prompt lists",
    columns=("prompt", "instruction", "question_id turns=list"),
)
def prompts(row: Row) -> Example:
    """A prompt to be answered. Of several `turns` the first is the prompt, the others wait in meta['later_turns'].

    {"prompt": "Name a colour."}        {"question_id": 81, "turns": ["Write a poem.", "Now shorter."]}
    """
    turns = unpack(row.get("turns"))
    if turns is not None:
        if not isinstance(turns, list) or not turns:
            raise RowError("'turns' is not a list of texts", "write 'turns': [first, second, ...]")
        texts = [check_text(t, f"turn {i}") for i, t in enumerate(turns, 1)]
        return example(row, (Message("user", texts[0]),), (), ("turns",), later_turns=texts[1:])
    if row.get("prompt") is None:
        return example(row, instruction_prompt(row), (), ("instruction", "input", "history"))
    return example(row, prompt_of(row, "prompt"), (), ("prompt",))


@register(
    "reader",
    "qa",
    source="the columns of GSM8K (arXiv:2110.14168) and NQ-open (TACL 2019)",
    columns=("question|problem|query answer|answers",),
)
def qa(row: Row) -> Example:
    """A question with its reference answers; the first is the response, all are in meta['answers'].

    {"question": "2 + 2?", "answer": ["4", "four"]}

    A null answer (a question that cannot be answered, as in SelfAware) gives no response. MATH's `solution` is the
    response where there is one, since it ends with the answer.
    """
    name = next((n for n in ("answer", "answers") if n in row), None)
    found = row[name] if name else value_of(row, "answer", "answers")
    known = [] if found is None else [_answer(a) for a in (found if isinstance(found, list) else [found])]
    best = [text(row, "solution")] if row.get("solution") is not None else known[:1]
    used = ("question", "problem", "query", "answer", "answers", "solution")
    return example(row, prompt_of(row, "question", "problem", "query"), map(Response, best), used, answers=known)


@register(
    "reader",
    "ifeval",
    source="arXiv:2311.07911, instruction_following_eval/data/input_data.jsonl",
    columns=("prompt instruction_id_list=list kwargs=list",),
)
def ifeval(row: Row) -> Example:
    """A prompt and the constraints that its answer must meet, in meta['constraints'].

    {"key": 1001, "prompt": "... no commas", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    becomes meta = {"constraints": [{"id": "punctuation:no_comma", "kwargs": {}}]}; null arguments are left out.
    """
    ids, kwargs = (unpack(value_of(row, k)) for k in ("instruction_id_list", "kwargs"))
    if not isinstance(ids, list) or not isinstance(kwargs, list) or not ids:
        raise RowError("there are no constraints", "give instruction_id_list and kwargs as lists of one length")
    if len(ids) != len(kwargs):
        raise RowError(
            f"{len(ids)} constraints but {len(kwargs)} kwargs", "give one object of arguments to each constraint"
        )
    constraints = [_constraint(i, k, n) for n, (i, k) in enumerate(zip(ids, kwargs), 1)]
    return example(
        row, prompt_of(row, "prompt"), (), ("prompt", "instruction_id_list", "kwargs"), constraints=constraints
    )


def _constraint(id: Any, kwargs: Any, n: int) -> dict[str, Any]:
    if not isinstance(kwargs, dict):
        raise RowError(f"kwargs {n} is not an object", "write {} where a constraint has no arguments")
    return {"id": check_text(id, f"constraint {n}"), "kwargs": {k: v for k, v in kwargs.items() if v is not None}}


def _answer(found: Any) -> str:
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else check_text(found, "answer")
