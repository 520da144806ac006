"""Drawn frequencies against the model's probabilities, filtered by transformers' own warpers (chi-square)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from theodolite.engine.drawing import Drawer, Filters, lowest_kept
from theodolite.engine.sampling import LocalSampler, Sampling
from theodolite.models.chat import prompt_ids
from theodolite.types import Example
from tiny import tiny_model, tiny_tokenizer

SETTINGS = [
    {},
    {"temperature": 0.5},
    {"temperature": 1.7, "top_k": 12},
    {"top_p": 0.8},
    {"temperature": 1.4, "top_p": 0.5},
    {"min_p": 0.1},
    {"temperature": 2.0, "top_k": 40, "top_p": 0.7, "min_p": 0.05},
]


def warped(logits: torch.Tensor, s: dict[str, float]) -> torch.Tensor:
    """(n, V) probabilities as transformers' generate would draw from them."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(float(s.get("temperature", 1.0)))])
    if "top_k" in s:
        warpers.append(TopKLogitsWarper(int(s["top_k"])))
    if "top_p" in s:
        warpers.append(TopPLogitsWarper(s["top_p"]))
    if "min_p" in s:
        warpers.append(MinPLogitsWarper(s["min_p"]))
    return warpers(torch.zeros(len(logits), 1, dtype=torch.long), logits.clone()).softmax(-1)


def fit(counts: np.ndarray, p: np.ndarray) -> float:
    """p-value of the counts under p; cells expected less than 5 times are pooled."""
    expected = p / p.sum() * counts.sum()
    assert counts[expected == 0].sum() == 0, "a token was drawn that should have been filtered out"
    small = expected < 5
    observed, expected = (
        np.append(counts[~small], counts[small].sum()),
        np.append(expected[~small], expected[small].sum()),
    )
    keep = expected > 0
    return float(chisquare(observed[keep], expected[keep]).pvalue) if keep.sum() > 1 else 1.0


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_first_and_second_tokens_have_the_models_frequencies(setting: dict[str, float]) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    example, n = Example.of("Roll."), 6000
    out = LocalSampler(model, tokenizer, rows=512).sample([example], Sampling(k=n, max_new_tokens=2, seed=3, **setting))
    drawn = [r.tokens for r in out[0].responses]
    prompt = prompt_ids(tokenizer, example.prompt)
    with torch.no_grad():
        p = warped(model(torch.tensor([prompt])).logits[:, -1], setting)[0].double().numpy()
    counts = np.bincount([t[0] for t in drawn], minlength=len(p))
    assert fit(counts, p) > 1e-3
    first, m = Counter(t[0] for t in drawn if len(t) == 2).most_common(1)[0]
    with torch.no_grad():
        p = warped(model(torch.tensor([[*prompt, first]])).logits[:, -1], setting)[0].double().numpy()
    assert fit(np.bincount([t[1] for t in drawn if t[0] == first], minlength=len(p)), p) > 1e-3, f"{m} draws"


def test_the_chi_square_can_fail() -> None:
    """Draws at temperature 1.15 do not pass for draws at temperature 1."""
    logits = torch.randn(1, 259, generator=torch.Generator().manual_seed(0)) * 2
    u = torch.rand(6000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn, _ = Drawer()(logits.expand(6000, -1), u, Filters(temperature=1.15))
    counts = np.bincount(drawn, minlength=259)
    assert fit(counts, warped(logits, {"temperature": 1.15})[0].double().numpy()) > 1e-3
    assert fit(counts, warped(logits, {})[0].double().numpy()) < 1e-6


@pytest.mark.parametrize("spread", [0.02, 1.0, 4.0])
@pytest.mark.parametrize("setting", SETTINGS[2:], ids=str)
def test_filters_keep_the_tokens_transformers_keeps(setting: dict[str, float], spread: float) -> None:
    """5,000 tokens, so that a wide nucleus leaves the first thousand and needs the full sort."""
    logits = torch.randn(9, 5000, generator=torch.Generator().manual_seed(1)) * spread
    scaled = logits / setting.get("temperature", 1.0)
    kept = scaled >= lowest_kept(scaled, Filters(**setting))
    expected = warped(logits, setting) > 0
    differing = (kept != expected).sum(-1)
    assert differing.max() <= 1, "at most the token on the border, where sums round"


def test_a_large_vocabulary_is_drawn_by_its_probabilities() -> None:
    """Two-level CDF over 49,152 tokens: the draws for an even grid of u reproduce p to the grid's width."""
    logits = torch.randn(1, 49152, generator=torch.Generator().manual_seed(2)) * 3
    n = 20_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    tokens, logps = Drawer()(logits.expand(n, -1), u, Filters())
    p = logits[0].double().softmax(-1)
    assert tokens == sorted(tokens)
    expected = torch.searchsorted(p.cumsum(-1), u).clamp(max=49151)
    assert (torch.tensor(tokens) != expected).double().mean() < 2e-3  # only where u falls on a border
    assert torch.allclose(torch.tensor(logps, dtype=torch.float64), p.log()[torch.tensor(tokens)], atol=1e-5)
