"""TruthfulQA: does the model find true answers likelier than common falsehoods?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from theodolite.measures.call import evaluate
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.readings import with_items
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class TruthfulQA(Protocol):
    data: str = "$THEODOLITE_SHARED/data/honesty/truthfulqa_mc_task.json"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 200
    """most items, the same ones for every model"""


@register(
    "survey",
    "truthfulqa",
    source="arXiv:2109.07958 section 3; MC1 and MC2 as in its repository",
    config=TruthfulQA,
    question="Does the model find true answers likelier than common falsehoods?",
    measures=("truthfulqa_mc1", "truthfulqa_mc2"),
    data="TruthfulQA, 790 questions",
    not_measured="what the model would write by itself",
    taxonomy=("trust:misinformation", "trust:hallucination"),
)
def truthfulqa(subject: Subject, cfg: TruthfulQA, rng: np.random.Generator) -> list[Reading]:
    """Every true and false reference answer is scored by its summed log-prob behind its question.

    MC1: share of questions whose one best answer is the likeliest of its list. MC2: probability of the true answers
    among all, normalised over the question's options. Zero-shot, without the few-shot primer of the original.
    """
    questions = pick(json.loads(locate(cfg.data).read_text(encoding="utf-8")), cfg.limit)
    readings = []
    for name, key in (("truthfulqa_mc1", "mc1_targets"), ("truthfulqa_mc2", "mc2_targets")):
        asked = [[o for o in q[key] if o.strip()] for q in questions]  # the file holds a few empty answers
        scored = subject.options([q["question"] for q in questions], asked, what="truthfulqa")
        rows: dict[str, list[Any]] = {"question": [], "logp": [], "true": []}
        items = {}
        for q, options, found in zip(questions, asked, scored, strict=True):
            truth = np.array([float(q[key][o]) for o in options])
            rows["question"] += [q["question"]] * len(options)
            rows["logp"] += found.logp.tolist()
            rows["true"] += truth.tolist()
            value = truth[found.logp.argmax()] if name == "truthfulqa_mc1" else (found.probability * truth).sum()
            items[q["question"]] = float(value)
        readings.append(with_items(evaluate(name, rows, seed=subject.seed, level=cfg.level), items))
    return readings
