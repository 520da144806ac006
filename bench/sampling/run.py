"""How many useful tokens a second does LocalSampler draw, against `model.generate` at its best batch size?

    python bench/sampling/run.py [--json FILE] [--quick] [--model NAME_OR_PATH] [--llama-server FILE --gguf FILE ...]

Two workloads over the first 32 single-turn instructions of just-eval, 8 samples each, temperature 1, no filters:
`natural` stops at the end of the turn or after 256 new tokens, `fixed` draws exactly 64. A token is useful up to and
including the end-of-turn token; what is computed for rows that have finished is not. `generate` is measured once at
each of `--generate-rows` and at its best as often as ours, llama.cpp's server, where one is given (see `llama_cpp.py`),
likewise at 32 and 64 slots; medians. peak_share is the share of the machine's measured matmul peak that goes into
useful products: 2 FLOPs per weight and token, each prompt once, attention not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import llama_cpp
import torch

from theodolite.engine import LocalSampler, Sampling
from theodolite.models import load_model
from theodolite.models.chat import end_ids, prompt_ids
from theodolite.types import Example

ROOT = Path(__file__).resolve().parents[2]
K = 8


@dataclass(frozen=True)
class Plan:
    """Sizes of one benchmark: the full one, and a quick one that ends within ten minutes."""

    prompts: int = 32
    natural_tokens: int = 256
    fixed_tokens: int = 64
    batches: tuple[int, ...] = (128, 256)
    slots: tuple[int, ...] = (32, 64)
    repeats: int = 3
    generate_repeats: int = 3


QUICK = Plan(prompts=16, fixed_tokens=32, batches=(128,), slots=(64,), generate_repeats=1)


@dataclass(frozen=True)
class Run:
    """One measured pass: useful tokens, seconds, and the mean length of a response."""

    tokens: int
    seconds: float
    cpu_seconds: float | None  # None: spent in another process
    mean_length: float

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds


def examples(n: int) -> list[Example]:
    shared = Path(os.environ.get("THEODOLITE_SHARED", ROOT.parent / "shared"))
    rows = json.loads((shared / "data/instructions/just_eval_instruct_1000.json").read_text(encoding="utf-8"))
    return [Example.of(row["instruction"], id=str(row["id"])) for row in rows[:n]]


def timed(draw: Callable[[], list[int]]) -> Run:
    """`draw` returns the useful length of each response."""
    wall, cpu = time.perf_counter(), time.process_time()
    lengths = draw()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Run(sum(lengths), wall, cpu, sum(lengths) / len(lengths))


def ours(loaded: Any, prompts: list[Example], new: int, fixed: bool, seed: int, **options: Any) -> list[int]:
    sampler = LocalSampler(loaded.model, loaded.tokenizer, **options)
    if fixed:  # an answer must not end early: its end-of-turn tokens are never drawn
        sampler.processors = (never(end_ids(loaded.tokenizer, loaded.model)),)
    out = sampler.sample(prompts, Sampling(k=K, max_new_tokens=new, seed=seed))
    return [len(r.tokens or ()) for e in out for r in e.responses]


@dataclass(frozen=True)
class Llama:
    """llama.cpp's server: the program, the weights it shall answer with, and options of its own."""

    binary: Path
    weights: tuple[Path, ...]
    options: tuple[str, ...]

    def best(
        self, prompts: list[Example], new: int, fixed: bool, plan: Plan, say: Callable[[str, Run], Run]
    ) -> dict[str, Any]:
        """File name -> the summary of its fastest number of slots, as often repeated as ours."""
        return {w.name: self._best(w, prompts, new, fixed, plan, say) for w in self.weights}

    def _best(
        self, weights: Path, prompts: list[Example], new: int, fixed: bool, plan: Plan, say: Callable[[str, Run], Run]
    ) -> dict[str, Any]:
        positions = 256 + new

        def once(slots: int, seed: int) -> Run:
            with llama_cpp.server(self.binary, weights, slots, positions, fixed, self.options) as url:
                start = time.perf_counter()
                tokens = llama_cpp.answer(url, prompts, K, new, seed, slots)
                run = Run(tokens, time.perf_counter() - start, None, tokens / (K * len(prompts)))
            return say(f"llama.cpp, {slots} slots, {weights.name}", run)

        first = {slots: once(slots, 0) for slots in plan.slots}
        best = max(first, key=lambda slots: first[slots].speed)
        runs = [first[best], *(once(best, s) for s in range(1, plan.generate_repeats))]
        by_slots = {str(s): run.speed for s, run in first.items()}
        return summary(runs) | {"slots": best, "by_slots": by_slots, "bytes": weights.stat().st_size}


