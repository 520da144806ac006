"""Every piece of data a world can give, and what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from theodolite.errors import UsageError
from theodolite.exact import annotators
from theodolite.exact.designs import NotApplicable, design
from theodolite.exact.optimum import optimum
from theodolite.exact.worlds import build
from theodolite.types import Role

WORLDS = [build("noisy", s) for s in range(2)]


@pytest.mark.parametrize(
    ("data", "roles", "groups", "rows"),
    [
        ("sft", ("other",), 6, 1),
        ("sft", ("other", "mismatched"), 6, 2),  # two prompts: one other
        ("pairs", ("chosen", "rejected"), 30, 2),
        ("labels", ("other",), 12, 1),
        ("labels", ("other", "mismatched"), 12, 2),
        ("rankings", (), 120, 3),
        ("negatives", ("rejected", "self"), 126, 3),  # 6 losers x 21 unordered draws with repetition
        ("teacher", ("other",), 6, 1),
    ],
)
def test_shapes_and_mass(data: str, roles: tuple[str, ...], groups: int, rows: int) -> None:
    made = design(data, roles, WORLDS)
    assert made.response.shape == made.role.shape == made.label.shape == made.offset.shape == (groups, rows)
    assert made.score.shape == (2, 2, groups, rows)
    assert made.mass.sum(-1) == pytest.approx(np.ones((2, 2)))
    assert made.coupled == ("mismatched" in roles)


def test_pairs_carry_roles_and_what_annotators_go_by() -> None:
    made = design("pairs", ("chosen", "rejected"), WORLDS)
    assert made.role[0].tolist() == [Role.CHOSEN, Role.REJECTED]
    i, j = made.response[7]
    assert made.mass[1, 0, 7] == pytest.approx(annotators.pair_mass(WORLDS[1])[0, i, j])
    assert made.score[1, 0, 7].tolist() == [WORLDS[1].judged[0, i], WORLDS[1].judged[0, j]]


def test_a_mismatched_row_is_the_same_response_elsewhere() -> None:
    three = [build("random", 0, prompts=3)]
    made = design("labels", ("other", "mismatched"), three)
    assert np.array_equal(made.response[:, 0], made.response[:, 1])
    assert sorted(set(made.offset[:, 1].tolist())) == [1, 2]
    with pytest.raises(NotApplicable, match="has one prompt"):
        design("labels", ("other", "mismatched"), [build("random", 0, prompts=1)])


def test_the_teacher_is_an_optimum() -> None:
    made = design("teacher", ("other",), WORLDS[:1])
    expected = optimum(WORLDS[0].logp, WORLDS[0].judged, 1.0) / WORLDS[0].length
    assert made.score[0, :, :, 0] == pytest.approx(expected)


def test_samples_are_counts_that_approach_the_mass() -> None:
    made = design("pairs", ("chosen", "rejected"), WORLDS)
    few = made.sampled(10, np.random.default_rng(0))
    assert few.mass.sum(-1) == pytest.approx(np.ones((2, 2)))
    assert np.allclose(few.mass * 10, np.round(few.mass * 10))
    assert np.abs(made.sampled(10**7, np.random.default_rng(0)).mass - made.mass).max() < 1e-3


def test_what_no_world_has_is_named() -> None:
    with pytest.raises(NotApplicable, match="learns from judgments, which a world does not have"):
        design("judgments", ("other", "judged"), WORLDS)
    with pytest.raises(NotApplicable, match="needs rows that are judged"):
        design("pairs", ("chosen", "rejected", "judged"), WORLDS)
    with pytest.raises(UsageError, match="need one shape"):
        design("pairs", (), [WORLDS[0], build("random", 0, responses=4)])
