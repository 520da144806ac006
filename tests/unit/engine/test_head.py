from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from theodolite.engine import head as heads
from theodolite.engine.head import Head, divergence, score
from theodolite.errors import UsageError


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """So small that every test crosses block and row borders."""
    monkeypatch.setattr(heads, "BLOCK", 7)
    monkeypatch.setattr(heads, "ROWS", 3)


class Wrapped(nn.Module):
    """A head that is not a bare linear layer."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x):
        return self.linear(x)


def case(bias=False, trained=True, dtype=torch.float64, rows=8, vocabulary=23):
    torch.manual_seed(0)
    linear = nn.Linear(5, vocabulary, bias=bias, dtype=dtype)
    with torch.no_grad():
        linear.weight.mul_(4)
    linear.requires_grad_(trained)
    hidden = torch.randn(rows, 5, dtype=dtype, requires_grad=True)
    return linear, hidden, torch.randint(0, vocabulary, (rows,))


def obvious(hidden, head, targets):
    logp = head.logits(hidden).log_softmax(-1)
    chosen = logp.gather(1, targets[:, None])[:, 0]
    return {"logp": chosen, "log1mp": torch.log1p(-chosen.exp()), "entropy": -(logp.exp() * logp).sum(-1)}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize(("bias", "cap", "scale"), [(False, None, 1.0), (True, None, 0.5), (True, 3.0, 2.0)])
def test_values_and_gradients_equal_log_softmax(wrapped, trained, bias, cap, scale):
    linear, hidden, targets = case(bias, trained)
    head = Head(Wrapped(linear) if wrapped else linear, cap, scale)
    assert head.linear is not wrapped
    inputs = [hidden, *linear.parameters()] if trained else [hidden]
    want, got = obvious(hidden, head, targets), score(hidden, head, targets, ("log1mp", "entropy"))
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], atol=1e-10, rtol=1e-10)
        weights = torch.randn_like(want[name])
        a = torch.autograd.grad(got[name], inputs, weights, retain_graph=True)
        b = torch.autograd.grad(want[name], inputs, weights, retain_graph=True)
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, atol=1e-9, rtol=1e-9)


def test_a_number_by_hand():
    """Two tokens with logits 0 and log 3: p = 1/4 and 3/4; entropy = log 4 - 3/4 log 3."""
    linear = nn.Linear(1, 2, bias=False)
    linear.weight.data = torch.tensor([[0.0], [math.log(3)]])
    got = score(torch.ones(1, 1), Head(linear), torch.tensor([1]), ("entropy", "log1mp", "top2"))
    assert got["logp"].item() == pytest.approx(math.log(3 / 4))
    assert got["log1mp"].item() == pytest.approx(math.log(1 / 4))
    assert got["entropy"].item() == pytest.approx(math.log(4) - 0.75 * math.log(3))
    assert got["top2_ids"].tolist() == [[1, 0]]
    assert got["top2"][0].tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 4)])


def test_log1mp_is_exact_where_p_is_one_in_float32():
    """Logits 40 and 0: 1 - p = 1 / (1 + e^40), far below float32's distance from 1, and its gradient lives."""
    linear = nn.Linear(1, 2, bias=False).requires_grad_(False)
    linear.weight.data = torch.tensor([[40.0], [0.0]])
    hidden = torch.ones(1, 1, requires_grad=True)
    got = score(hidden, Head(linear), torch.tensor([0]), ("log1mp",))
    assert got["log1mp"].item() == pytest.approx(-40.0)
    assert got["logp"].item() == pytest.approx(-math.exp(-40), rel=1e-4)
    assert torch.autograd.grad(got["log1mp"], hidden)[0].item() == pytest.approx(-40.0)


def test_extreme_logits_stay_finite():
    linear = nn.Linear(1, 9, bias=False).requires_grad_(False)
    linear.weight.data = torch.linspace(-1e4, 1e4, 9)[:, None]
    hidden = torch.ones(2, 1, requires_grad=True)
    got = score(hidden, Head(linear), torch.tensor([0, 8]), ("entropy", "log1mp"))
    assert got["logp"].tolist() == pytest.approx([-2e4, 0.0])
    assert got["entropy"].tolist() == pytest.approx([0.0, 0.0], abs=1e-3)
    assert all(torch.isfinite(v).all() for v in got.values())


