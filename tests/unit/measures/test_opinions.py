"""Similarity of opinions: SciPy's Jensen-Shannon distance, ragged lists, and real survey answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.values.opinions import jensen_shannon_distance, question_shares


def ragged(rows: list) -> np.ndarray:
    column = np.empty(len(rows), dtype=object)
    column[:] = rows
    return column


def table(model: list, human: list, country: list, **more: list) -> Records:
    return Records({"model": ragged(model), "human": ragged(human), "country": country, **more})


HUMAN = [[0.7, 0.2, 0.1], [0.2, 0.8], [0.6, 0.3, 0.1], [0.5, 0.5]]
GOOD = table(
    [[0.6, 0.3, 0.1], [0.3, 0.7], [0.6, 0.3, 0.1], [0.3, 0.7]], HUMAN, ["A", "A", "B", "B"], question=[1, 2, 1, 2]
)
BAD = table(
    [[0.0, 0.1, 0.9], [1.0, 0.0], [0.0, 0.1, 0.9], [1.0, 0.0]], HUMAN, ["A", "A", "B", "B"], question=[1, 2, 1, 2]
)
GAPS = table([[0.5, 0.5], None, [0.1, 0.9]], [[0.5, 0.5], [1.0, 0.0], [math.nan, 1.0]], ["A", "A", "B"])
CASES = {"opinion_similarity": Case(good=GOOD, bad=BAD, undefined=table([None], [[1.0]], ["A"]), missing=(GAPS, 2))}


def test_by_hand() -> None:
    # equal rows: 1; without a common option: 0. A has both, B the first alone: ((1 + 0)/2 + 1)/2
    data = table([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]], [[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]], ["A", "A", "B"])
    got = evaluate("opinion_similarity", data)
    assert got.value == pytest.approx(0.75)
    assert [r["country"] for r in got.parts["by_country"]] == ["B", "A"]
    assert got.parts["spread"] == pytest.approx(0.5)
    natural = evaluate("opinion_similarity", table([[1.0, 0.0]], [[0.0, 1.0]], ["A"]), base="e")
    assert natural.value == pytest.approx(1 - math.sqrt(math.log(2)))


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=4, max_size=4), min_size=2, max_size=2), st.sampled_from(["2", "e"])
)
def test_distance_agrees_with_scipy(rows: list[list[int]], base: str) -> None:
    p, q = (np.array(r, float) for r in rows)
    got = jensen_shannon_distance(p[None], q[None], base)[0]  # type: ignore[arg-type]
    if p.sum() == 0 or q.sum() == 0:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(jensenshannon(p, q, base=2 if base == "2" else math.e), abs=1e-7)


def test_letters() -> None:
    with pytest.raises(DataError, match="row 2: the model has 3 options, people have 2"):
        evaluate("opinion_similarity", table([[1.0, 0.0], [0.2, 0.3, 0.5]], [[0.5, 0.5], [0.5, 0.5]], ["A", "A"]))
    with pytest.raises(DataError, match="row 1, must be a list of probabilities"):
        evaluate("opinion_similarity", table(["half"], [[0.5, 0.5]], ["A"]))
    with pytest.raises(DataError, match="must be a list of probabilities"):
        evaluate("opinion_similarity", table([[-0.5, 1.5]], [[0.5, 0.5]], ["A"]))


def test_interval_resamples_questions_not_rows() -> None:
    # two countries that answer alike on every question: rows doubled, information not
    generator = np.random.default_rng(0)
    human = generator.dirichlet(np.ones(4), 30)
    model = generator.dirichlet(np.ones(4), 30)
    one = table(list(model), list(human), ["A"] * 30, question=list(range(30)))
    two = table([*model, *model], [*human, *human], ["A"] * 30 + ["B"] * 30, question=[*range(30), *range(30)])
    a, b = (evaluate("opinion_similarity", d, resamples=4000) for d in (one, two))
    assert a.value == pytest.approx(b.value)
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.08)


def test_the_parts_of_questions_average_to_the_value() -> None:
    # A answered both questions (1 and 0), B the first alone (1): mean of countries (1/2 + 1)/2 = 3/4
    # question 1: 2/2 (1/2 + 1/1) = 3/2; question 2: 2/2 (0/2) = 0; their mean 3/4
    data = table(
        [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]],
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]],
        ["A", "A", "B"],
        question=["p", "q", "p"],
    )
    got = evaluate("opinion_similarity", data)
    assert got.value == pytest.approx(0.75)
    assert got.parts["by_question"] == pytest.approx({"p": 1.5, "q": 0.0})
    assert got.n == 2
    assert got.method == "bootstrap over questions, all countries of a question together"
    unnamed = evaluate("opinion_similarity", table(list(data["model"]), list(data["human"]), ["A", "A", "B"]))
    assert unnamed.value == got.value
    assert unnamed.method == "bootstrap over rows"
    assert "by_question" not in unnamed.parts


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=20))
def test_parts_of_questions_are_a_mean_whatever_is_missing(rows: list[tuple[int, int, float]]) -> None:
    question, country = (np.unique([r[i] for r in rows], return_inverse=True)[1] for i in (0, 1))
    s = np.array([r[2] for r in rows])
    by = [s[country == c].mean() for c in np.unique(country)]
    assert question_shares(s, country, question).mean() == pytest.approx(np.mean(by))


def population(n: int, rng: np.random.Generator) -> dict[str, list]:
    """n questions, each asked in three to six countries whose answers lie near one another; the model is undecided."""
    human, country, question = [], [], []
    for number in range(n):
        own = rng.beta(1.0, 3.0)  # what is common to a question: how far people are from one half
        for place in rng.choice(6, size=rng.integers(3, 7), replace=False):
            share = float(np.clip(0.5 + 0.5 * own + 0.02 * place + rng.normal(0, 0.02), 0.0, 1.0))
            human.append([share, 1 - share])
            country.append("ABCDEF"[place])
            question.append(str(number))
    return {"model": [[0.5, 0.5]] * len(human), "human": human, "country": country, "question": question}


def test_the_interval_covers_as_often_as_it_says() -> None:
    """150 surveys of 50 questions: about 95 of 100 intervals hold the population's value; drawn by row, far fewer do."""
    rng = np.random.default_rng(7)
    whole = population(20_000, rng)
    s = 1 - jensen_shannon_distance(np.array(whole["model"]), np.array(whole["human"]))
    country = np.array(whole["country"])
    truth = np.mean([s[country == c].mean() for c in "ABCDEF"])
    hits = {"question": 0, "row": 0}
    for number in range(150):
        drawn = population(50, rng)
        for name in hits:
            shown = drawn if name == "question" else {k: v for k, v in drawn.items() if k != "question"}
            got = evaluate("opinion_similarity", table(**shown), resamples=200, seed=number)
            hits[name] += got.low <= truth <= got.high
    assert 0.90 <= hits["question"] / 150 <= 0.985  # a percentile bootstrap of 50 skewed units is a little narrow
    assert hits["row"] / 150 < 0.70


def test_on_real_answers(shared: Path) -> None:
    rows = json.loads((shared / "values" / "globalopinionqa_country_2000.json").read_text(encoding="utf-8"))
    rows = [r for r in rows if sum(r["distribution"]) > 0]
    human = [r["distribution"] for r in rows]
    model = [[1 / len(h)] * len(h) for h in human]
    got = evaluate(
        "opinion_similarity", table(model, human, [r["country"] for r in rows], question=[r["question"] for r in rows])
    )
    by: dict[str, list[float]] = {}
    for r, m in zip(rows, model):
        by.setdefault(r["country"], []).append(1 - jensenshannon(m, r["distribution"], base=2))
    assert got.value == pytest.approx(np.mean([np.mean(v) for v in by.values()]))
    assert {r["country"]: r["value"] for r in got.parts["by_country"]} == pytest.approx(
        {c: np.mean(v) for c, v in by.items()}
    )
    assert got.low < got.value < got.high
