"""The reference vectors are current, and their reader refuses what cannot be meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from theodolite.errors import ConfigError, DataError, UnknownName
from theodolite.objectives import conformance
from theodolite.registry import names

FILE = Path(__file__).parents[3] / conformance.FILE


@pytest.fixture(scope="module")
def published():
    return json.loads(FILE.read_text(encoding="utf-8"))["cases"]


def close(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            close(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            close(x, y)
    else:
        assert a == pytest.approx(b, rel=1e-9, abs=1e-11)


def test_the_file_says_what_the_code_does(published):
    for case in published:
        got = conformance.evaluate(case["objective"], case["data"], case["config"])
        close(got, {key: case[key] for key in got})


def test_the_file_is_complete(published):
    """Every objective at its defaults and with every option changed."""
    want = {(c["objective"], json.dumps(c["config"])) for c in conformance.cases()}
    assert {(c["objective"], json.dumps(c["config"])) for c in published} == want
    assert {c["objective"] for c in published if not c["config"]} == set(names("objective"))


def test_the_check_can_fail(published):
    case = published[0]
    with pytest.raises(AssertionError):
        close(case["loss"], case["loss"] * (1 + 1e-6) + 1e-9)


def test_evaluate_example():
    data = {"policy": [[-1.2, -0.7], [-2.1]], "reference": [[-1.0, -0.9], [-2.0]]}
    got = conformance.evaluate("dpo", data | {"group": [0, 0], "role": ["chosen", "rejected"]}, {"beta": 0.5})
    # h = 0 - (-0.1) = 0.1; log(1 + e^-0.05) = 0.668460; slope -0.5 sigmoid(-0.05) = -0.243751
    assert got["loss"] == pytest.approx(0.668460, abs=1e-6)
    assert got["gradient"]["policy"][0] == pytest.approx([-0.243751] * 2, abs=1e-6)
    assert got["gradient"]["policy"][1] == pytest.approx([0.243751], abs=1e-6)
    assert json.loads(json.dumps(got)) == got


def test_extras_have_gradients_too():
    data = {"policy": [[-1.0, -2.0]], "extras": {"rendering_kl": [[0.2, 0.4]], "rendering_kl_reverse": [[1.0, 0.0]]}}
    got = conformance.evaluate("bidirectional_kl", data)
    assert got["gradient"]["extras"]["rendering_kl"] == [[0.125, 0.125]]


@pytest.mark.parametrize(
    ("name", "data", "config", "error", "says"),
    [
        ("dqo", {"policy": [[-1.0]]}, {}, UnknownName, "Did you mean 'dpo'"),
        ("sft", {}, {}, DataError, "needs 'policy'"),
        ("sft", {"policy": [[-1.0]], "wieght": [[1]]}, {}, DataError, "Did you mean 'weight'"),
        ("sft", {"policy": [[-1.0, -2.0]], "weight": [[1]]}, {}, DataError, "lengths"),
        ("sft", {"policy": [["a"]]}, {}, DataError, "must hold numbers"),
        ("sft", {"policy": [[-1.0]], "role": ["chozen"]}, {}, DataError, "Did you mean 'chosen'"),
        ("sft", {"policy": [[-1.0]], "label": [1, 0]}, {}, DataError, "one entry for each"),
        ("dpo", {"policy": [[-1.0]]}, {"bata": 1}, ConfigError, "Did you mean 'beta'"),
    ],
)
def test_bad_input_gets_a_letter(name, data, config, error, says):
    with pytest.raises(error, match=says):
        conformance.evaluate(name, data, config)
