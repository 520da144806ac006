"""The table: what an objective is shown, and that every registered one is trained or refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from theodolite.errors import CheckFailed
from theodolite.exact.designs import NotApplicable, design
from theodolite.exact.optimum import kl
from theodolite.exact.tabular import Blocks, train
from theodolite.exact.worlds import build
from theodolite.registry import Entry, entries, get
from theodolite.types import Loss, Role

WORLDS = [build("random", s) for s in range(2)]


def test_an_objective_sees_the_log_probs_of_the_table_spread_over_tokens() -> None:
    entry = get("objective", "dpo")
    blocks = Blocks.of(WORLDS, design("pairs", entry.roles, WORLDS), joint=False)
    rows = blocks.rows(blocks.start + 0.0, torch.arange(4), entry)
    assert rows.policy.shape == (4 * 30 * 2, int(max(w.length.max() for w in WORLDS)))
    chosen, rejected = rows.pairs()
    i, j = blocks.index[0].tolist()
    assert rows.logp()[chosen[0]].item() == pytest.approx(WORLDS[0].logp[0, i])
    assert rows.logp()[rejected[0]].item() == pytest.approx(WORLDS[0].logp[0, j])
    assert rows.lengths[chosen[0]].item() == WORLDS[0].length[i]
    assert rows.logratio().abs().max() < 1e-14
    second_world_second_prompt = rows.logp()[chosen[3 * 30]].item()
    assert second_world_second_prompt == pytest.approx(WORLDS[1].logp[1, i])


def test_mismatched_rows_are_scored_under_the_other_prompt() -> None:
    entry = get("objective", "cca")
    blocks = Blocks.of(WORLDS, design("sft", entry.roles, WORLDS), joint=True)
    rows = blocks.rows(blocks.start + 0.0, torch.arange(2), entry)
    own, wrong = rows.rows(Role.OTHER), rows.rows(Role.MISMATCHED)
    assert rows.logp()[own[0]].item() == pytest.approx(WORLDS[0].logp[0, 0])
    assert rows.logp()[wrong[0]].item() == pytest.approx(WORLDS[0].logp[1, 0])
    last = rows.logp()[wrong[-1]].item()
    assert last == pytest.approx(WORLDS[1].logp[0, 5])  # prompt 1's last response under prompt 0


def test_the_gradient_is_the_expectation_s() -> None:
    entry = get("objective", "dpo")
    cfg = entry.config(beta=0.7)
    blocks = Blocks.of(WORLDS, design("pairs", entry.roles, WORLDS), joint=False)
    x = blocks.start + 0.3 * torch.randn(blocks.start.shape, generator=torch.Generator().manual_seed(0)).double()
    live = torch.tensor([2])
    _, gradient = blocks.field(entry, cfg, x[live], live)
    slow = np.zeros(6)
    world, prompt = WORLDS[1], 0
    from theodolite.exact.annotators import pair_mass

    mass = pair_mass(world)[prompt]
    u = (x[2] - blocks.start[2]).numpy()
    for i in range(6):
        for j in range(6):
            pull = mass[i, j] * 0.7 / (1 + np.exp(0.7 * (u[i] - u[j])))
            slow[i] -= pull
            slow[j] += pull
    assert gradient[0].numpy() == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("entry", entries("objective"), ids=lambda e: e.name)
def test_every_objective_is_trained_or_refused_with_a_reason(entry: Entry) -> None:
    try:
        found = train(entry, WORLDS, budget=120)
    except NotApplicable as caught:
        reason = str(caught)
    else:
        reason = ""
    if reason:
        assert reason.startswith(("learns from", "needs", "shares"))
        return
    for table, world in zip(found.logpi, WORLDS):
        assert np.exp(table).sum(1) == pytest.approx([1, 1])
        assert kl(table, world.logp).mean() > 1e-4, "training did not move the policy"
    assert len(found.ending) == len(found.gradient) == 2


def test_samples_depend_on_the_seed_and_approach_the_expectation() -> None:
    exact = train("dpo", WORLDS).logpi[0]
    few = [train("dpo", WORLDS, samples=200, rng=np.random.default_rng(s)).logpi[0] for s in (0, 0, 1)]
    assert np.array_equal(few[0], few[1])
    assert not np.array_equal(few[0], few[2])
    cfg = get("objective", "dpo").config(beta=1.0)
    exact = train("dpo", WORLDS, cfg).logpi[0]
    many = train("dpo", WORLDS, cfg, samples=10**7, rng=np.random.default_rng(0)).logpi[0]
    assert kl(many, exact).mean() < 1e-4


def test_a_loss_of_the_wrong_shape_is_refused() -> None:
    broken = Entry(
        "objective", "broken", lambda p, cfg: Loss(p.logp()), "test", None, {**get("objective", "dpo").facts}
    )
    with pytest.raises(CheckFailed, match="one loss for every group"):
        train(broken, WORLDS)


def test_an_unknown_shared_number_or_extra_is_refused() -> None:
    facts = {**get("objective", "dpo").facts}
    for change, said in (({"shared": ("moon",)}, "shares moon"), ({"extras": ("moon",)}, "needs moon for every token")):
        with pytest.raises(NotApplicable, match=said):
            train(Entry("objective", "odd", get("objective", "dpo").function, "test", None, facts | change), WORLDS)


def test_step_wide_numbers_are_expectations_of_their_own_world() -> None:
    """KTO's z0: E over prompts and labelled draws of the log-ratio of that response under the other prompt, not below 0."""
    entry = get("objective", "kto")
    blocks = Blocks.of(WORLDS, design("labels", entry.roles, WORLDS), joint=True)
    x = blocks.start + torch.randn(blocks.start.shape, generator=torch.Generator().manual_seed(1)).double()
    live = torch.arange(2)
    found = blocks.shared(blocks.rows(x, live, entry), entry.shared, entry.config(), live)["kto_z0"].view(2, -1)
    for w, world in enumerate(WORLDS):
        ratio = x[w].view(2, 6).log_softmax(1).numpy() - world.logp
        p = np.exp(world.logp)
        by_hand = max(0.0, float((p[0] * ratio[1]).sum() + (p[1] * ratio[0]).sum()) / 2)
        assert found[w].numpy() == pytest.approx(np.full(found.shape[1], by_hand), abs=1e-12)


def test_bco_rests_where_its_shift_is_the_mean_reward() -> None:
    entry = get("objective", "bco")
    cfg = entry.config(beta=1.0)
    world = build("random", 0, prompts=1)
    ended = train(entry, [world], cfg).logpi[0]
    blocks = Blocks.of([world], design("labels", entry.roles, [world]), joint=True)
    _, gradient = blocks.field(entry, cfg, torch.as_tensor(ended), torch.arange(1))
    assert gradient.abs().max() < 1e-8
