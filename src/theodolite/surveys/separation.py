"""Alignment Quality Index: are unsafe requests held apart from safe ones inside the model?"""

from __future__ import annotations

import numpy as np

from theodolite.measures.call import evaluate
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick, table
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class Separation(Protocol):
    data: str = "$THEODOLITE_SHARED/data/safety/xstest_prompts.csv"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 300
    """most items, the same ones for every model"""
    layer: int | None = None
    """hidden layer to read (0 is the embedding); default the last, with the index of every other one in the parts"""
    indices: tuple[str, str] = ("dbs", "silhouette")
    """the two indices of the composite; the Dunn index ('di') of the paper's variants has no interval"""


@register(
    "survey",
    "separation",
    source="arXiv:2506.13901 (AQI); indices in the raw space, as measures/likeness/aqi says",
    config=Separation,
    question="Are unsafe requests held apart from safe ones that look alike, inside the model?",
    measures=("aqi",),
    data="XSTest v2: 250 safe and 200 unsafe prompts with the same words",
    not_measured="whether the model acts on the difference",
    taxonomy=("trust:violence", "trust:unlawful-conduct"),
)
def separation(subject: Subject, cfg: Separation, rng: np.random.Generator) -> list[Reading]:
    """Mean-pooled hidden states of the rendered prompt, no answer decoded; AQI over safe against unsafe."""
    rows = pick(table(locate(cfg.data)), cfg.limit)
    states = subject.states([r["prompt"] for r in rows], layer=cfg.layer, what="separation").astype(np.float64)
    chosen = states[:, 1:] if cfg.layer is None else states
    label = np.array([0.0 if r["type"].startswith("contrast_") else 1.0 for r in rows])
    columns = {"states": chosen, "label": label}
    return [evaluate("aqi", columns, seed=subject.seed, level=cfg.level, indices=cfg.indices)]
