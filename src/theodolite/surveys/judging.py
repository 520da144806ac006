"""LLMBar: as a judge of two answers, does the model go with people, and does it keep its mind when they change places?"""

from __future__ import annotations

import json

import numpy as np

from theodolite.judges.norms import rubrics_for
from theodolite.judges.verdict import Comparison
from theodolite.judges.wording import NAMES, pair_messages
from theodolite.measures.call import evaluate
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.readings import with_items
from theodolite.surveys.subject import Subject
from theodolite.types import Reading


class Judging(Protocol):
    data: str = "$THEODOLITE_SHARED/data/preference/llmbar_natural.json"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 100
    """most pairs, the same ones for every model"""


@register(
    "survey",
    "judging",
    source="arXiv:2310.07641 (LLMBar), both orders; verdict from next-token probabilities",
    config=Judging,
    question="As a judge of two answers, does the model go with people, in whichever order it sees them?",
    measures=("judge_accuracy", "position_bias", "swap_consistency"),
    data="LLMBar Natural, 100 pairs with an agreed label",
    not_measured="verdicts that the model would reason out before giving them; `theodolite judge-eval` does",
    taxonomy=("trust:inconsistency",),
)
def judging(subject: Subject, cfg: Judging, rng: np.random.Generator) -> list[Reading]:
    """P('A') against P('B') behind the pair and the norms of its kind of task, in both orders.

    judge_accuracy: the verdict is the answer with the higher mean probability over the two orders; chance is 50 %.
    """
    rows = pick(json.loads(locate(cfg.data).read_text(encoding="utf-8")), cfg.limit)
    pairs = [Comparison.of(r["input"], r["output_1"], r["output_2"]) for r in rows]
    prompts = []
    for pair, rubric in zip(pairs, rubrics_for(pairs, "rules", None), strict=True):
        prompts += [pair_messages(p, rubric, critique=False, tie=False) for p in (pair, pair.swapped())]
    found = subject.choices(prompts, [NAMES] * len(prompts), what="judging")
    first = np.array([f.probability[0] for f in found[::2]])
    second = np.array([f.probability[1] for f in found[1::2]])  # of the same answer, shown second
    human = ["A" if int(r["label"]) == 1 else "B" for r in rows]
    verdict = np.where(first + second > 1, "A", "B")
    orders = {"first_order": np.where(first > 0.5, "A", "B"), "swapped_order": np.where(second > 0.5, "A", "B")}
    accuracy = evaluate("judge_accuracy", {"verdict": verdict, "human": human}, seed=subject.seed, level=cfg.level)
    items = {r["input"]: float(v == h) for r, v, h in zip(rows, verdict, human, strict=True)}
    return [
        with_items(accuracy, items, chance=0.5),
        evaluate("position_bias", orders, seed=subject.seed, level=cfg.level),
        evaluate("swap_consistency", orders, seed=subject.seed, level=cfg.level),
    ]
