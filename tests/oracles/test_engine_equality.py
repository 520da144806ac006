"""Shared prompts against one response at a time: the same log-probs and the same gradients, on every architecture."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from small_models import CONFIGS, GROUPS, OTHERS, Wide, apart, gradients, plain_logps, small
from theodolite.engine.logprobs import token_logps
from theodolite.engine.packing import STEM

STEMMED = [replace(g, prompt=(*range(3, 3 + STEM), *g.prompt)) for g in GROUPS]
"""the same behind an opening that a row computes once"""


@pytest.mark.parametrize("groups", [GROUPS, STEMMED], ids=["apart", "stem"])
@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("path", ["packed", "padded"])
def test_float64_is_exact(name, path, groups):
    model = small(name, torch.float64)
    with Wide():
        truth, got = plain_logps(model, groups), token_logps(model, groups, path=path).policy
        assert float((truth - got).detach().abs().max()) < 1e-10
        assert apart(gradients(model, truth), gradients(model, got)) < 1e-10


@pytest.mark.parametrize("groups", [GROUPS, STEMMED], ids=["apart", "stem"])
@pytest.mark.parametrize("name", CONFIGS)
def test_float32_agrees(name, groups):
    model = small(name)
    truth, got = plain_logps(model, groups), token_logps(model, groups, path="packed").policy
    assert float((truth - got).detach().abs().max()) < 1e-5
    assert apart(gradients(model, truth), gradients(model, got)) < 1e-5


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_share_falls_back_and_says_so_once(name):
    model = small(name)
    with pytest.warns(UserWarning, match="is scored the slow way: prompts are not shared, since"):
        got = token_logps(model, GROUPS).policy
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(token_logps(model, GROUPS).policy, got)
    truth = plain_logps(model)
    assert float((truth - got).detach().abs().max()) < 1e-5
    assert apart(gradients(model, truth), gradients(model, got)) < 1e-5


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
def test_bfloat16_is_as_near_as_its_digits(name):
    """bf16 keeps 8 bits: both ways of computing must lie equally near the float32 model with the same weights."""
    narrow = small(name, torch.bfloat16)
    with torch.no_grad():
        truth = plain_logps(small(name, torch.bfloat16).float())
        got = token_logps(narrow, GROUPS, path="packed").policy
        plain = plain_logps(narrow)
    assert got.dtype == torch.float32
    own, usual = float((got - truth).abs().mean()), float((plain - truth).abs().mean())
    assert own < 2 * usual + 1e-3


@pytest.mark.slow
def test_the_real_model_agrees(smollm):
    from theodolite.types import Group

    ids = smollm.tokenizer("The theodolite measures angles between visible points.")["input_ids"]
    groups = [Group(tuple(ids[:4]), (tuple(ids[4:]), tuple(ids[2:7]), (ids[0],)))]
    with torch.no_grad():
        truth = plain_logps(smollm.model, groups)
        got = token_logps(smollm.model, groups, path="packed").policy
    assert float((truth - got).abs().max()) < 1e-4
