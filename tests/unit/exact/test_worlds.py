"""What each world promises, and what people in it say."""

from __future__ import annotations

import numpy as np
import pytest

from theodolite.errors import UnknownName, UsageError
from theodolite.exact import annotators
from theodolite.exact.world import World
from theodolite.exact.worlds import build
from theodolite.registry import names


@pytest.mark.parametrize("name", names("world"))
def test_every_world_is_normalised_standardised_and_repeatable(name: str) -> None:
    world, again, other = build(name, 3), build(name, 3), build(name, 4)
    p = np.exp(world.logp)
    assert p.sum(1) == pytest.approx(np.ones(len(p)))
    assert (p * world.reward).sum(1) == pytest.approx(np.zeros(len(p)), abs=1e-12)
    assert (p * world.reward**2).sum(1) == pytest.approx(np.ones(len(p)))
    assert np.array_equal(world.logp, again.logp)
    assert np.array_equal(world.reward, again.reward)
    assert not np.array_equal(world.reward, other.reward)
    assert world.length.min() >= 1


def test_which_annotators_are_faithful() -> None:
    faithful = {n for n in names("world") if build(n, 0).faithful}
    assert faithful == {"random", "clustered", "multi_objective", "hmm"}


def test_length_is_not_better_but_looks_it() -> None:
    for seed in range(5):
        world = build("length_biased", seed)
        p, length = np.exp(world.logp), world.length - (np.exp(world.logp) * world.length).sum(1, keepdims=True)
        assert (p * length * world.reward).sum(1) == pytest.approx([0, 0], abs=1e-12)
        assert np.all((p * length * world.judged).sum(1) > 0)


def test_better_kinds_are_rarer() -> None:
    world = build("clustered", 0, responses=12, spread=0.0, within=0.0, rarity=2.0)
    assert np.corrcoef(world.reward[0], world.logp[0])[0, 1] < -0.9
    assert len(np.unique(world.reward[0].round(9))) == 3  # within 0 makes exact ties


def test_several_rewards_can_be_weighed_anew() -> None:
    world = build("multi_objective", 0)
    assert np.tensordot(world.weights, world.parts, 1) == pytest.approx(world.reward)
    only = world.weighted([0, 0, 1])
    assert only.reward == pytest.approx(world.parts[2])
    assert only.faithful
    with pytest.raises(UsageError, match="3 rewards to weigh, got 2 weights"):
        world.weighted([1, 0])


def test_wrong_worlds_are_refused() -> None:
    good = build("random", 0)
    with pytest.raises(UsageError, match="sum to probability 1"):
        World("bad", good.logp + 0.1, good.reward, good.judged, good.length)
    with pytest.raises(UsageError, match="must match it"):
        World("bad", good.logp, good.reward[:, :3], good.judged, good.length)
    with pytest.raises(UsageError, match=r"20 % is 0\.2"):
        World("bad", good.logp, good.reward, good.judged, good.length, flip=20)
    with pytest.raises(UnknownName, match="Did you mean 'clustered'"):
        build("clusterd", 0)


def test_preferences_are_bradley_terry_with_flips() -> None:
    world = build("noisy", 0, flip=0.2)
    said = annotators.prefers(world)
    assert said + said.transpose(0, 2, 1) == pytest.approx(np.ones_like(said))
    clean = 1 / (1 + np.exp(world.judged[0, 1] - world.judged[0, 0]))
    assert said[0, 0, 1] == pytest.approx(0.8 * clean + 0.2 * (1 - clean))


def test_masses_sum_to_one_and_lists_of_two_are_pairs() -> None:
    world = build("noisy", 2)
    mass = annotators.pair_mass(world)
    assert mass.sum((1, 2)) == pytest.approx([1, 1])
    assert annotators.winners(world).sum(1) == pytest.approx([1, 1])
    lists = annotators.orders(6, 2)
    assert annotators.order_mass(world, lists) == pytest.approx(mass[:, lists[:, 0], lists[:, 1]])
    threes = annotators.orders(6, 3)
    assert threes.shape == (120, 3)
    assert annotators.order_mass(world, threes).sum(1) == pytest.approx([1, 1])


def test_thumbs_are_up_half_the_time_for_the_usual_answer() -> None:
    world = build("random", 0)
    up = annotators.likes(world)
    assert np.all((up > 0.5) == (world.reward > 0))
