"""Stemming and BM25: worked numbers, limits, and a slow obvious version."""

from __future__ import annotations

import datetime
import math
from collections import Counter

import pytest

from theodolite.catalogue.index import Paper, papers
from theodolite.catalogue.words import K1, WEIGHTS, B, Words, fields, stem, tokens


def paper(key: str, title: str, does: str = "x", **rest: object) -> Paper:
    return Paper.model_validate(
        {"key": key, "title": title, "does": does, "families": ("data",), "stage": "collect", "wave": 1} | rest
    )


@pytest.mark.parametrize(
    ("words", "root"),
    [
        ("judge judges judging judged judgment judgments", "judg"),
        ("noise noisy", "nois"),
        ("bias biased biases", "bias"),
        ("calibrate calibrated calibrating calibration", "calibr"),
        ("prefer preferred preference preferences preferring", "prefer"),
        ("label labels labeled labelled labelling", "label"),
        ("align aligned aligning alignment", "align"),
        ("refuse refuses refused refusal", "refus"),
        ("train trains trained training", "train"),
        ("policy policies", "polic"),
        ("cost costs", "cost"),
        ("kl", "kl"),
        ("dpo", "dpo"),
        ("loss", "los"),
    ],
)
def test_one_root(words: str, root: str) -> None:
    assert {stem(w) for w in words.split()} == {root}


def test_tokens_fold_case_accents_and_apostrophes() -> None:
    assert tokens("Krippendorff's α: the Judge's NAÏVE-best_of_n!") == ["krippendorf", "judg", "naiv", "best", "n"]
    assert tokens("2305.18290") == ["2305", "18290"]
    assert tokens("") == tokens("the of and") == []


def test_a_worked_score() -> None:
    # two papers with one word each in the title; 'cat' stands in one of them, lengths are equal to the mean, so
    # f = 2.5 (title) and idf = log(1 + (2 - 1 + 0.5)/(1 + 0.5)) = log 2; impact = log 2 * 2.2 * 2.5 / (1.2 + 2.5)
    made = Words([paper("a", "cat"), paper("b", "dog")])
    assert made.scores("cats")[0] == pytest.approx(math.log(2) * 2.2 * 2.5 / 3.7)
    assert made.scores("cats")[1] == 0
    assert made.scores("bird") == [0, 0]


def test_a_word_asked_twice_counts_once_and_order_is_irrelevant() -> None:
    made = Words(papers())
    assert made.scores("noisy labels") == made.scores("labels noisy noise")


def test_an_unknown_word_counts_as_the_beginning_of_known_ones() -> None:
    made = Words([paper("a", "hallucination"), paper("b", "dog")])
    assert made.scores("hallu")[0] == pytest.approx(0.5 * made.scores("hallucinations")[0])
    assert made.scores("ha") == [0, 0]


def test_against_the_slow_obvious_version() -> None:
    found = papers()[:40]
    rows = [{f: tokens(t) for f, t in fields(p).items()} for p in found]
    mean = {f: sum(len(r[f]) for r in rows) / len(rows) for f in WEIGHTS}

    def slow(query: str, row: dict[str, list[str]]) -> float:
        total = 0.0
        for word in set(tokens(query)):
            df = sum(any(word in r[f] for f in r) for r in rows)
            f = sum(
                WEIGHTS[n] * Counter(row[n])[word] / (1 - B + B * len(row[n]) / mean[n]) for n in WEIGHTS if mean[n]
            )
            total += math.log(1 + (len(rows) - df + 0.5) / (df + 0.5)) * (K1 + 1) * f / (K1 + f) if f else 0.0
        return total

    for query in ("preference pairs of noisy judges", "hallucination", "training data for reward models"):
        assert Words(found).scores(query) == pytest.approx([slow(query, r) for r in rows])


def test_methods_and_facets_can_be_searched() -> None:
    one = paper("a", "t", runs={"objective:mask_dpo": datetime.date(2026, 1, 1)}, tags=("trust:hallucination",))
    made = Words([one, paper("b", "u")])
    assert made.scores("mask")[0] > 0
    assert made.scores("hallucinations")[0] > 0
