"""The survey of examples/survey.yaml, its readings and a table of them.

    python bench/survey/run.py [--run RUN_FOLDER]     # without --run it runs the recipe first

Writes readings.json and table.md beside this file. Items and answers stay in the run folder: they are other people's text.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def told(r: dict[str, Any] | None) -> str:
    """'27.0 % (21 to 33)', with what guessing reaches where the interval holds it."""
    if r is None:
        return "not asked"
    if r["value"] is None:
        return f"undefined: {r['note']}"
    f, unit = (100, " %") if r["unit"] == "share" else (1, "")
    places = 1 if f == 100 else 2
    said = f"{f * r['value']:.{places}f}{unit}"
    if r["low"] is not None:
        said += f" ({f * r['low']:.{places}f} to {f * r['high']:.{places}f})"
        chance = r["parts"].get("chance")
        if isinstance(chance, float) and r["low"] <= chance <= r["high"]:
            said += " *at chance*"
    return said


def table(found: dict[str, Any]) -> str:
    models = found["models"]
    by = {(r["provenance"]["model"], r["name"]): r for r in found["readings"]}
    gaps = {r["name"].removesuffix(".difference"): r for r in found["differences"]}
    lines = [f"| reading | n | {' | '.join(models)} | difference, p |", "|---|---|" + "---|" * (len(models) + 1)]
    for name in dict.fromkeys(r["name"] for r in found["readings"]):
        rows = [by.get((m, name)) for m in models]
        gap = gaps.get(name)
        p = f", p = {gap['p_value']:.2g}" if gap and gap["p_value"] is not None else ""
        last = f"{told({**gap, 'parts': {}})}{p}" if gap else ""
        n = next((r["n"] for r in rows if r), 0)
        lines.append(f"| {name} | {n} | {' | '.join(map(told, rows))} | {last} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="a run that has been made")
    args = parser.parse_args()
    run = args.run
    if run is None:
        command = [
            sys.executable,
            "-m",
            "theodolite.cli",
            "run",
            str(HERE.parents[1] / "examples/survey.yaml"),
            "--json",
        ]
        run = Path(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)["run"])
    found = json.loads((run / "survey.json").read_text())
    state = json.loads((run / "run.json").read_text())
    for r in [*found["readings"], *found["differences"]]:
        r["parts"] = {k: v for k, v in r["parts"].items() if isinstance(v, int | float)}
    kept = {k: found[k] for k in ("models", "readings", "differences", "gaps", "passes")}
    kept |= {
        "machine": state["machine"],
        "versions": state["versions"],
        "created": state["created"],
        "seconds": state["seconds"],
    }
    (HERE / "readings.json").write_text(json.dumps(kept, indent=1) + "\n")
    (HERE / "table.md").write_text(table(found))


if __name__ == "__main__":
    main()
