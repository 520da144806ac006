from __future__ import annotations

import json
import math

import pytest
import torch

from theodolite.types import Example, Loss, Reading, Response, Role, Span, TokenLogps


def test_an_example_survives_json() -> None:
    made = Example.of(
        "Hi",
        Response("Yo", score=0.5, spans=(Span(0, 2, "ok"),), tokens=(3, 4), logps=(-0.5, -1.0), meta={"a": 1}),
        "No",
        id="7",
        topic="x",
    )
    assert Example.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_a_reading_writes_nan_as_null() -> None:
    row = Reading("x", math.nan, note="nothing", parts={"a": [math.inf, 1.0]}).to_json()
    assert row["value"] is None
    assert row["parts"] == {"a": [None, 1.0]}
    assert "undefined (nothing)" in str(Reading("x", math.nan, note="nothing"))


def logps(policy: list[list[float]], weight: list[list[float]], role: list[int], group: list[int]) -> TokenLogps:
    n = len(policy)
    return TokenLogps(
        torch.tensor(policy, dtype=torch.float64),
        torch.tensor(weight),
        torch.tensor(group),
        torch.tensor(role),
        torch.full((n,), math.nan),
        torch.full((n,), -1),
        reference=torch.zeros(n, len(policy[0]), dtype=torch.float64),
    )


def test_masked_positions_never_leak() -> None:
    p = logps([[-1.0, -math.inf], [-2.0, math.nan]], [[1, 0], [0.5, 0]], [Role.REJECTED, Role.CHOSEN], [0, 0])
    assert p.logp().tolist() == [-1.0, -1.0]
    assert p.lengths.tolist() == [1.0, 1.0]
    assert [r.tolist() for r in p.pairs()] == [[1], [0]]


def test_pairs_need_one_of_each() -> None:
    with pytest.raises(ValueError, match="one chosen and one rejected"):
        logps([[-1.0], [-1.0]], [[1], [1]], [Role.CHOSEN, Role.CHOSEN], [0, 1]).pairs()


def test_a_loss_is_a_weighted_mean() -> None:
    loss = Loss(torch.tensor([1.0, 3.0]), torch.tensor([3.0, 1.0]))
    assert float(loss.value) == 1.5  # (1*3 + 3*1) / 4
    assert loss.count == 4
    assert float(Loss(torch.tensor([1.0, 3.0])).value) == 2.0