def never(ids: set[int]) -> Callable[[list[list[int]], torch.Tensor], torch.Tensor]:
    columns = sorted(ids)

    def process(_: list[list[int]], logits: torch.Tensor) -> torch.Tensor:
        logits[:, columns] = -torch.inf
        return logits

    return process


def theirs(loaded: Any, prompts: list[Example], new: int, fixed: bool, seed: int, rows: int) -> list[int]:
    """transformers' generate on left-padded batches of `rows` rows, in the order given."""
    ends = sorted(end_ids(loaded.tokenizer, loaded.model))
    ids = [list(prompt_ids(loaded.tokenizer, e.prompt)) for e in prompts]
    torch.manual_seed(seed)
    lengths: list[int] = []
    for start in range(0, len(ids), rows // K):
        part = ids[start : start + rows // K]
        width = max(map(len, part))
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in part])
        padded = torch.tensor([[ends[0]] * (width - len(p)) + p for p in part])
        with torch.inference_mode():
            out = loaded.model.generate(
                padded, attention_mask=mask, do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                num_return_sequences=K, max_new_tokens=new, min_new_tokens=new if fixed else None,
                eos_token_id=ends, pad_token_id=ends[0],
            )[:, width:].tolist()  # fmt: skip
        lengths += [next((i + 1 for i, t in enumerate(row) if t in ends), len(row)) for row in out]
    return lengths


def matmul_peak(dtype: torch.dtype) -> float:
    """FLOP/s of the fastest large product found."""
    best = 0.0
    for size in (1024, 2048, 4096):
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        a @ b
        for _ in range(5):
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def useful_flops(loaded: Any, prompts: list[Example], tokens: float) -> tuple[float, float]:
    """FLOPs of the drawn tokens, and those of the prompts, each computed once and without the LM head."""
    weights = {n: m.weight.numel() for n, m in loaded.model.named_modules() if isinstance(m, torch.nn.Linear)}
    head = weights.get("lm_head", 0)
    length = sum(len(prompt_ids(loaded.tokenizer, e.prompt)) for e in prompts)
    return 2.0 * sum(weights.values()) * tokens, 2.0 * (sum(weights.values()) - head) * length


