"""Which reader a file or folder needs, by what is in it; and several of them as the sides of one comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from theodolite.data.files import kind
from theodolite.data.results import alpaca_eval, lm_eval, mt_bench, plain, reward_bench, run_folder
from theodolite.data.results._rows import rows_of
from theodolite.data.results.reliability import beside
from theodolite.data.results.results import Results
from theodolite.errors import DataError, UnknownName, UsageError, did_you_mean

READERS = (lm_eval, alpaca_eval, mt_bench, reward_bench, plain)
"""asked in this order; the first that recognises most rows reads"""


def read_results(path: str | Path) -> list[Results]:
    """Everything in a file or folder: one Results a model (a run folder holds the model before and after)."""
    path = Path(path)
    if path.is_dir():
        found = run_folder.read(path) if run_folder.recognises(path) else lm_eval.folder(path)
        if found is None:
            raise DataError(
                f"{path} is neither a run folder of ours (it has no run.json or items.json) nor an output folder of "
                "lm-evaluation-harness (no samples_*.jsonl; run it with --log_samples)."
            )
        return _with_judges(found, path)
    if not path.is_file():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no file or folder {path}.{did_you_mean(path.name, near)}")
    if kind(path) == ".json":
        _refuse_averages(path)
    rows, problems = rows_of(path)
    reader = next((r for r in READERS if 2 * sum(map(r.recognises, rows)) > len(rows)), None)
    if reader is None:
        raise DataError(
            f"{path} is in no format that can be compared item by item. Its columns are {', '.join(list(rows[0])[:12])}. We "
            "read lm-evaluation-harness samples, AlpacaEval annotations and outputs, RewardBench scores, MT-Bench "
            f"judgments and answers, run folders, and tables with a column of ids ({', '.join(plain.ITEMS)})."
        )
    fit = [r for r in rows if reader.recognises(r)]
    if len(fit) < len(rows):
        problems = [
            *problems,
            f"{len(rows) - len(fit)} rows are not of the format {reader.FORMAT} and were left out",
        ]
    return _with_judges(reader.read(path, fit, problems), path)


def _with_judges(found: list[Results], path: Path) -> list[Results]:
    judges = tuple(beside(path))
    return [replace(r, judges=judges) for r in found] if judges else found


def gather(sources: Sequence[str | Path]) -> list[Results]:
    """The sides of a comparison, each with a name of its own.

    A source is a file, a folder, or either with `:PART` for one of the models in it (`RUN:before`,
    `gpt-4_single.jsonl:vicuna-13b`). A run folder beside other sources stands for its aligned model (`after`); alone,
    it is compared with itself before. Any other source gives all of its models.
    """
    found: list[tuple[str, Results]] = []
    for source in map(str, sources):
        path, part = _split(source)
        parts = read_results(path)
        if part:
            parts = [_part(parts, part, path)]
        elif len(sources) > 1 and [p.part for p in parts] == ["before", "after"]:
            parts = parts[1:]
        found += [(source, p) for p in parts]
    if len(found) < 2:
        only = f"{found[0][1].name} alone" if found else "nothing"
        raise UsageError(
            f"a comparison needs two models or runs, and {' '.join(map(str, sources))} holds {only}. Name another."
        )
    return _named(found)


def _split(source: str) -> tuple[Path, str]:
    """(path, part) of `PATH:PART`; a path that exists as it stands has no part."""
    if Path(source).exists() or ":" not in source:
        return Path(source), ""
    path, _, part = source.partition(":")
    while ":" in part and not Path(path).exists():
        head, _, part = part.partition(":")
        path = f"{path}:{head}"
    return (Path(path), part) if Path(path).exists() else (Path(source), "")


def _part(parts: list[Results], part: str, path: Path) -> Results:
    known = [p.part for p in parts]
    found = next((p for p in parts if part in (p.part, p.name)), None)
    if found is None:
        raise UnknownName(
            f"{path} holds no results of '{part}'.{did_you_mean(part, known)} It has: {', '.join(known)}."
        )
    return found


def _named(found: list[tuple[str, Results]]) -> list[Results]:
    """Names told apart: by the model where that is enough, else with the file, else with the whole path."""
    names = [r.name for _, r in found]
    if len(set(names)) < len(names):
        stems = [Path(s).name.split(".")[0] for s, _ in found]
        folders = [f"{r.name} ({Path(s).parent.name})" for s, r in found]
        paths = [f"{r.name} ({s})" for s, r in found]
        several = len(found) > len({s for s, _ in found})
        stems = [f"{n} ({s})" for n, s in zip(names, stems, strict=True)] if several else stems
        names = next((c for c in (stems, folders, paths) if len(set(c)) == len(c)), names)
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise UsageError(f"'{twice}' is named twice; a comparison of a thing with itself says nothing.")
    return [r.renamed(name, source) for name, (source, r) in zip(names, found, strict=True)]


def _refuse_averages(path: Path) -> None:
    """Files of averages are what people reach for first; say where the items are."""
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
    if not isinstance(body, dict):
        return
    if isinstance(body.get("results"), dict) and ("configs" in body or "versions" in body):
        raise DataError(
            f"{path} holds averages of lm-evaluation-harness; a paired comparison needs the items. Give the "
            "samples_*.jsonl beside it, or their folder; the harness writes them with --log_samples."
        )
    if "accuracy" in body and "num_prompts" in body:
        raise DataError(
            f"{path} holds averages of rewardbench; a paired comparison needs the items. Give MODEL_all.jsonl, which "
            "rewardbench writes with --save_all."
        )