def test_bfloat16_heads_sum_in_float32():
    linear, hidden, targets = case(dtype=torch.bfloat16, vocabulary=200)
    got = score(hidden, Head(linear), targets)["logp"]
    assert got.dtype == torch.float32
    logits = (hidden @ linear.weight.T).float()
    torch.testing.assert_close(got, logits.log_softmax(-1).gather(1, targets[:, None])[:, 0], atol=1e-5, rtol=1e-5)
    got.sum().backward()
    want = torch.autograd.grad(logits.log_softmax(-1).gather(1, targets[:, None]).sum(), hidden)[0]
    torch.testing.assert_close(hidden.grad, want, atol=0.06, rtol=0.06)


def test_no_scored_position_gives_empty_values():
    linear, hidden, targets = case(trained=False)
    got = score(hidden[:0], Head(linear), targets[:0], ("entropy",))
    assert got["logp"].shape == got["entropy"].shape == (0,)


def test_a_frozen_head_keeps_no_logits():
    """What autograd holds for a frozen head is a few vectors of the hidden size, not rows of the vocabulary."""
    linear, hidden, targets = case(trained=False, vocabulary=5000)
    held: list[int] = []

    def weigh(tensor):
        held.append(tensor.numel() if tensor.data_ptr() != linear.weight.data_ptr() else 0)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda x: x):
        score(hidden, Head(linear), targets)
    assert sum(held) < 4 * hidden.numel() + 10 * len(targets)


@pytest.mark.parametrize("name", ["entropi", "top", "teacher_kl"])
def test_an_unknown_extra_is_refused_with_the_list(name):
    linear, hidden, targets = case()
    with pytest.raises(UsageError, match=f"no extra is called '{name}'.*entropy, log1mp, and topN"):
        score(hidden, Head(linear), targets, (name,))


@pytest.mark.parametrize("wrapped", [False, True])
def test_divergences_equal_their_sums(wrapped):
    linear, hidden, _ = case(bias=True)
    teacher = nn.Linear(3, 23, dtype=torch.float64)
    states = torch.randn(8, 3, dtype=torch.float64)
    s, t = linear(hidden).softmax(-1), teacher(states).softmax(-1).detach()
    m = (s + t) / 2
    want = {
        "kl": (t * (t / s).log()).sum(-1),
        "reverse_kl": (s * (s / t).log()).sum(-1),
        "js": ((t * (t / m).log()).sum(-1) + (s * (s / m).log()).sum(-1)) / 2,
    }
    for kind, truth in want.items():
        got = divergence(hidden, Head(Wrapped(linear) if wrapped else linear), states, Head(teacher), kind)
        torch.testing.assert_close(got, truth, atol=1e-10, rtol=1e-10)
        for x, y in zip(
            torch.autograd.grad(got.sum(), [hidden, linear.weight]),
            torch.autograd.grad(truth.sum(), [hidden, linear.weight], retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(x, y, atol=1e-9, rtol=1e-9)


def test_a_model_does_not_diverge_from_itself():
    linear, hidden, _ = case()
    for kind in ("kl", "reverse_kl", "js"):
        assert divergence(hidden, Head(linear), hidden, Head(linear), kind).abs().max() < 1e-12


def test_divergence_refuses_what_cannot_be_compared():
    linear, hidden, _ = case()
    with pytest.raises(UsageError, match="share a vocabulary, got 23 and 22"):
        divergence(hidden, Head(linear), hidden, Head(nn.Linear(5, 22, dtype=torch.float64)))
    with pytest.raises(UsageError, match="same positions, got 8 and 3"):
        divergence(hidden, Head(linear), hidden[:3], Head(linear))
    with pytest.raises(UsageError, match="Did you mean 'js'"):
        divergence(hidden, Head(linear), hidden, Head(linear), "jsd")