def profile(work: Callable[[], object]) -> dict[str, float]:
    """Share of the operators' own CPU time, the eight dearest."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        work()
    spent = {e.key: e.self_cpu_time_total for e in seen.key_averages()}
    total = sum(spent.values())
    top = sorted(spent, key=lambda name: -spent[name])[:8]
    return {name: round(spent[name] / total, 3) for name in top}


def summary(runs: list[Run]) -> dict[str, Any]:
    speeds = [r.speed for r in runs]
    return {
        "tokens_per_second": statistics.median(speeds),
        "spread": [min(speeds), max(speeds)],
        "runs": [asdict(r) for r in runs],
    }


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    names = (
        [x.split(":", 1)[1].strip() for x in info.read_text().splitlines() if "model name" in x]
        if info.exists()
        else []
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    import transformers

    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory, 1),
        "load_average_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def measure(loaded: Any, plan: Plan, fixed: bool, peak: float, llama: Llama | None) -> dict[str, Any]:
    """One workload: ours, generate and llama.cpp in turn, then medians."""
    prompts = examples(plan.prompts)
    new = plan.fixed_tokens if fixed else plan.natural_tokens
    name = f"fixed {new}" if fixed else f"natural <= {new}"

    def say(who: str, run: Run) -> Run:
        print(
            f"{name:>14}  {who:<22} {run.speed:7.1f} useful tokens/s  ({run.tokens} in {run.seconds:.1f} s)", flush=True
        )
        return run

    mine = [say("ours", timed(lambda s=s: ours(loaded, prompts, new, fixed, s))) for s in range(plan.repeats)]
    first = {
        rows: say(f"generate, {rows} rows", timed(lambda rows=rows: theirs(loaded, prompts, new, fixed, 0, rows)))
        for rows in plan.batches
    }
    best = max(first, key=lambda rows: first[rows].speed)
    again = range(1, plan.generate_repeats)
    other = [first[best]]
    other += [
        say(f"generate, {best} rows", timed(lambda s=s: theirs(loaded, prompts, new, fixed, s, best))) for s in again
    ]
    half = [say("ours in bfloat16", timed(lambda: ours(loaded, prompts, new, fixed, 0, dtype="bfloat16")))]
    third = llama.best(prompts, new, fixed, plan, say) if llama else {}
    speed = statistics.median(r.speed for r in mine)
    middle = min(mine, key=lambda r: abs(r.speed - speed))
    drawn, prefill = useful_flops(loaded, prompts, middle.tokens)
    return {
        "new_tokens": new,
        "prompts": plan.prompts,
        "k": K,
        "speed_ratio": speed / statistics.median(r.speed for r in other),
        "peak_share": (drawn + prefill) / middle.seconds / peak,
        "peak_share_drawn_tokens_only": drawn / middle.seconds / peak,
        "ours": summary(mine),
        "ours_bfloat16": summary(half),
        "llama_cpp": third or "not measured: give --llama-server and --gguf",
        "speed_ratio_llama_cpp": {name: speed / found["tokens_per_second"] for name, found in third.items()},
        "generate": summary(other) | {"rows": best, "by_rows": {str(r): run.speed for r, run in first.items()}},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--quick", action="store_true", help="smaller workloads, within ten minutes")
    parser.add_argument("--workloads", nargs="+", choices=["natural", "fixed"], default=["natural", "fixed"])
    parser.add_argument("--generate-rows", nargs="+", type=int, help="batch sizes of generate (default: 128 256)")
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's llama-server, to be measured too")
    parser.add_argument("--gguf", nargs="+", type=Path, default=[], help="its weights, one or more files")
    parser.add_argument("--llama-options", default="", help="further options of the server")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a name or a folder")
    args = parser.parse_args()
    plan = QUICK if args.quick else Plan()
    if args.generate_rows:
        plan = replace(plan, batches=tuple(args.generate_rows))
    if bool(args.llama_server) != bool(args.gguf):
        raise SystemExit("--llama-server and --gguf go together.")
    llama = Llama(args.llama_server, tuple(args.gguf), tuple(args.llama_options.split())) if args.gguf else None
    about = machine()
    loaded = load_model(args.model, device="cpu")
    peak = matmul_peak(torch.float32)
    blocks = {name: measure(loaded, plan, name == "fixed", peak, llama) for name in args.workloads}
    few = examples(16)
    where = {
        "ours": profile(lambda: ours(loaded, few, 8, True, 0)),
        "generate": profile(lambda: theirs(loaded, few, 8, True, 0, 128)),
    }
    peak_now = max(peak, matmul_peak(torch.float32))
    for block in blocks.values():  # the peak may have been disturbed at the start: the higher one counts
        for share in ("peak_share", "peak_share_drawn_tokens_only"):
            block[share] *= peak / peak_now
        block |= {"quick": args.quick, "machine": about, "matmul_peak_gflops": peak_now / 1e9}
    if args.json and args.json.exists():  # a workload that was not run keeps its block, which says when it was
        old = json.loads(args.json.read_text(encoding="utf-8"))
        blocks = {name: old[name] for name in ("natural", "fixed") if name in old} | blocks
    natural, fixed = blocks.get("natural", {}), blocks.get("fixed", {})
    result = {
        "speed_ratio": natural.get("speed_ratio"),
        "speed_ratio_fixed": fixed.get("speed_ratio"),
        "peak_share": fixed.get("peak_share"),
        "peak_share_natural": natural.get("peak_share"),
        **blocks,
        "where_a_step_goes": where,
        "matmul_peak_gflops": {"float32": peak_now / 1e9, "bfloat16": matmul_peak(torch.bfloat16) / 1e9},
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "model": args.model,
    }
    text = json.dumps(result, indent=2)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")
    for name in args.workloads:
        block = blocks[name]
        print(
            f"{name}: {block['speed_ratio']:.2f}x generate at its best, {block['peak_share']:.0%} of the matmul peak "
            f"({block['matmul_peak_gflops']:.0f} GFLOP/s)"
        )


if __name__ == "__main__":
    main()
