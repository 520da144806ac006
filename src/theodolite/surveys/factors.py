"""PROFILE: which features of an answer does the model reward, and are they those that people reward?"""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np

from theodolite.measures.call import evaluate
from theodolite.registry import register
from theodolite.surveys.protocol import Protocol, locate, pick
from theodolite.surveys.subject import Subject
from theodolite.types import Reading

FACTORS = ("longer", "more sentences", "more new words", "more varied words", "more lists", "more numbers")


class Factors(Protocol):
    data: str = "$THEODOLITE_SHARED/data/preference/pandalm_testset_v1.json"
    """where the items lie; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = 120
    """most pairs, the same ones for every model"""


@register(
    "survey",
    "factors",
    source="PROFILE arXiv:2410.06965 sections 3 and 4; the factors that a program can count",
    config=Factors,
    question="Which features of an answer does the model reward, and are they those that people reward?",
    measures=("factor_agreement",),
    data="PandaLM test set: 999 pairs of answers with three annotators each",
    not_measured="factors that must be read, such as fluency, helpfulness and hallucination",
    taxonomy=("trust:preference-bias", "goal:human-preferences"),
)
def factors(subject: Subject, cfg: Factors, rng: np.random.Generator) -> list[Reading]:
    """The model prefers the answer it finds likelier a token; people the one most annotators chose (no majority: tie).

    Factor scores are tau over pairs; the reading is the rank correlation of the model's six scores with people's.
    """
    rows = pick(json.loads(locate(cfg.data).read_text(encoding="utf-8")), cfg.limit)
    rows = [r for r in rows if r["response1"].strip() and r["response2"].strip()]
    prompts = [r["instruction"] + (f"\n\n{r['input']}" if r["input"] else "") for r in rows]
    found = subject.options(prompts, [(r["response1"], r["response2"]) for r in rows], what="factors")
    gaps = np.array([f.logp[0] / f.tokens[0] - f.logp[1] / f.tokens[1] for f in found])
    human = [_majority([int(r[f"annotator{k}"]) for k in (1, 2, 3)]) for r in rows]
    shown = [
        np.sign(np.subtract(_features(a, p), _features(b, p)))
        for p, a, b in zip(prompts, (r["response1"] for r in rows), (r["response2"] for r in rows), strict=True)
    ]
    columns = {"preference": np.sign(gaps), "manifestations": np.array(shown), "human": human}
    return [evaluate("factor_agreement", columns, seed=subject.seed, level=cfg.level, factors=FACTORS)]


def _majority(votes: list[int]) -> int:
    """+1 where most chose the first answer, -1 the second, 0 for a tie or no majority."""
    vote, count = Counter(votes).most_common(1)[0]
    return {1: 1, 2: -1}.get(vote, 0) if count >= 2 else 0


def _features(text: str, prompt: str) -> list[float]:
    words = re.findall(r"\w+", text.lower())
    asked = set(re.findall(r"\w+", prompt.lower()))
    return [
        float(len(words)),
        float(len(re.findall(r"[.!?](?:\s|$)", text))),
        sum(w not in asked for w in words) / max(len(words), 1),
        len(set(words)) / max(len(words), 1),
        float(len(re.findall(r"^\s*(?:[-*•]|\d+[.)])\s", text, flags=re.M))),
        float(len(re.findall(r"\d+", text))),
    ]
