"""Each measure: a number by hand, a limit, what is missing, and a direction that can be wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from theodolite import registry
from theodolite.measures.evidence import Evidence, PairLogps
from theodolite.measures.paired import paired
from theodolite.types import Example, Reading, Response


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def answer(*passed: bool, tokens: int = 3, finish: str = "stop") -> Response:
    marks = {f"rule#{i}": p for i, p in enumerate(passed)}
    return Response(
        "x", tokens=(1,) * tokens, finish=finish, meta={"checks": marks, "checks_loose": dict.fromkeys(marks, True)}
    )  # type: ignore[arg-type]


def side(*prompts: list[Response]) -> list[Example]:
    return [Example.of(f"q{i}", *answers, id=str(i)) for i, answers in enumerate(prompts)]


EVIDENCE = Evidence(
    before=side(
        [answer(True), answer(False)], [answer(False), answer(False)], [answer(False, True), answer(True, True)]
    ),
    after=side(
        [answer(True), answer(True)], [answer(True), answer(False)], [answer(True, True), answer(True, True, tokens=9)]
    ),
)


def read(name: str, evidence: Evidence = EVIDENCE) -> dict[str, Reading]:
    return {r.name: r for r in registry.get("measure", name).function(evidence, rng())}


def test_pass_rate_by_hand() -> None:
    got = read("pass_rate")
    # prompts before: 1/2, 0, 1/2 ; after: 1, 1/2, 1
    assert got["pass_rate.before"].value == pytest.approx(1 / 3)
    assert got["pass_rate.after"].value == pytest.approx(2.5 / 3)
    assert got["pass_rate.difference"].value == pytest.approx(0.5)
    assert got["pass_rate.difference"].p_value == pytest.approx(2 / 8)  # three differences of one sign
    assert got["pass_rate.difference"].n == 3
    row = got["pass_rate.difference"].parts["by_constraint"][0]
    assert row["constraint"] == "rule"
    assert row["before"] == pytest.approx((1 + 0 + 0 + 0 + 1 + 2) / 8)
    assert row["n"] == 3


def test_loose_and_instruction_level() -> None:
    assert read("pass_rate_loose")["pass_rate_loose.before"].value == 1.0
    assert read("constraint_rate")["constraint_rate.before"].value == pytest.approx((0.5 + 0 + 0.75) / 3)


def test_unchecked_answers_are_missing_not_wrong() -> None:
    before = side([answer(True)], [Response("never checked")])
    got = registry.get("measure", "pass_rate").function(Evidence(before=before, after=before), rng())
    assert [r.value for r in got] == [1.0, 1.0, 0.0]
    assert got[2].n == 1
    assert got[2].missing == 2
    assert got[2].why == {"value missing": 2}


def test_one_yes_or_no_a_prompt_gets_the_exact_test() -> None:
    before = [[0.0]] * 9 + [[1.0]] * 3
    after = [[1.0]] * 8 + [[0.0]] + [[0.0]] + [[1.0]] * 2
    last = paired("x", before, after, rng())[2]
    assert "McNemar" in last.method
    assert last.p_value == pytest.approx(2 * (1 + 9) / 2**9)
    assert last.low < last.value < last.high


def test_nothing_is_nan_with_a_reason() -> None:
    for reading in paired("x", [[math.nan]], [[math.nan]], rng()):
        assert math.isnan(reading.value)
        assert reading.note


def test_kl_by_hand() -> None:
    policy = [[np.array([-1.0, -1.0]), np.array([-2.0])], [np.array([-1.0, -1.0, -1.0])]]
    reference = [[np.array([-1.5, -1.5]), np.array([-4.0])], [np.array([-2.0, -2.0, -2.0])]]
    got = read("kl", Evidence(policy_logps=policy, reference_logps=reference))
    # responses: 1, 2 -> prompt 1.5 ; 3 -> prompt 3 ; mean 2.25. tokens a prompt: 1.5 and 3 -> 4.5 nats in 4.5 tokens
    assert got["kl"].value == pytest.approx(2.25)
    assert got["kl.per_token"].value == pytest.approx(1.0)
    same = read("kl", Evidence(policy_logps=policy, reference_logps=policy))
    assert same["kl"].value == 0.0


def test_length_and_truncation() -> None:
    assert read("length")["length.difference"].value == pytest.approx((3 + 3 + 6) / 3 - 3)
    cut = side([answer(True, finish="length"), answer(True)])
    assert read("truncated", Evidence(before=cut, after=cut))["truncated.before"].value == 0.5


def pairs(after_chosen: list[float]) -> Evidence:
    n = len(after_chosen)
    base, length = np.full(n, -10.0), np.full(n, 5.0)
    return Evidence(pairs=PairLogps(base, base, np.array(after_chosen), base, length, 2 * length))


def test_reward_accuracy_counts_ties_half() -> None:
    got = read("reward_accuracy", pairs([-9.0, -9.5, -10.0, -11.0]))
    assert got["reward_accuracy.before"].value == 0.5
    assert got["reward_accuracy.after"].value == pytest.approx((1 + 1 + 0.5 + 0) / 4)


def test_likelihood_accuracy_is_length_normalised() -> None:
    # before: -10/5 = -2 against -10/10 = -1: the chosen loses; after -4/5 against -1: it wins
    got = read("likelihood_accuracy", pairs([-4.0]))
    assert (got["likelihood_accuracy.before"].value, got["likelihood_accuracy.after"].value) == (0.0, 1.0)
    assert read("chosen_logratio", pairs([-9.0, -13.0]))["chosen_logratio"].value == pytest.approx(-1.0)


def test_best_of_n_by_hand() -> None:
    got = read("best_of_n")["best_of_n"]
    # K = 2; passing answers 1, 0, 1: best of 1 = mean(1/2, 0, 1/2), best of 2 = mean(1, 0, 1)
    assert [c["value"] for c in got.parts["curve"]] == pytest.approx([1 / 3, 2 / 3])
    assert [c["kl"] for c in got.parts["curve"]] == pytest.approx([0.0, math.log(2) - 0.5])


@pytest.mark.parametrize("name", registry.names("measure"))
def test_every_measure_has_a_card(name: str) -> None:
    entry = registry.get("measure", name)
    assert entry.question.endswith("?")
    assert entry.better in ("higher", "lower", "neither")
    assert entry.not_measured
