"""The sweep: its numbers, its JSON, its page."""

from __future__ import annotations

import json
import math

import pytest

from theodolite.errors import UnknownName, UsageError
from theodolite.exact.frontier import frontier
from theodolite.exact.picture import _percent, _spread, html
from theodolite.exact.results import FrontierResult, crossing


@pytest.fixture(scope="module")
def result() -> FrontierResult:
    told: list[tuple[int, int, str]] = []
    found = frontier(
        ["random", "noisy"],
        ["dpo", "robust_dpo", "sft", "simpo", "cut"],
        seeds=3,
        strengths=(1, 10),
        exact=True,
        sample_grid=(32, 2048),
        progress=lambda i, n, name: told.append((i, n, name)),
    )
    assert [t[0] for t in told] == [1, 2, 3, 4, 5]
    return found


def test_dpo_lies_on_the_frontier_and_others_do_not(result: FrontierResult) -> None:
    assert result.headline == ["random"]
    dpo, simpo = result.methods["dpo"], result.methods["simpo"]
    assert dpo.regret < 1e-9
    assert dpo.kl_to_optimum < 1e-9
    assert dpo.optimum == "same strength"
    assert simpo.regret > 0.02
    assert simpo.optimum == "nearest"
    assert 0 < result.methods["best_of_n"].regret < 0.5
    assert result.methods["robust_dpo"].worlds["noisy"] < 1e-9  # its smoothing is the world's share of flips
    assert dpo.worlds["noisy"] > 1e-3
    assert result.ranked()[0].name == "dpo"
    assert math.isnan(result.methods["sft"].strength)


def test_no_point_lies_above_the_frontier(result: FrontierResult) -> None:
    for method in result.methods.values():
        for points in method.points.values():
            for p in points:
                assert all(best >= got - 1e-9 for best, got in zip(p.best, p.reward))


def test_more_samples_help_dpo(result: FrontierResult) -> None:
    dpo = result.methods["dpo"]
    assert dpo.share_by_samples[0] > dpo.share_by_samples[1]
    assert dpo.samples_to_90 is not None
    assert 32 <= dpo.samples_to_90 <= 2048


def test_the_json_is_json_and_has_what_was_promised(result: FrontierResult) -> None:
    plain = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert {"seconds", "worlds", "methods", "not_applicable"} <= plain.keys()
    for entry in plain["methods"].values():
        assert {"regret", "regret_low", "regret_high", "kl_to_optimum", "samples_to_90"} <= entry.keys()
    assert plain["methods"]["dpo"]["regret_low"] <= plain["methods"]["dpo"]["regret_high"]
    assert plain["not_applicable"] == {"cut": "learns from judgments, which a world does not have."}
    assert set(plain["worlds"]["random"]["methods"]) == set(plain["methods"])


def test_the_page_stands_alone_and_shows_every_method(result: FrontierResult) -> None:
    page = html(result)
    for name in result.methods:
        assert f'class="m-{name}"' in page
    assert "<script" not in page
    assert "http" not in page
    assert "prefers-color-scheme:dark" in page
    assert "nan" not in page.split("</style>")[1]
    assert "which a world does not have" in page


def test_samples_instead_of_expectations_leave_a_gap() -> None:
    found = frontier(["random"], ["dpo"], seeds=2, strengths=(10,), samples=64, sample_grid=())
    dpo = found.methods["dpo"]
    assert found.samples == 64
    assert dpo.regret > 1e-3
    assert dpo.samples_to_90 is None
    assert dpo.share_by_samples == []


def test_only_unfaithful_worlds_still_have_a_headline() -> None:
    found = frontier(["proxy"], ["dpo"], seeds=1, strengths=(10,), exact=True, sample_grid=())
    assert found.headline == ["proxy"]
    assert found.methods["dpo"].regret > 0
    assert math.isnan(found.methods["dpo"].low)  # one seed has no interval


def test_bad_arguments() -> None:
    with pytest.raises(UsageError, match="seeds must be at least 1"):
        frontier(["random"], ["dpo"], seeds=0)
    with pytest.raises(UnknownName, match="Did you mean 'noisy'"):
        frontier(["noisi"], ["dpo"])


def test_crossing() -> None:
    assert crossing([10, 100], [0.2, 0.0]) == pytest.approx(10**1.5)
    assert crossing([10, 100], [0.05, 0.01]) == 10
    assert crossing([10, 100], [0.5, 0.2]) is None
    assert crossing([10, 100, 1000], [0.05, 0.2, 0.0]) == pytest.approx(10**2.5)  # for good, not for a moment
    assert crossing([10, 100], [0.5, math.nan]) is None


def test_labels_are_pushed_apart() -> None:
    assert _spread([0, 0, 9], 2, -5, 20) == [-1, 1, 9]
    assert _spread([0, 0, 0], 2, 0, 20) == [0, 2, 4]
    assert _spread([19, 20], 2, 0, 20) == [18, 20]


def test_percentages_are_short() -> None:
    assert [_percent(v) for v in (0, 1e-9, 1e-4, 0.0123, 0.5, math.nan)] == ["0", "0", "&lt;0.1", "1.2", "50", "–"]


def test_two_processes_find_what_one_does() -> None:
    made = [frontier(["random"], ["dpo", "sft"], seeds=2, strengths=(1,), sample_grid=(), workers=w) for w in (1, 2)]
    for name in ("dpo", "sft"):
        assert made[0].methods[name].regret == pytest.approx(made[1].methods[name].regret, abs=1e-9)
