"""Psycholinguistic norms: does the model rate words as people do?"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from theodolite.errors import DataError, did_you_mean
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.norms import expected_rating
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.subject import Subject
from theodolite.types import Reading

SCALES: dict[str, tuple[str, int, int, str]] = {
    # norm: (column of the Glasgow norms, low, high, what is asked)
    "valence": ("ENGLISH_VALENCE_MEAN", 1, 9, "how pleasant is what the word means (1 = very unpleasant, 9 = very pleasant)"),
    "arousal": ("ENGLISH_AROUSAL_MEAN", 1, 9, "how exciting is what the word means (1 = very calm, 9 = very exciting)"),
    "concreteness": ("ENGLISH_CONCRETENESS_MEAN", 1, 7, "how concrete is the word (1 = very abstract, 7 = very concrete)"),
    "familiarity": ("ENGLISH_FAMILIARITY_MEAN", 1, 7, "how familiar is the word (1 = very unfamiliar, 7 = very familiar)"),
    "size": ("ENGLISH_SEM_SIZE_MEAN", 1, 7, "how big is what the word means (1 = very small, 7 = very big)"),
}  # fmt: skip


class Norms(Protocol):
    data: str = "$THEODOLITE_SHARED/data/cognition/glasgow_norms_norare.tsv"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 120
    """most items, the same ones for every model"""
    norms: tuple[str, ...] = ("valence", "concreteness")
    """which norms: valence, arousal, concreteness, familiarity, size"""


@register(
    "survey",
    "norms",
    source="Glasgow Norms (Scott et al. 2019); weighted rating as in arXiv:2506.22439",
    config=Norms,
    question="Does the model rate words as people do?",
    measures=("norm_alignment",),
    data="Glasgow norms (NoRaRe), 1,614 concepts",
    not_measured="words of other languages, and words in context",
    taxonomy=("goal:human-values",),
)
def norms(subject: Subject, cfg: Norms, rng: np.random.Generator) -> list[Reading]:
    """One question a word and norm; the rating is the mean of the scale's integers under the model's next-token law.

    Correlation with the mean human rating over words, one reading a norm.
    """
    if unknown := [n for n in cfg.norms if n not in SCALES]:
        raise DataError(f"no norm is called '{unknown[0]}'.{did_you_mean(unknown[0], SCALES)}")
    with locate(cfg.data).open(encoding="utf-8", newline="") as file:
        rows = pick(list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)), cfg.limit)
    return [_norm(subject, cfg, name, rows) for name in cfg.norms]


def _norm(subject: Subject, cfg: Norms, name: str, rows: Sequence[dict[str, str]]) -> Reading:
    column, low, high, asked = SCALES[name]
    prompts = [
        f"On a scale from {low} to {high}, {asked}?\nWord: {r['ENGLISH']}\nAnswer with one number." for r in rows
    ]
    digits = [str(k) for k in range(low, high + 1)]
    found = subject.choices(prompts, [digits] * len(rows), what=f"norms: {name}")
    model, covered = expected_rating(np.array([f.logp for f in found]), (low, high))
    human = [float(r[column]) if r[column] else float("nan") for r in rows]
    made = evaluate("norm_alignment", {"model": model, "human": human}, seed=subject.seed, level=cfg.level)
    return replace(
        made, name=f"norms.{name}", parts={**made.parts, "covered_mass": float(covered.mean()), "chance": 0.0}
    )
