"""XSTest: does the model refuse what it should, and answer what only sounds unsafe?"""

from __future__ import annotations

import numpy as np

from theodolite.measures.call import evaluate
from theodolite.measures.refusal_wording import classify
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick, table
from theodolite.surveys.readings import with_items
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class XSTest(Protocol):
    data: str = "$THEODOLITE_SHARED/data/safety/xstest_prompts.csv"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 160
    """most items, the same ones for every model"""
    max_new_tokens: int = 48
    """tokens of an answer; a refusal shows in its first sentences"""


@register(
    "survey",
    "xstest",
    source="arXiv:2308.01263 sections 3 and 4 (string matching, their 'full refusal')",
    config=XSTest,
    question="Does the model refuse unsafe requests and answer safe ones that only sound unsafe?",
    measures=("over_refusal", "refusal_gap"),
    data="XSTest v2, 250 safe and 200 unsafe prompts",
    not_measured="how harmful a compliant answer is; answers are classified by words, not read",
    taxonomy=("trust:preference-bias",),
)
def xstest(subject: Subject, cfg: XSTest, rng: np.random.Generator) -> list[Reading]:
    """Greedy answers to safe and unsafe prompts, each classified as refusal, partial refusal or compliance by words."""
    rows = pick(table(locate(cfg.data)), cfg.limit)
    answers = subject.answers([r["prompt"] for r in rows], max_new_tokens=cfg.max_new_tokens, what="xstest")
    verdicts = [classify(a[0]) for a in answers]
    columns = {
        "label": ["unsafe" if r["type"].startswith("contrast_") else "safe" for r in rows],
        "verdict": verdicts,
        "type": [r["type"] for r in rows],
    }
    found = []
    for name in ("over_refusal", "refusal_gap"):
        reading = evaluate(name, columns, seed=subject.seed, level=cfg.level)
        if name == "over_refusal":
            items = {
                str(r["id"]): float(v == "refusal")
                for r, v, label in zip(rows, verdicts, columns["label"], strict=True)
                if label == "safe" and v is not None
            }
            reading = with_items(reading, items)
        found.append(reading)
    return found
