"""Reading times: slopes against statsmodels, surprisal by word, ten stories read by people."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.reading_time import cluster_slopes, word_surprisal
from theodolite.measures.records import Records


def words(n: int = 200, slope: float = 3.0, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 12, n).astype(float)
    surprisal = rng.gamma(2.0, 2.0, n) + 0.3 * length
    story = np.repeat(np.arange(10), n // 10)
    time = 300 + slope * surprisal + 5 * length + rng.normal(scale=20, size=n) + 10 * (story % 3)
    return {"surprisal": surprisal, "reading_time": time, "word_length": length, "story": story}


def with_gaps() -> Records:
    data = words()
    data["surprisal"][2], data["reading_time"][[3, 4]], data["word_length"][5] = math.nan, math.nan, math.nan
    data["sentence_start"] = np.arange(200) % 50 == 10
    return Records(data)


CASES = {
    "reading_time_slope": Case(
        good=Records(words()),
        undefined=Records({"surprisal": np.ones(30), "reading_time": np.arange(30.0)}),
        missing=(with_gaps(), 8),
    )
}


def test_surprisal_by_hand() -> None:
    # "The cat's mat" in tokens The| cat|'s| mat: letters begin at 0, 4, 7, 10; words at 0, 4, 10
    logps = np.log([0.5, 0.25, 0.5, 0.125])
    assert word_surprisal(logps, [0, 4, 7, 10], [0, 4, 10]) == pytest.approx([1, 3, 3])
    got = word_surprisal([math.nan, -1.0], [0, 4], [0, 4, 9])
    assert math.isnan(got[0])
    assert got[1] == pytest.approx(1 / math.log(2))
    assert math.isnan(got[2])  # no token begins there
    assert word_surprisal(np.full(6, -math.log(50)), np.arange(6), [0, 2]) == pytest.approx(
        [2 * math.log2(50), 4 * math.log2(50)]
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_slopes_equal_statsmodels(seed: int) -> None:
    sm = pytest.importorskip("statsmodels.api")
    data = words(seed=seed)
    full = sm.OLS(data["reading_time"], sm.add_constant(np.c_[data["surprisal"], data["word_length"]])).fit()
    control = sm.OLS(data["reading_time"], sm.add_constant(data["word_length"])).fit()
    got = evaluate("reading_time_slope", data, resamples=100)
    assert got.value == pytest.approx(full.params[1])
    assert got.parts["r2"] == pytest.approx(full.rsquared)
    assert got.parts["r2_controls"] == pytest.approx(control.rsquared)
    assert got.parts["delta_loglik"] == pytest.approx(full.llf - control.llf)
    scale = data["surprisal"].std() / data["reading_time"].std()
    assert got.parts["standardised"] == pytest.approx(full.params[1] * scale)
    alone = evaluate("reading_time_slope", data, resamples=100, controls=())
    assert alone.parts["pearson"] == pytest.approx(np.corrcoef(data["surprisal"], data["reading_time"])[0, 1])
    assert alone.parts["standardised"] == pytest.approx(alone.parts["pearson"])


def test_bootstrap_equals_a_loop_over_resamples() -> None:
    data = words()
    x, y, story = np.c_[np.ones(200), data["surprisal"]], data["reading_time"], data["story"]
    fast = cluster_slopes(x, y, story, np.random.default_rng(3), 20)
    counts = np.random.default_rng(3).multinomial(10, np.full(10, 0.1), size=20)
    for row, count in zip(fast, counts, strict=True):
        rows = np.concatenate([np.flatnonzero(story == s) for s in range(10) for _ in range(count[s])])
        np.testing.assert_allclose(row, np.linalg.lstsq(x[rows], y[rows], rcond=None)[0], rtol=1e-8)


def test_interval_and_letters() -> None:
    got = evaluate("reading_time_slope", words())
    assert got.low < 3.0 < got.high
    assert got.method == "cluster bootstrap over stories"
    lone = words() | {"story": np.zeros(200)}
    assert math.isnan(evaluate("reading_time_slope", lone).low)
    no_story = {k: v for k, v in words().items() if k != "story"}
    assert evaluate("reading_time_slope", no_story).method == "cluster bootstrap over words"
    with pytest.raises(DataError, match="log_frequency"):
        evaluate("reading_time_slope", words(), controls=("log_frequency",))
    twice = words() | {"log_frequency": 2 * words()["word_length"] + 1}
    assert math.isnan(evaluate("reading_time_slope", twice).value)  # one control is the other
    assert math.isnan(evaluate("reading_time_slope", {k: v[:5] for k, v in words().items()}).value)


def test_a_perfect_line() -> None:
    data = {"surprisal": np.arange(20.0), "reading_time": 200 + 4 * np.arange(20.0)}
    got = evaluate("reading_time_slope", data)
    assert (got.value, got.low, got.high) == pytest.approx((4, 4, 4))
    assert got.parts["abs_pearson"] == pytest.approx(1)


def stories(shared: Path) -> dict[str, list[object]]:
    """One row a word of Natural Stories: GPT-3's surprisal, mean self-paced reading time, and what controls for it."""
    folder = shared / "cognition"
    with open(folder / "naturalstories_gpt3_logprobs.csv", newline="", encoding="utf-8") as file:
        tokens = list(csv.DictReader(file))
    with open(folder / "naturalstories_all_stories.tok.tsv", newline="", encoding="utf-8") as file:
        spelled = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    with open(folder / "naturalstories_wordinfo_rt.tsv", newline="", encoding="utf-8") as file:
        timed = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    times = {(r["item"], r["zone"]): float(r["meanItemRT"]) for r in timed}
    count = Counter(r["word"].strip(".,;:!?'\"").lower() for r in spelled)
    found: dict[str, list[object]] = {}
    for story in range(10):
        mine = [t for t in tokens if t["story"] == str(story)]
        text = "".join(t["token"] for t in mine)
        lengths = np.array([len(t["token"]) for t in mine])
        begin = np.cumsum(lengths) - lengths + [len(t["token"]) - len(t["token"].lstrip()) for t in mine]
        logps = [float(t["logprob"] or "nan") for t in mine]
        rows, places, at = [], [], 0
        for r in (r for r in spelled if r["item"] == str(story + 1)):
            place = text.find(r["word"], at)
            if 0 <= place < at + 30:
                rows.append(r)
                places.append(place)
                at = place + len(r["word"])
        surprisal = word_surprisal(logps, begin, places)
        previous: dict[str, float] = {"word_length": math.nan, "log_frequency": math.nan, "surprisal": math.nan}
        ended = True
        for r, bits in zip(rows, surprisal, strict=True):
            here = {
                "word_length": float(len(r["word"])),
                "log_frequency": math.log(count[r["word"].strip(".,;:!?'\"").lower()]),
                "surprisal": float(bits),
            }
            row = here | {f"previous_{k}": v for k, v in previous.items()}
            row |= {"story": story, "sentence_start": ended, "reading_time": times[r["item"], r["zone"]]}
            for k, v in row.items():
                found.setdefault(k, []).append(v)
            previous, ended = here, r["word"].rstrip("'\"")[-1:] in (".", "!", "?")
    return found


def test_people_slow_down_where_gpt3_is_surprised(shared: Path) -> None:
    data = stories(shared)
    got = evaluate("reading_time_slope", data)
    assert got.n > 9000
    assert 0.5 < got.low < got.value < got.high < 6, got
    assert got.parts["delta_loglik"] > 50
    assert 0.1 < got.parts["pearson"] < 0.5
    alone = evaluate("reading_time_slope", data, controls=())
    assert alone.value > got.value  # long and rare words are slow and surprising
    rng = np.random.default_rng(0)
    scrambled = data | {"surprisal": rng.permutation(np.array(data["surprisal"], float))}
    assert evaluate("reading_time_slope", scrambled).value == pytest.approx(0, abs=0.5)
