from __future__ import annotations

import subprocess
import sys

import numpy as np
import peft
import pytest
import torch

from small_models import GROUPS, small
from theodolite.engine import ReferenceCache, reference_mode, token_logps
from theodolite.engine.reference import model_fingerprint
from theodolite.errors import ModelError, StorageError
from theodolite.types import Group


def adapted(seed=0):
    model = peft.get_peft_model(small("llama"), peft.LoraConfig(r=3, target_modules="all-linear", lora_dropout=0.5))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
    return model


class Counting:
    """A compute function that counts what it is asked."""

    def __init__(self):
        self.model, self.asked = small("llama"), 0

    def __call__(self, groups):
        self.asked += len(groups)
        with torch.no_grad():
            return token_logps(self.model, groups)


def flat(rows):
    return np.concatenate([r for group in rows for r in group])


def test_reference_mode_is_the_model_before_its_adapter():
    model = adapted().train()
    model.base_model.model.model.norm.eval()
    modes = [m.training for m in model.modules()]
    with reference_mode(model):
        assert not torch.is_grad_enabled()
        off = token_logps(model, GROUPS).policy
    assert [m.training for m in model.modules()] == modes
    with torch.no_grad():
        plain = token_logps(small("llama"), GROUPS).policy
        on = token_logps(model.eval(), GROUPS).policy
    torch.testing.assert_close(off, plain)
    assert float((on - off).abs().max()) > 1e-3


def test_a_model_without_an_adapter_needs_another_as_reference():
    with pytest.raises(ModelError, match="Give the untouched model as the reference"), reference_mode(small("llama")):
        pass


def test_rows_are_computed_once_and_equal(tmp_path):
    compute = Counting()
    first = ReferenceCache(tmp_path, "key").rows(GROUPS, compute)
    again = ReferenceCache(tmp_path, "key").rows(GROUPS, compute)
    assert compute.asked == len(GROUPS)
    assert np.array_equal(flat(first), flat(again))
    assert [[len(r) for r in group] for group in again] == [[len(r) for r in g.responses] for g in GROUPS]
    with torch.no_grad():
        policy = token_logps(compute.model, GROUPS).policy
    assert again[0][2].tolist() == policy[2, :6].tolist()
    assert isinstance(again[0][0], np.memmap)


@pytest.mark.parametrize(
    ("key", "groups"),
    [
        ("another model", GROUPS),
        ("key", GROUPS[1:]),
        ("key", [Group(GROUPS[0].prompt, (*GROUPS[0].responses[:2], (16, 17, 18, 19, 20, 22))), *GROUPS[1:]]),
        ("key", [Group((1, *GROUPS[0].prompt), GROUPS[0].responses), *GROUPS[1:]]),
        ("key", [Group(GROUPS[0].prompt[:-1], ((11, 12, 13, 14), *GROUPS[0].responses[1:])), *GROUPS[1:]]),
    ],
)
def test_other_content_is_computed_anew(tmp_path, key, groups):
    compute = Counting()
    ReferenceCache(tmp_path, "key").rows(GROUPS, compute)
    asked = compute.asked
    ReferenceCache(tmp_path, key).rows(groups, compute)
    assert compute.asked == asked + len(groups)


def test_without_a_folder_nothing_is_written(tmp_path):
    compute = Counting()
    for _ in range(2):
        ReferenceCache(None, "key").rows(GROUPS, compute)
    assert compute.asked == 2 * len(GROUPS)
    assert not list(tmp_path.iterdir())


def damage_length(file):
    file.write_bytes(file.read_bytes()[:-40])


def damage_bits(file):
    raw = bytearray(file.read_bytes())
    raw[-40] ^= 1
    file.write_bytes(raw)


def damage_all(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_length, damage_bits, damage_all])
def test_a_damaged_file_is_computed_again_with_a_warning(tmp_path, damage):
    compute = Counting()
    first = flat(ReferenceCache(tmp_path, "key").rows(GROUPS, compute)).copy()
    (file,) = tmp_path.glob("*.npy")
    damage(file)
    with pytest.warns(UserWarning, match="damaged; they are computed again"):
        again = ReferenceCache(tmp_path, "key").rows(GROUPS, compute)
    assert compute.asked == 2 * len(GROUPS)
    assert np.array_equal(first, flat(again))
    assert np.array_equal(first, flat(ReferenceCache(tmp_path, "key").rows(GROUPS, compute)))


def test_a_killed_run_loses_no_finished_shard(tmp_path, monkeypatch):
    monkeypatch.setattr("theodolite.engine.reference.SHARD", 1)
    compute = Counting()

    def dies_at_the_last(groups):
        if groups[0].id == "one":
            raise KeyboardInterrupt
        return compute(groups)

    with pytest.raises(KeyboardInterrupt):
        ReferenceCache(tmp_path, "key").rows(GROUPS, dies_at_the_last)
    assert compute.asked == 2
    ReferenceCache(tmp_path, "key").rows(GROUPS, compute)
    assert compute.asked == 3
    assert not list(tmp_path.glob(".reference-*"))


PROCESS = """
import sys, torch
from pathlib import Path
from theodolite.engine.reference import ReferenceCache
from theodolite.types import Group, TokenLogps
groups = [Group((1, i), ((2, 3, i),)) for i in range(40)]
def compute(part):
    policy = torch.tensor([[float(g.prompt[1])] * 3 for g in part])
    return TokenLogps(policy, policy, policy, policy, policy, policy)
import theodolite.engine.reference as r
r.SHARD = 2
for _ in range(3):
    rows = ReferenceCache(Path(sys.argv[1]), "key").rows(groups, compute)
    assert all(row[0].tolist() == [float(i)] * 3 for i, row in enumerate(rows))
"""


def test_two_processes_share_a_folder(tmp_path):
    both = [subprocess.Popen([sys.executable, "-W", "error", "-c", PROCESS, str(tmp_path)]) for _ in range(2)]
    assert [p.wait(timeout=120) for p in both] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 20


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot be kept in .*file.*cache_reference: false"):
        ReferenceCache(blocked, "key").rows(GROUPS, Counting())


def test_the_fingerprint_sees_one_changed_weight_and_the_format():
    model, same = small("llama"), small("llama")
    assert model_fingerprint(model) == model_fingerprint(same)
    with torch.no_grad():
        same.model.layers[1].mlp.up_proj.weight[3, 4] += 1.0
    assert model_fingerprint(model) != model_fingerprint(same)
    assert model_fingerprint(model) != model_fingerprint(small("llama").double())
