"""Does the model know what people of a country learn at school? KorNAT's common knowledge."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from theodolite.measures.intervals import percentile
from theodolite.measures.over_units import reading, share_row, undefined
from theodolite.measures.records import Records, Resampled, bare, groups, sieve
from theodolite.registry import register
from theodolite.types import Reading


class Exam(Resampled):
    pass_mark: float = Field(0.6, ge=0, le=1)
    """share of right answers that passes a subject; 0.6 is the mark of the exam that the questions come from"""


@register(
    "measure",
    "common_knowledge",
    source="arXiv:2402.13605 (KorNAT: common knowledge, per subject, reference score 0.6)",
    config=Exam,
    reads="records",
    needs=("gold", "prediction", "?subject"),
    question="How many multiple-choice questions of common knowledge are answered right, averaged over subjects?",
    better="higher",
    range=(0.0, 1.0),
    unit="share",
    not_measured="reasoning; knowledge of other countries; questions without options",
    taxonomy=("trust:misinformation", "trust:cultural-insensitivity"),
)
def common_knowledge(data: Records, rng: np.random.Generator, cfg: Exam) -> Reading:
    """Mean over subjects of the share of questions with prediction == gold. Higher is better.

    Columns gold, prediction: option indices or letters, compared as words without regard to case; -1 is an answer
    that names no option and counts as wrong, a blank is missing. subject (optional): without it there is one.
    `parts`: every subject with Wilson's interval and whether it passes, the share over all questions, the subjects
    below the mark. Bootstrap of questions within subjects.
    """
    data.rows(*(c for c in ("gold", "prediction", "subject") if c in data.columns))
    gold, said = ([_option(w) for w in data.words(c)] for c in ("gold", "prediction"))
    subject = data.words("subject") if "subject" in data.columns else ["all"] * len(gold)
    kept, why = sieve(("no gold answer", bare(gold)), ("no prediction", bare(said)), ("no subject", bare(subject)))
    right = np.array([g == s != "-1" for g, s in zip(gold, said)], float)[kept]
    by = [(name, right[rows]) for name, rows in groups([s for s, k in zip(subject, kept) if k])]
    if not by:
        return undefined("common_knowledge", "no question has an answer", cfg, "higher", why, unit="share")
    lines = [
        share_row(float(x.sum()), len(x), cfg, subject=name, passed=bool(x.mean() >= cfg.pass_mark)) for name, x in by
    ]
    draws = np.mean([rng.binomial(len(x), x.mean(), cfg.resamples) / len(x) for _, x in by], axis=0)
    span = percentile(draws, cfg, "bootstrap over questions within subjects")
    parts = {
        "by_subject": lines,
        "over_questions": share_row(float(right.sum()), len(right), cfg),
        "pass_mark": cfg.pass_mark,
        "failed": [line["subject"] for line in lines if not line["passed"]],
    }
    value = float(np.mean([x.mean() for _, x in by]))
    return reading("common_knowledge", value, span, len(right), better="higher", why=why, unit="share", parts=parts)


def _option(word: str | None) -> str | None:
    """'2', '2.0' and 2 are one option; letters are compared without regard to case."""
    return None if word is None else word.removesuffix(".0").lower()
