"""Pairs that people or facts have judged, in the order shown: LLMBar, JudgeBench, PandaLM, and HHH.

The order of the two responses is kept, since a judge's bias for a place is one of the things to measure.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from theodolite.data.readers._row import Row, RowError, distinct, example, prompt_of, text
from theodolite.data.readers._row import value as value_of
from theodolite.data.readers.instruction import instruction_prompt
from theodolite.registry import register
from theodolite.types import Example, Message, Response

_SCORES = {1: (1.0, 0.0), 2: (0.0, 1.0), 0: (0.5, 0.5)}
_WRAPPED = re.compile(
    r"###The instruction to evaluate:\n(.*)\n\n###Response to evaluate:\n(.*)\n\n###Score Rubrics:\n(.*?)"
    r"(?:\n\n###Feedback|\Z)",
    re.S,
)


@register(
    "reader",
    "llmbar",
    source="arXiv:2310.07641, github.com/princeton-nlp/LLMBar",
    columns=("input output_1 output_2 label",),
)
def llmbar(row: Row) -> Example:
    """An instruction and two outputs; `label` 1 or 2 names the one that follows it.

    {"input": "Convert 15 C to F.", "output_1": "77 F", "output_2": "59 F", "label": 2}
    """
    label = value_of(row, "label")
    if str(label) not in ("1", "2"):
        raise RowError(f"'label' is {label!r}", "write 1 where output_1 is better, else 2")
    used = ("input", "output_1", "output_2", "label")
    return example(row, prompt_of(row, "input"), _pair(row, "output_1", "output_2", int(label)), used)


@register(
    "reader",
    "judgebench",
    source="arXiv:2410.12784, github.com/ScalerLab/JudgeBench",
    columns=("question response_A response_B label",),
)
def judgebench(row: Row) -> Example:
    """A question and two responses of one model, one of them correct: `label` is 'A>B' or 'B>A'.

    {"pair_id": "x", "question": "...", "response_A": "...", "response_B": "...", "label": "A>B", "response_model": "m"}
    """
    label = str(value_of(row, "label")).replace(" ", "")
    sides = {"A>B": 1, "B>A": 2, "A=B": 0, "B=A": 0}
    if label not in sides:
        raise RowError(f"'label' is {label!r}", "write A>B, B>A or A=B")
    source = row.get("response_model")
    used = ("question", "response_A", "response_B", "label", "response_model")
    pair = _pair(row, "response_A", "response_B", sides[label], source if isinstance(source, str) else None)
    return example(row, prompt_of(row, "question"), pair, used)


@register(
    "reader",
    "pandalm",
    source="arXiv:2306.05087, github.com/WeOpenML/PandaLM data/testset-v1.json",
    columns=("instruction response1 response2 annotator1 annotator2 annotator3",),
)
def pandalm(row: Row) -> Example:
    """Two responses judged by three people: 1 or 2 for the better, 0 for a tie. Scores follow the majority.

    {"idx": 0, "instruction": "...", "input": "...", "response1": "a", "response2": "b", "annotator1": 1, ...}

    Three different votes count as a tie. The votes are in meta['votes'], `cmp_key` names the two models.
    """
    votes = [_vote(row, f"annotator{i}") for i in (1, 2, 3)]
    top, n = Counter(votes).most_common(1)[0]
    names = str(row.get("cmp_key", "")).split("_")
    pair = _pair(row, "response1", "response2", top if n > 1 else 0)
    if len(names) == 2:
        pair = replace(pair[0], source=names[0]), replace(pair[1], source=names[1])
    used = ("instruction", "input", "response1", "response2", "annotator1", "annotator2", "annotator3")
    return example(row, instruction_prompt(row), pair, used, votes=votes, agreement=n / 3)


@register(
    "reader",
    "hhh",
    source="BIG-bench HHH alignment (arXiv:2112.00861) in the form of prometheus-eval, arXiv:2405.01535",
    columns=("chosen_instruction rejected_instruction",),
)
def hhh(row: Row) -> Example:
    """An HHH pair taken out of the two grading prompts it was wrapped in; meta has the category and the rubric.

    {"source": "harmless", "chosen_instruction": "###Task Description: ...", "rejected_instruction": "..."}
    """
    (asked, chosen, rubric), (asked_too, rejected, _) = (
        _unwrap(row, k) for k in ("chosen_instruction", "rejected_instruction")
    )
    if asked != asked_too:
        raise RowError("the two grading prompts hold different instructions", "pair prompts with one instruction")
    distinct(chosen, rejected)
    used = ("chosen_instruction", "rejected_instruction", "source")
    answers = (Response(chosen, score=1.0), Response(rejected, score=0.0))
    return example(row, (Message("user", asked),), answers, used, category=row.get("source", ""), rubric=rubric)


def _pair(row: Row, first: str, second: str, better: int, source: str | None = None) -> tuple[Response, Response]:
    a, b = text(row, first), text(row, second)
    if better:
        distinct(a, b)
    high, low = _SCORES[better]
    return Response(a, score=high, source=source), Response(b, score=low, source=source)


def _vote(row: Row, column: str) -> int:
    vote = value_of(row, column)
    if str(vote) not in ("0", "1", "2"):
        raise RowError(f"'{column}' is {vote!r}", "write 1 or 2 for the better response, 0 for a tie")
    return int(vote)


def _unwrap(row: Row, column: str) -> tuple[str, str, str]:
    found = _WRAPPED.search(text(row, column))
    if found is None:
        raise RowError(
            f"'{column}' is not a grading prompt", "it needs ###The instruction, ###Response and ###Score Rubrics"
        )
    asked, answer, rubric = (part.strip() for part in found.groups())
    if not asked or not answer:
        raise RowError(f"the {'answer' if asked else 'instruction'} in '{column}' is empty", "leave the row out")
    return asked, answer, rubric
