"""A training launched on two processes gives the losses of one (gloo, CPU)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tiny import tiny_folder

SCRIPT = """
import json, sys
from pathlib import Path
from theodolite.models import load_model
from theodolite.models.adapters import Lora
from theodolite.training import Align, prepare, train
from theodolite.types import Example, Response

model, out, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
words = ("red", "green", "a long answer indeed", "no")
rows = [Example.of(f"Number {i}?", Response(words[i % 4] + "!", 1.0), Response(words[(i + 1) % 4], 0.0)) for i in range(16)]
loaded = load_model(model)
data = prepare(rows, "pairs", loaded.tokenizer, max_length=500)
config = Align(objective=[{"name": "dpo"}, {"name": "sft", "weight": 0.2}], lora=Lora(r=4), batch=batch, epochs=2,
               learning_rate=1e-2, cache_reference=False)
made = train(loaded, data, config, out, seed=5)
print(json.dumps([r["loss"] for r in made.log]))
"""


def losses(folder: Path, name: str, batch: int, *launch: str) -> list[float]:
    script = folder / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, *launch, str(script), str(folder / "model"), str(folder / name), str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("[")))


def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    tiny_folder(tmp_path / "model")
    one = losses(tmp_path, "one", 8)
    two = losses(
        tmp_path, "two", 4, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
    )  # fmt: skip
    assert len(one) == 4
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-4, (one, two)
