"""SPO and SCIR, both experimental."""

from __future__ import annotations

import math

import pytest

from theodolite.errors import DataError
from theodolite.objectives.combine import parse

LOG2 = math.log(2)


def test_spo_adds_the_degree_classifier(run, golden):
    data = {
        "policy": [*golden["policy"], [-1.0], [-1.0]],
        "reference": [*golden["reference"], [-1.0], [-1.0]],
        "group": [0] * 4,
        "role": ["chosen", "rejected", "other", "other"],
        "score": [None, None, 0, 2],
        "extras": {"degree_logits_row": [[0.0] * 4] * 4},
    }
    # an untrained head: CE = log 4
    assert float(run("spo", data).value.detach()) == pytest.approx(0.620957 + 0.1 * math.log(4), abs=1e-6)
    assert float(run("spo", data, degree_weight=0).value.detach()) == pytest.approx(0.620957, abs=1e-6)
    with pytest.raises(DataError, match="removal degree"):
        run("spo", data | {"score": [None, None, 0, 4]})


def votes(h, judge):
    """One pair with gap h (nats) and a judge whose log-odds for the chosen answer are `judge`, in each order."""
    rows = [[h], [0.0]] + [[x] for j in judge for x in (j, 0.0)]
    return {
        "policy": rows,
        "reference": [[0.0]] * len(rows),
        "group": [0] * len(rows),
        "role": ["chosen", "rejected"] + ["judged"] * (2 * len(judge)),
        "label": [None, None] + [1, 0] * len(judge),
        "score": [None, None] + [o for o in range(len(judge)) for _ in (0, 1)],
    }


def test_scir_starts_at_log_2_whatever_the_judge_says(run):
    for judge in ([0.0, 0.0], [3.0, 1.0], [-5.0, 2.0]):
        assert float(run("scir", votes(0.0, judge)).value.detach()) == pytest.approx(LOG2)
    assert parse([{"name": "scir", "consistency_weight": 2.0}]).start == pytest.approx(2 * LOG2)
    assert parse([{"name": "scir", "consistency": "symmetric_kl"}]).start is None


def test_scir_golden(run):
    # beta h = 1: p1 = 0.731059; judge log-odds 1 and 3: p2 = (0.731059 + 0.952574) / 2 = 0.841816
    # agreement: -log(0.615417 + 0.042541) = 0.418614; both prefer chosen: + log(1 + e^-1) = 0.313262
    assert float(run("scir", votes(10.0, [1.0, 3.0])).value.detach()) == pytest.approx(0.731876, abs=2e-6)


def test_scir_keeps_only_pairs_both_agree_on(run):
    assert float(run("scir", votes(10.0, [2.0])).metrics["kept"]) == 1.0
    assert float(run("scir", votes(10.0, [-2.0])).metrics["kept"]) == 0.0
    assert float(run("scir", votes(1.0, [2.0]), threshold=0.2).metrics["kept"]) == 0.0


def test_scir_does_not_know_which_answer_is_called_chosen(run):
    a = votes(7.0, [1.0, -0.5])
    b = a | {"role": ["rejected", "chosen", *a["role"][2:]], "label": [None, None, 0, 1, 0, 1]}
    assert float(run("scir", a).value.detach()) == pytest.approx(float(run("scir", b).value.detach()))
    for option in ("agreement", "symmetric_kl"):
        x, y = run("scir", a, consistency=option).value, run("scir", b, consistency=option).value
        assert float(x.detach()) == pytest.approx(float(y.detach()))


def test_scir_symmetric_kl(run):
    # p1 = sigmoid(1), p2 = sigmoid(3): (p1 - p2) (1 - 3) = 0.221515 * 2; plus DPO 0.313262
    loss = run("scir", votes(10.0, [3.0]), consistency="symmetric_kl")
    assert float(loss.value.detach()) == pytest.approx(2 * (0.952574 - 0.731059) + 0.313262, abs=2e-6)


def test_an_undecided_judge_leaves_the_policy_alone(slope):
    g = slope("scir", votes(5.0, [0.0, 0.0]))
    assert g[:2].abs().max() < 1e-12
    assert g[2:].abs().max() > 0  # the judge is drawn to the policy's view


def test_scir_refuses_half_a_vote(run):
    data = votes(1.0, [1.0])
    data["label"] = [None, None, 1, 1]
    with pytest.raises(DataError, match="JUDGED rows in pairs"):
        run("scir", data)
