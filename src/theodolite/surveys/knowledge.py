"""TriviaQA: does the model know common facts well enough to write them down?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from theodolite.measures.honesty.idk import is_correct
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.readings import mean_reading
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class Trivia(Protocol):
    data: str = "$THEODOLITE_SHARED/data/honesty/nq_open_efficientqa_dev.jsonl"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 150
    """most items, the same ones for every model"""
    max_new_tokens: int = 32
    """tokens of an answer"""


@register(
    "survey",
    "knowledge",
    source="data arXiv:2101.00133 (EfficientQA); answer containment as in arXiv:2312.07000",
    config=Trivia,
    question="Does the model know common facts?",
    measures=("accuracy",),
    data="1,800 open-domain questions of NQ-open; TriviaQA's own files too",
    not_measured="facts that the model would only recognise; a right answer in other words counts as wrong",
    taxonomy=("trust:misinformation",),
)
def knowledge(subject: Subject, cfg: Trivia, rng: np.random.Generator) -> list[Reading]:
    """Greedy answers; right where any reference answer is contained in it, case, articles and punctuation aside."""
    items = pick(questions(locate(cfg.data)), cfg.limit)
    prompts = [f"{q}\nAnswer in a few words." for q, _ in items]
    answers = subject.answers(prompts, max_new_tokens=cfg.max_new_tokens, what="knowledge")
    right = {q: float(is_correct(a[0], golds)) for (q, golds), a in zip(items, answers, strict=True)}
    return [mean_reading("knowledge", right, rng, level=cfg.level)]


def questions(path: Path) -> list[tuple[str, list[str]]]:
    """(question, accepted answers) from NQ-open lines or TriviaQA's JSON."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [(r["question"], list(r["answer"])) for r in lines]
    return [(r["Question"], [r["Answer"]["Value"], *r["Answer"]["Aliases"]]) for r in json.loads(text)["Data"]]
