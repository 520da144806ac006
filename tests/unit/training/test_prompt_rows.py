"""ORPO as TRL has it, from a recipe: the trainer feeds the prompts' own tokens, and the loss covers them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import logsigmoid

from theodolite.engine import token_logps
from theodolite.models import load_model
from theodolite.models.adapters import Lora
from theodolite.models.load import Loaded
from theodolite.training.bundles import Prepared, prepare
from theodolite.training.config import Align
from theodolite.training.offline import _with_prompts, train
from theodolite.types import Example, Response, Role
from tiny import tiny_folder

ANSWERS = (("red.", "no"), ("a dark kind of green", "perhaps not"), ("so!", "well, well"), ("yes", "it may be"))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load_model(str(tiny_folder(tmp_path_factory.mktemp("tiny"))))


@pytest.fixture
def data(loaded: Loaded) -> Prepared:
    rows = [
        Example.of("Why" + " so" * i + "?", Response(good, 1.0), Response(bad, 0.0), id=str(i))
        for i, (good, bad) in enumerate(ANSWERS)
    ]
    return prepare(rows, "pairs", loaded.tokenizer, max_length=loaded.max_length)


def logps(model: torch.nn.Module, tokens: tuple[int, ...]) -> torch.Tensor:
    """(T - 1,) of a whole sequence, by a plain call."""
    ids = torch.tensor(tokens)[None]
    return model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None]).squeeze(-1)


def test_a_row_holds_the_prompt(loaded: Loaded, data: Prepared) -> None:
    pair, prompt = _with_prompts(data).bundles[1]
    assert pair is data.bundles[1][0]
    with torch.no_grad():
        got = token_logps(loaded.model, [pair, prompt])
        want = logps(loaded.model, pair.prompt)
    assert got.role.tolist() == [Role.CHOSEN, Role.REJECTED, Role.OTHER]
    torch.testing.assert_close(got.policy[2, : len(want)], want, rtol=1e-4, atol=1e-5)
    assert int(got.weight[2].sum()) == len(pair.prompt) - 1


@pytest.mark.parametrize("batch", [4, 2])
@pytest.mark.parametrize("bare", [False, True])
def test_the_first_loss_is_trls(loaded: Loaded, data: Prepared, tmp_path: Path, batch: int, bare: bool) -> None:
    """However the step is split: cross-entropy of all tokens of prompt and chosen answer, and the odds of answers."""
    if bare:  # one prompt has but one token, so nothing of it is scored
        (group,) = data.bundles[0]
        data = Prepared([(replace(group, prompt=group.prompt[:1]),), *data.bundles[1:]], data.dropped)
    tokens, a = [], []
    with torch.no_grad():
        for (group,) in data.bundles:
            whole = [logps(loaded.model, group.prompt + r) for r in group.responses]
            tokens.append(whole[0])
            a.append(torch.stack([w[len(group.prompt) - 1 :].mean() for w in whole]))
    odds = torch.stack(a) - torch.log1p(-torch.stack(a).exp())
    want = -torch.cat(tokens).mean() - 0.2 * logsigmoid(odds[:, 0] - odds[:, 1]).mean()
    config = Align(
        objective=[{"name": "orpo", "odds_weight": 0.2, "convention": "trl"}],
        lora=Lora(r=4),
        batch=batch,
        accumulate=4 // batch,
        max_steps=1,
        token_budget=64,
    )
    made = train(load_model(str(loaded.path)), data, config, tmp_path, held_out=data)
    assert made.log[0]["loss"] == pytest.approx(float(want), abs=1e-4)
