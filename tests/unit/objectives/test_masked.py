"""Mask-DPO, CUT, SALT."""

from __future__ import annotations

import math

import pytest
import torch

from theodolite.errors import DataError


def test_mask_dpo_counts_kept_tokens_only(run, slope):
    data = {
        "policy": [[-1.0, -2.0], [-3.0, -1.0]],
        "reference": [[-1.5, -9.0], [-2.0, -7.0]],
        "weight": [[1, 0], [1, 0]],
        "group": [0, 0],
        "role": ["chosen", "rejected"],
    }
    # kept ratios 0.5 and -1: h = 1.5
    assert float(run("mask_dpo", data).value.detach()) == pytest.approx(0.620957, abs=1e-6)
    assert slope("mask_dpo", data)[:, 1].abs().max() == 0


def test_a_fully_masked_pair_stays_at_log_2(run, slope):
    data = {
        "policy": [[-1.0], [-3.0]],
        "reference": [[-1.5], [-2.0]],
        "weight": [[0], [0]],
        "group": [0, 0],
        "role": ["chosen", "rejected"],
    }
    assert float(run("mask_dpo", data).value.detach()) == pytest.approx(math.log(2))
    assert slope("mask_dpo", data).abs().max() == 0
    one_sided = run("mask_dpo", data | {"weight": [[1], [0]]})
    assert float(one_sided.value.detach()) == pytest.approx(math.log1p(math.exp(-0.05)))


JUDGED = {
    # the second token becomes e^1 times likelier once the judgment is known
    "policy": [[-1.0, -2.0], [-1.2, -1.0]],
    "group": [0, 0],
    "role": ["other", "judged"],
}


def test_cut_golden(run):
    # L1 = (1.2 + 1.0) / 2 = 1.1;  L2 = (1.0 - log(1 - e^-2)) / 2 = (1 + 0.145413) / 2 = 0.572707;  mean 0.836353
    loss = run("cut", JUDGED)
    assert float(loss.value.detach()) == pytest.approx(0.836353, abs=1e-6)
    assert float(loss.metrics["flagged"]) == 0.5
    # alpha 0.5: L2 = (1 + 0.0727066) / 2 = 0.536353
    assert float(run("cut", JUDGED, alpha=0.5).value.detach()) == pytest.approx((1.1 + 0.536353) / 2, abs=1e-6)


def test_cut_pushes_flagged_tokens_down(slope):
    g = slope("cut", JUDGED)
    p = math.exp(-2)
    assert float(g[0, 1]) == pytest.approx(p / (1 - p) / 4)  # alpha p / (1 - p), mean of 2 tokens, half
    assert float(g[0, 0]) == pytest.approx(-0.25)
    assert g[1].tolist() == pytest.approx([-0.25, -0.25])


def test_cut_limits(run, slope):
    never = run("cut", JUDGED, threshold=1e9)
    assert float(never.value.detach()) == pytest.approx((1.1 + 1.5) / 2)  # mean of two SFTs
    assert float(slope("cut", JUDGED, alpha=0)[0, 1]) == 0
    same = JUDGED | {"policy": [[-1.0, -2.0]] * 2}
    assert float(run("cut", same, threshold=1.0).metrics["flagged"]) == 0.0  # strict
    assert float(run("cut", same, threshold=0.9).metrics["flagged"]) == 1.0


def test_cut_without_judgment_is_sft(run):
    data = {"policy": [[-1.0, -2.0], [-3.0]]}
    assert run("cut", data).per_example.tolist() == run("sft", data, reduction="seq_mean").per_example.tolist()


def test_cut_refuses_answers_that_differ(run):
    with pytest.raises(DataError, match="token for token"):
        run("cut", JUDGED | {"policy": [[-1.0, -2.0], [-1.2]]})


def test_a_given_log1mp_is_used(run):
    extra = {"extras": {"log1mp": [[-9.0, -9.0], [-9.0, -9.0]]}}
    # L2 = (1 + 9) / 2 = 5
    assert float(run("cut", JUDGED | extra).value.detach()) == pytest.approx((1.1 + 5) / 2)


EDIT = {
    "policy": [[-1.0, -2.0], [-1.0, -3.0, -0.5]],
    "weight": [[1.0, 1.1], [1.0, -0.1, -0.1]],
    "group": [0, 0],
    "role": ["chosen", "rejected"],
}


def test_salt_golden(run):
    # edited: (1 + 1.1 * 2) / 2 = 1.6
    # removed: -(0.1 log(1 - e^-3) + 0.1 log(1 - e^-0.5)) / 2 = 0.1 (0.051069 + 0.932752) / 2 = 0.0491911
    # 1.6 + 0.1 * 0.0491911 = 1.604919;  with kept_weight 0.5: + 0.5 * 1.0
    assert float(run("salt", EDIT).value.detach()) == pytest.approx(1.604919, abs=1e-6)
    assert float(run("salt", EDIT, kept_weight=0.5).value.detach()) == pytest.approx(2.104919, abs=1e-6)


def test_salt_directions(slope):
    g = slope("salt", EDIT, kept_weight=0)
    assert (g[0, :2] < 0).all()
    assert float(g[1, 0]) == 0
    assert (g[1, 1:] > 0).all()


def test_salt_of_equal_texts_is_sft(run):
    data = {"policy": [[-1.0, -2.0]] * 2, "group": [0, 0], "role": ["chosen", "rejected"]}
    assert float(run("salt", data).value.detach()) == pytest.approx(1.5)


def test_an_almost_certain_removed_token_still_feels_the_push(slope):
    data = {"policy": [[-1.0], [-1e-9]], "weight": [[1.0], [-0.1]], "group": [0, 0], "role": ["chosen", "rejected"]}
    g = slope("salt", data)
    assert torch.isfinite(g).all()
    assert float(g[1, 0]) > 1
