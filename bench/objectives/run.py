"""Does every objective train on real data with a real model? Runs examples/objectives/*.yaml one after the other.

    python bench/objectives/run.py [--minutes 9] [--only dpo kto] [--again]

Resumable: an objective that has its line in result.json is not run again; `--minutes` stops before another is begun.
Besides the training's own loss, each adapter is asked for its implicit reward on held-out pairs of hh-rlhf.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from theodolite.data import read
from theodolite.data.select import by_length
from theodolite.engine import token_logps
from theodolite.errors import TheodoliteError
from theodolite.models import group_of, load_model
from theodolite.registry import get
from theodolite.runs.folder import machine, read_lines, versions, write_json
from theodolite.runs.recipe import read_recipe
from theodolite.runs.runner import run_recipe
from theodolite.stats import wilson
from theodolite.training.config import Align
from theodolite.types import Example, Group

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECIPES = ROOT / "examples" / "objectives"
PAIRS, WORDS = 64, 20

TITLE = """# Does every objective train?

    python bench/objectives/recipes.py     # writes the recipes (examples/objectives)
    python bench/objectives/run.py         # runs them one after the other, one core, resumable

One recipe for each objective: SmolLM2-135M-Instruct, a LoRA adapter of rank 8, 20 steps of 4 rows (2 for bialign) of short human data of
the kind that the objective reads (32 rows, so two and a half passes). `loss` is the mean over the first and over the
last five steps; each span holds 20 of the same 32 rows. Rankings (20 rows) and demonstrations (10 rows) make a whole pass
in five steps, because their losses differ so much between rows that only equal rows can be compared. Losses of different
objectives have different units.

`reward accuracy`: on {n} held-out hh-rlhf pairs that no recipe trains on, the share whose chosen answer has the higher
log pi/ref (ties half), with a 95 % Wilson interval; 0.5 is chance. Twenty steps on 32 rows are a test of the machinery,
not of the method: no row here says which objective is best. "not defined": the objective has no reward (its metrics hold
no `rewards/...`). Objectives on other data than hh-rlhf were not asked to learn these pairs; their number is what
came along. Seconds hold curation, reference, training and saving on a shared machine, and vary with its load.

"""


class Judge:
    """Held-out pairs, scored once under the reference and once under each adapter."""

    def __init__(self) -> None:
        self.loaded = load_model("smollm2-135m-instruct")
        recipe = read_recipe(RECIPES / "dpo.yaml")
        path = recipe.path("$THEODOLITE_SHARED/data/preference/hh_rlhf_harmless_base_test.jsonl.gz")
        found = by_length(read(path).examples, max_prompt=WORDS, max_response=WORDS).examples
        self.examples: list[Example] = found[-PAIRS:]
        if len(found) < PAIRS + 32:
            raise SystemExit(f"only {len(found)} short pairs, too few to hold {PAIRS} out beside the 32 trained on")
        self.groups: list[Group] = [group_of(e, self.loaded.tokenizer) for e in self.examples]
        self.before: torch.Tensor | None = None

    def _logp(self, model: Any) -> torch.Tensor:
        with torch.no_grad():
            return token_logps(model, self.groups).logp()

    def accuracy(self, adapter: Path) -> dict[str, float]:
        """Reward accuracy with its interval, and the mean log-ratio of the chosen answers in nats."""
        from peft import PeftModel

        if self.before is None:
            self.before = self._logp(self.loaded.model)
        model = PeftModel.from_pretrained(self.loaded.model, str(adapter)).eval()
        after = self._logp(model)
        self.loaded.model = model.unload()
        ratio = (after - self.before).double().reshape(-1, 2).numpy()
        gap = ratio[:, 0] - ratio[:, 1]
        share = float(np.mean(np.where(gap > 0, 1.0, np.where(gap < 0, 0.0, 0.5))))
        span = wilson(share * len(gap), len(gap))
        return {
            "accuracy": share,
            "low": span.low,
            "high": span.high,
            "n": len(gap),
            "chosen_logratio": float(ratio[:, 0].mean()),
        }


def one(name: str, judge: Judge, home: Path) -> dict[str, Any]:
    """Run one recipe and read what it left."""
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    start = time.monotonic()
    done = run_recipe(recipe, home=home)
    seconds = time.monotonic() - start
    rows = [r for r in read_lines(done.folder / "training.jsonl") if "loss" in r]
    losses = [r["loss"] for r in rows]
    state = json.loads((done.folder / "steps.json").read_text())
    made: dict[str, Any] = {
        "data": get("objective", name).data,
        "source": json.loads((done.folder / "data.json").read_text())["source"].rsplit("/", 1)[-1],
        "rows": json.loads((done.folder / "data.json").read_text())["train"],
        "steps": len(losses),
        "first": float(np.mean(losses[:5])),
        "last": float(np.mean(losses[-5:])),
        "finite": all(map(math.isfinite, losses)),
        "losses": losses,
        "seconds": round(max(seconds, sum(s["seconds"] for s in state)), 1),
    }
    made["fell"] = made["last"] < made["first"]
    has_reward = any(key.startswith("rewards/") for row in rows for key in row)
    made["reward"] = judge.accuracy(done.folder / "adapter") if has_reward else None
    made["align"] = next(s.config for s in recipe.steps if isinstance(s.config, Align)).model_dump(mode="json")
    return made


def table(rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| objective | data | rows | loss, first 5 | last 5 | fell | NaN | reward accuracy (n) | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in sorted(rows.items()):
        if "error" in r:
            lines.append(f"| {name} | | | | | | | {r['error']} | |")
            continue
        reward = r["reward"]
        told = (
            "not defined"
            if reward is None
            else f"{reward['accuracy']:.2f} [{reward['low']:.2f}, {reward['high']:.2f}] ({reward['n']})"
        )
        lines.append(
            f"| {name} | {r['data']}: {r['source']} | {r['rows']} | {r['first']:.4g} | {r['last']:.4g} | "
            f"{'yes' if r['fell'] else 'no'} | {'no' if r['finite'] else 'yes'} | {told} | {r['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no other objective after this long")
    parser.add_argument("--only", nargs="+", help="these objectives")
    parser.add_argument("--again", action="store_true", help="also those that have a result")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the runs")
    parser.add_argument("--json", type=Path, default=HERE / "result.json")
    arguments = parser.parse_args()
    kept = json.loads(arguments.json.read_text())["objectives"] if arguments.json.exists() else {}
    names = arguments.only or sorted(p.stem for p in RECIPES.glob("*.yaml"))
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers.utils.logging.disable_progress_bar()
    start, judge = time.monotonic(), Judge()
    for name in names:
        if name in kept and "error" not in kept[name] and not arguments.again:
            continue
        if time.monotonic() - start > 60 * arguments.minutes:
            break
        try:
            kept[name] = one(name, judge, arguments.runs)
        except TheodoliteError as error:
            kept[name] = {"error": str(error).splitlines()[0]}
        print(table({name: kept[name]}).splitlines()[-1], flush=True)
        result = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "versions": versions()}
        result |= {"threads": torch.get_num_threads(), "pairs": PAIRS, "max_words": WORDS}
        write_json(arguments.json, result | {"objectives": dict(sorted(kept.items()))})
        (arguments.json.parent / "README.md").write_text(TITLE.format(n=PAIRS) + table(kept), encoding="utf-8")
    left = [n for n in names if n not in kept]
    print(f"{len(names) - len(left)} of {len(names)} done" + (f"; left: {', '.join(left)}" if left else ""))


if __name__ == "__main__":
    main()
