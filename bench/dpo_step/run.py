"""How fast and how lean is a DPO step, beside TRL's DPOTrainer on the same rows, weights and adapter?

    python bench/dpo_step/run.py [--json result.json] [--rows 16] [--repeats 3] [--data hh short ranked] [--quick]

Every measurement runs in a process of its own, so that its peak memory is its own. Let the machine be idle. --quick
ends within ten minutes: the first data set, one repeat, TRL's two main settings. See README.md for how to read it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from theodolite.runs.folder import machine, versions

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("THEODOLITE_SHARED", HERE.parent.parent.parent / "shared")) / "data"


def measure(side: str, job: dict[str, Any], repeats: int) -> dict[str, Any]:
    """The median run of `repeats`, with the spread of its seconds."""
    runs = [_run(side, job) for _ in range(repeats)]
    runs.sort(key=lambda r: r["seconds"])
    middle = dict(runs[(len(runs) - 1) // 2])
    middle["all_seconds"] = [round(r["seconds"], 2) for r in runs]
    middle["memory_gb"] = statistics.median(r["memory_gb"] for r in runs)
    return middle


class OutOfMemory(Exception):
    """The system killed a worker, as it does where memory runs out."""


def _run(side: str, job: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        ask, answer = Path(folder) / "job.json", Path(folder) / "result.json"
        ask.write_text(json.dumps(job))
        command = [sys.executable, "-W", "ignore", str(HERE / "run.py"), "--worker", side, str(ask), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == -9:
            raise OutOfMemory
        if done.returncode:
            raise SystemExit(f"{side} failed:\n{done.stderr[-4000:]}")
        return json.loads(answer.read_text())


def compare(case: dict[str, Any], job: dict[str, Any], repeats: int, quick: bool) -> dict[str, Any]:
    """Both sides on one data set, and the ratios."""
    groups = case["groups"]
    each = len(groups[0]["responses"]) - 1
    pairs = len(groups) * each
    job = {**job, "groups": groups, "per_step": case["per_step"]}
    job["budget"] = job["budget"] or case["budget"]
    ours = measure("ours", job, repeats)
    ours["peak_share"] = ours["useful_gflop"] / ours["seconds"] / ours["peak_gflops"]
    tell(case["name"], "ours", ours)
    micro = [min(m, case["per_step"] * each) for m in case["micro"]]
    settings = [(micro[0], False), (micro[1], False)]
    if not quick:
        settings = list(dict.fromkeys([*settings, (micro[1], True), (micro[2], False), (micro[2], True)]))

    def theirs_at(size: int, precompute: bool, times: int) -> dict[str, Any] | None:
        asked = {**job, "micro": size, "precompute": precompute, "checkpointing": False}
        try:
            got = measure("theirs", asked, times) | {"micro": size, "precompute": precompute}
        except OutOfMemory:
            print(f"{case['name']}: TRL, micro-batches of {size}: killed for memory", flush=True)
            return None
        tell(case["name"], f"TRL, micro-batches of {size}{', reference precomputed' if precompute else ''}", got)
        return got

    first = theirs_at(*settings[0], repeats)
    tried = [t for setting in settings[1:] if (t := theirs_at(*setting, 1)) is not None]  # each once
    best = min(tried, key=lambda r: r["seconds"])
    if repeats > 1:  # the fastest again, for its median
        best = theirs_at(best["micro"], best["precompute"], repeats) or best
    for side in (ours, best, *tried, *([first] if first else [])):
        side["pairs_per_second"] = pairs / side["seconds"]
    theirs = best["losses"]
    return {
        "speed_ratio": first["seconds"] / ours["seconds"] if first else None,  # None: killed for memory
        "memory_ratio": ours["memory_gb"] / first["memory_gb"] if first else None,
        "speed_ratio_best": best["seconds"] / ours["seconds"],
        "memory_ratio_best": ours["memory_gb"] / best["memory_gb"],
        "loss_rel_diff": max(abs(a - b) / abs(b) for a, b in zip(ours["losses"], theirs, strict=True)),
        "peak_share": ours["peak_share"],
        "pairs": pairs,
        "budget": job["budget"],
        "tokens": {
            "prompt": sum(len(g["prompt"]) for g in groups),
            "responses": sum(len(r) for g in groups for r in g["responses"]),
        },
        "ours": ours,
        "trl": {"first": first, "best": best, "all": tried},
        "machine": machine(),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "repeats": repeats,
    }


def tell(data: str, who: str, got: dict[str, Any]) -> None:
    losses = " ".join(f"{x:.6f}" for x in got["losses"])
    share = f", {got['peak_share']:.0%} of the matmul peak" if "peak_share" in got else ""
    print(f"{data}: {who}: {got['seconds']:.1f} s, {got['memory_gb']:.2f} GB{share}, losses {losses}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--rows", type=int, default=16, help="pairs (for ranked: an eighth as many prompts)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", nargs="+", choices=["hh", "short", "ranked"], default=["hh", "short", "ranked"])
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a name or a folder")
    parser.add_argument("--budget", type=int, help="our tokens a pack (default: hh 1280, the others 1024)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--worker", nargs=3, metavar=("SIDE", "JOB", "RESULT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        side, job, result = args.worker
        answer = importlib.import_module(side).train(json.loads(Path(job).read_text()))
        Path(result).write_text(json.dumps(answer))
        return
    if args.rows % min(8, args.rows):
        raise SystemExit(f"--rows must be a multiple of 8 (steps of 8 pairs), got {args.rows}.")
    if not SHARED.is_dir():
        raise SystemExit(f"the human data is not at {SHARED}; set THEODOLITE_SHARED.")
    report(args)


def report(args: argparse.Namespace) -> None:
    import cases
    from common import Adapter, lora

    from theodolite.models import load_model

    loaded = load_model(args.model)
    names, repeats = (args.data[:1], 1) if args.quick else (args.data, args.repeats)
    sizes = {"hh": args.rows, "short": args.rows, "ranked": max(2, args.rows // 8)}
    found = {name: getattr(cases, name)(SHARED, loaded.tokenizer, sizes[name]) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "adapter.safetensors"
        Adapter.draw(lora(loaded.model)).write(start)
        del loaded
        job = {"model": args.model, "adapter": str(start), "budget": args.budget}
        results = {}
        for name, case in found.items():
            results[name] = compare(case, job, repeats, args.quick)
            if args.json:
                keep(args.json, name, results[name])
    for name, r in results.items():
        first = f"{r['speed_ratio']:.2f}x" if r["speed_ratio"] else "it ran out of memory"
        print(
            f"{name}: {first} as first written, {r['speed_ratio_best']:.2f}x its best; memory {r['memory_ratio_best']:.2f}x "
            f"its best; losses differ by {r['loss_rel_diff']:.1e}; {r['peak_share']:.0%} of the matmul peak"
        )


def keep(path: Path, name: str, block: dict[str, Any]) -> None:
    """Write one data set's block beside those that are there; the first data set's block stands on top too."""
    old = json.loads(path.read_text()) if path.exists() else {}
    blocks = old.get("data", {}) | {name: block}
    top = blocks.get("hh") or block
    path.write_text(json.dumps({**top, "data": blocks}, indent=1) + "\n")


if __name__ == "__main__":
    main()
