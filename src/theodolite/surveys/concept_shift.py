"""Shift vectors: did fine-tuning move what a model makes of safe and unsafe requests, each kind as one?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from theodolite.errors import ModelError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.concept_shift import mean_cosine
from theodolite.registry import register
from theodolite.surveys.base import load_base
from theodolite.surveys.protocol import Protocol, locate, pick, table
from theodolite.surveys.states import hidden_states
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class ConceptShift(Protocol):
    data: str = "$THEODOLITE_SHARED/data/safety/xstest_prompts.csv"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 300
    """most items, the same ones for every model"""
    base: str = ""
    """the model before fine-tuning, by name or folder; it must have the same vocabulary and width"""
    layer: int = -1
    """hidden layer to read (0 is the embedding, -1 the last)"""
    concepts: int = Field(10, ge=1)
    """concepts looked for among the base model's states"""


@register(
    "survey",
    "concept_shift",
    source="arXiv:2501.03012 (shift vectors and their consistency); on text prompts and the state where the answer begins",
    config=ConceptShift,
    question="Did fine-tuning move the requests of one kind together inside the model?",
    measures=("concept_shift",),
    data="XSTest v2: 250 safe and 200 unsafe prompts",
    not_measured="what a concept means, or whether the model acts differently",
)
def concept_shift(subject: Subject, cfg: ConceptShift, rng: np.random.Generator) -> list[Reading]:
    """Both models read the fine-tuned model's own rendering of each prompt; shift = state after minus state before, at
    the prompt's last token. Concepts are clusters of the base model's states.

    1: all prompts of a concept move the same way; 0: unrelated ways. The paper reads multimodal models at the words of a
    concept; `safe` and `unsafe` in parts are the mean cosine between the shifts of the prompts of that label.
    """
    base = load_base(subject, cfg.base, "concept_shift")
    rows = pick(table(locate(cfg.data)), cfg.limit)
    prompts = [r["prompt"] for r in rows]
    after = subject.states(prompts, pool="last", layer=cfg.layer, what="concept shift").astype(np.float64)
    before = np.empty((len(rows), _width(base.model)))
    if before.shape != after.shape:
        raise ModelError(
            f"{subject.name} has states of {after.shape[1]} numbers and {cfg.base} of {before.shape[1]}, so none is the "
            "other's shifted."
        )
    ids = [subject._prompt(p) for p in prompts]
    for number, state in hidden_states(base.model, ids, pool="last", layer=cfg.layer):
        before[number] = state
    made = evaluate(
        "concept_shift", {"before": before, "after": after}, seed=subject.seed, level=cfg.level, k=cfg.concepts
    )
    unsafe = np.array([r["type"].startswith("contrast_") for r in rows])
    shift = after - before
    labels = {"safe": mean_cosine(shift[~unsafe]), "unsafe": mean_cosine(shift[unsafe])}
    return [replace(made, parts={**made.parts, **labels})]


def _width(model: Any) -> int:
    """Numbers of a hidden state."""
    return int(model.config.get_text_config().hidden_size)
