"""IFEval: does the model do what it was told, where a program can check it?"""

from __future__ import annotations

import numpy as np

from theodolite.registry import register
from theodolite.rewards.rules import check
from theodolite.surveys.protocol import Protocol, locate, pick, table
from theodolite.surveys.readings import mean_reading
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class IFEval(Protocol):
    data: str = "$THEODOLITE_SHARED/data/instructions/ifeval_input_data.jsonl"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 50
    """most items, the same ones for every model"""
    max_new_tokens: int = 256
    """tokens of an answer"""


@register(
    "survey",
    "ifeval",
    source="arXiv:2311.07911 section 2",
    config=IFEval,
    question="Does the model do what it was told, where a program can check it?",
    measures=("prompt_strict", "prompt_loose", "instruction_strict"),
    data="IFEval, the first 270 of its 541 prompts",
    not_measured="whether the answer is right, useful or well written",
    taxonomy=("goal:human-instructions",),
)
def ifeval(subject: Subject, cfg: IFEval, rng: np.random.Generator) -> list[Reading]:
    """Greedy answers; prompt level: all of a prompt's instructions met, strictly and loosely; instruction level: the
    share of a prompt's instructions met, averaged over prompts."""
    rows = pick(table(locate(cfg.data)), cfg.limit)
    answers = subject.answers([r["prompt"] for r in rows], max_new_tokens=cfg.max_new_tokens, what="ifeval")
    strict, loose, share = {}, {}, {}
    for row, (answer,) in zip(rows, answers, strict=True):
        asked = [
            {"id": i, "kwargs": {k: v for k, v in kw.items() if v is not None}}
            for i, kw in zip(row["instruction_id_list"], row["kwargs"], strict=True)
        ]
        key = str(row["key"])
        verdicts = check(asked, answer)
        strict[key] = float(all(verdicts.values()))
        loose[key] = float(all(check(asked, answer, loose=True).values()))
        share[key] = float(np.mean(list(verdicts.values())))
    return [
        mean_reading("ifeval.prompt_strict", strict, rng, level=cfg.level),
        mean_reading("ifeval.prompt_loose", loose, rng, level=cfg.level),
        mean_reading("ifeval.instruction_strict", share, rng, level=cfg.level),
    ]
