"""The spine on the real model: instructions, samples, DPO, measures, page; small enough for every run of the suite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

RECIPE = {
    "name": "real",
    "model": "smollm2-135m-instruct",
    "steps": [
        {
            "step": "curate",
            "instructions": {"train": 8, "held_out": 4, "max_constraints": 1},
            "sample": {"k": 6, "max_new_tokens": 40},
            "pairs": {"how": "all", "max_per_prompt": 2},
        },
        {"step": "align", "objective": [{"name": "dpo"}, {"name": "sft", "weight": 0.1}], "max_steps": 3, "batch": 4},
        {"step": "measure", "sample": {"k": 6, "max_new_tokens": 40}},
        {"step": "report"},
    ],
}


@pytest.mark.slow
def test_the_spine_on_the_real_model(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(RECIPE))
    environment = os.environ | {"THEODOLITE_RUNS": str(tmp_path / "runs")}
    command = [sys.executable, "-m", "theodolite.cli", "run", str(tmp_path / "real.yaml"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    readings = {r["name"]: r for r in said["readings"]}
    assert {"pass_rate.before", "pass_rate.after", "pass_rate.difference", "kl", "best_of_n"} <= readings.keys()
    assert 0 <= readings["pass_rate.before"]["value"] <= 1
    assert readings["pass_rate.before"]["n"] == 4
    assert abs(readings["kl"]["value"]) < 20
    events = [json.loads(line) for line in (Path(said["run"]) / "events.jsonl").read_text().splitlines()]
    assert any("must" not in e["text"] and "first loss" in e["text"] for e in events if e["event"] == "check")
    page = Path(said["report"]).read_text()
    assert "SmolLM2" in page or "smollm2" in page


@pytest.mark.slow
def test_the_sampler_s_logps_are_the_engine_s(smollm: object) -> None:
    """KL takes the policy's log-probs from the sampler; they must be what scoring the same tokens gives."""
    import torch

    from theodolite.engine import LocalSampler, Sampling, token_logps
    from theodolite.models import group_of
    from theodolite.types import Example

    prompts = [Example.of("Name a colour."), Example.of("Write one sentence about rain.")]
    answered = LocalSampler(smollm.model, smollm.tokenizer).sample(prompts, Sampling(k=3, max_new_tokens=12))  # type: ignore[attr-defined]
    with torch.no_grad():
        got = token_logps(smollm.model, [group_of(e, smollm.tokenizer) for e in answered])  # type: ignore[attr-defined]
    drawn = [r for e in answered for r in e.responses]
    for row, response in zip(got.policy, drawn, strict=True):
        assert row[: len(response.tokens)].tolist() == pytest.approx(response.logps, abs=1e-3)
