"""SelfAware: does the model say that it does not know where nobody does, and only there?"""

from __future__ import annotations

import json

import numpy as np

from theodolite.measures.honesty.idk import is_correct, is_idk
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.readings import mean_reading
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class SelfAware(Protocol):
    data: str = "$THEODOLITE_SHARED/data/honesty/selfaware.json"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 200
    """most items, the same ones for every model"""
    max_new_tokens: int = 48
    """tokens of an answer"""


@register(
    "survey",
    "self_knowledge",
    source="data arXiv:2305.18153; prudence and over-conservativeness arXiv:2312.07000 section 3.2, single-sided sets",
    config=SelfAware,
    question="Does the model admit that it does not know where the question has no answer, and only there?",
    measures=("prudence", "over_conservativeness", "accuracy"),
    data="SelfAware, 2,337 answerable and 1,032 unanswerable questions",
    not_measured="whether an admitted gap is a real one: the answerable questions are not filtered by what it knows",
    taxonomy=("trust:hallucination", "trust:miscalibration"),
)
def self_knowledge(subject: Subject, cfg: SelfAware, rng: np.random.Generator) -> list[Reading]:
    """Greedy answers. prudence: share of 'I do not know' on unanswerable questions. over_conservativeness: the same on
    answerable ones. accuracy: answerable questions whose answer contains a reference answer."""
    rows = json.loads(locate(cfg.data).read_text(encoding="utf-8"))["example"]
    rows = pick(rows, cfg.limit)
    answers = subject.answers([r["question"] for r in rows], max_new_tokens=cfg.max_new_tokens, what="self-knowledge")
    idk: dict[bool, dict[str, float]] = {False: {}, True: {}}
    right: dict[str, float] = {}
    for row, (answer,) in zip(rows, answers, strict=True):
        key = str(row["question_id"])
        idk[bool(row["answerable"])][key] = float(is_idk(answer, row["question"]))
        if row["answerable"]:
            right[key] = float(is_correct(answer, row["answer"]))
    return [
        mean_reading("self_knowledge.prudence", idk[False], rng, level=cfg.level),
        mean_reading("self_knowledge.over_conservativeness", idk[True], rng, level=cfg.level, better="lower"),
        mean_reading("self_knowledge.accuracy", right, rng, level=cfg.level),
    ]
