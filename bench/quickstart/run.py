"""Is the quickstart's improvement real, or one lucky seed? Runs examples/quickstart.yaml with several seeds.

    python bench/quickstart/run.py [--seeds 0 1 2 3 4 5] [--json result.json]

Everything a seed touches changes with it: the instructions drawn, the held-out instructions, the samples, the
adapter's start and the order of the data. Runs in sequence; each is a normal run under ./runs and is not redone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from theodolite.runs.folder import machine, versions

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent.parent / "examples" / "quickstart.yaml"
SHOWN = (
    "pass_rate.before",
    "pass_rate.after",
    "pass_rate.difference",
    "kl",
    "length.before",
    "length.after",
    "reward_accuracy.after",
)


def one(seed: int) -> dict[str, object]:
    """One run of the recipe; its readings by name and its seconds."""
    command = [sys.executable, "-m", "theodolite.cli", "run", str(RECIPE), f"seed={seed}", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    steps = json.loads((Path(said["run"]) / "steps.json").read_text())
    readings = {
        r["name"]: {k: r[k] for k in ("value", "low", "high", "n")} for r in said["readings"] if r["name"] in SHOWN
    }
    return {"seed": seed, "seconds": round(sum(s["seconds"] for s in steps), 1), "readings": readings}


def table(rows: list[dict]) -> str:
    lines = ["| seed | before | after | difference (95 % interval) | KL | seconds |", "|---|---|---|---|---|---|"]
    for row in rows:
        r = row["readings"]
        d = r["pass_rate.difference"]
        lines.append(
            f"| {row['seed']} | {r['pass_rate.before']['value']:.1%} | {r['pass_rate.after']['value']:.1%} | "
            f"{d['value']:+.1%} ({d['low']:+.1%} to {d['high']:+.1%}) | {r['kl']['value']:.1f} | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--json", type=Path, default=HERE / "result.json")
    arguments = parser.parse_args()
    rows = []
    for seed in arguments.seeds:
        rows.append(one(seed))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        result = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "versions": versions(),
            "seeds": rows,
        }
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
