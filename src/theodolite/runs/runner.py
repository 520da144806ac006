"""Runs a recipe step by step. A finished step is known by the hash of all that went into it and is not redone.

Steps work in `RUNS/cache/KIND-HASH.partial`, which is renamed to `KIND-HASH` when done: a kill leaves either a
finished step or a partial one that continues from what it saved. Two processes with the same step wait for each
other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from theodolite.errors import StorageError, TheodoliteError
from theodolite.models.load import count_parameters, fingerprint
from theodolite.models.locate import resolve
from theodolite.runs import folder as disk
from theodolite.runs.context import Context, Progress
from theodolite.runs.ledger import Ledger
from theodolite.runs.recipe import Recipe, Step

PUBLISHED = (
    "readings.json", "samples.jsonl", "training.jsonl", "data.json", "survey.json", "items.json", "adapter", "model",
)  # fmt: skip
"""what steps make that is copied into the run folder"""


@dataclass(frozen=True, slots=True)
class Finished:
    folder: Path
    report: Path | None
    readings: list[dict[str, Any]]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        keys = ("name", "value", "low", "high", "level", "n", "missing", "unit", "better")
        return {
            "run": str(self.folder),
            "report": str(self.report) if self.report else None,
            "seconds": self.seconds,
            "readings": [{k: r.get(k) for k in keys} for r in self.readings],
        }


def run_recipe(
    recipe: Recipe,
    *,
    home: Path | None = None,
    progress: Progress = lambda what, done, total: None,
    hear: Callable[[str, str, str], None] = lambda step, event, text: None,
) -> Finished:
    """All steps in order. Raises what a step raises, after the state has been written down."""
    home = (home or disk.runs_home()).resolve()
    ledger = Ledger(home)
    run = home / f"{recipe.head.name}-{recipe.hash}"
    clock, made = disk.Clock(), []
    with _locked(home / f".{run.name}.lock"):
        state = _begin(recipe, run, ledger)
        record: list[dict[str, Any]] = []
        try:
            path = resolve(recipe.head.model.name, say=lambda text: hear("model", "model", text))
            state["model"] |= {
                "path": str(path),
                "fingerprint": fingerprint(path),
                "parameters": count_parameters(path),
            }
            chain = hashlib.sha256(f"{state['model']}{recipe.head.seed}{_code()}".encode()).hexdigest()
            for step in recipe.steps:
                chain = _chained(chain, step, recipe)
                made.append(_step(recipe, step, chain, home, run, made, record, progress, hear))
            state |= {"status": "done", "seconds": clock.seconds}
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            state |= {"status": "interrupted" if interrupted else "failed", "seconds": clock.seconds}
            state["failure"] = "stopped by the user" if interrupted else _sentence(error)
            raise
        finally:
            with contextlib.suppress(TheodoliteError, OSError):
                _end(state, run, recipe, ledger)
    report = run / "report.html"
    return Finished(run, report if report.exists() else None, disk.read_json(run / "readings.json", []), clock.seconds)


def _step(
    recipe: Recipe,
    step: Step,
    chain: str,
    home: Path,
    run: Path,
    earlier: list[Path],
    record: list[dict[str, Any]],
    progress: Progress,
    hear: Callable[[str, str, str], None],
) -> Path:
    """Do one step, or find it done; returns the folder that holds its files."""
    done = home / "cache" / f"{step.kind}-{chain[:16]}"
    work = done.with_name(done.name + ".partial")
    entry = {"name": step.name, "kind": step.kind, "hash": chain[:16], "cached": done.exists(), "status": "running"}
    record.append(entry | {"seconds": 0.0, "summary": ""})
    disk.write_json(run / "steps.json", record)

    def say(event: str, text: str) -> None:
        row = {"time": disk.now(), "step": step.name, "event": event, "text": text}
        disk.append_line((work if work.exists() else run) / "events.jsonl", row)
        hear(step.name, event, text)

    clock = disk.Clock()
    done.parent.mkdir(parents=True, exist_ok=True)
    with _locked(done.with_suffix(".lock")):
        if not done.exists() or step.kind == "report":
            work.mkdir(parents=True, exist_ok=True)
            hear(step.name, "start", "")
            context = Context(recipe, work, earlier, say, progress, run)
            try:
                summary = step.function(context, step.config)
            except BaseException as error:
                record[-1] |= {"status": "failed", "seconds": clock.seconds, "summary": _sentence(error)}
                disk.write_json(run / "steps.json", record)
                _publish(work, run, ("events.jsonl",))
                raise
            disk.write_json(work / "step.json", {"summary": summary, "seconds": clock.seconds})
            if done.exists():
                shutil.rmtree(done)
            os.replace(work, done)
    finished = disk.read_json(done / "step.json")
    record[-1] |= {"status": "done", "seconds": finished["seconds"], "summary": finished["summary"]}
    disk.write_json(run / "steps.json", record)
    _publish(done, run, (*PUBLISHED, "events.jsonl"))
    hear(step.name, "cached" if entry["cached"] else "done", finished["summary"])
    return done


def _publish(source: Path, run: Path, names: tuple[str, ...]) -> None:
    """Copy a step's files into the run folder; events are joined, everything else replaces what was there."""
    try:
        for name in names:
            if not (source / name).exists():
                continue
            if name == "events.jsonl":
                for row in disk.read_lines(source / name):
                    disk.append_line(run / name, row)
            elif (source / name).is_dir():
                shutil.rmtree(run / name, ignore_errors=True)
                shutil.copytree(source / name, run / name)
            else:
                shutil.copy2(source / name, run / name)
    except OSError as error:
        raise StorageError(f"the run folder {run} cannot be written: {error}. Finished steps are kept.") from error


def _begin(recipe: Recipe, run: Path, ledger: Ledger) -> dict[str, Any]:
    try:
        run.mkdir(parents=True, exist_ok=True)
        for name in ("events.jsonl", "report.html", "report.json", *PUBLISHED[:6]):
            (run / name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"the run folder {run} cannot be written: {error}. Choose another with --runs.") from error
    state = {
        "id": run.name,
        "name": recipe.head.name,
        "title": recipe.head.title or recipe.head.name,
        "status": "running",
        "created": disk.now(),
        "seconds": 0.0,
        "seed": recipe.head.seed,
        "versions": disk.versions(),
        "machine": disk.machine(),
        "model": {"name": recipe.head.model.name},
        "command": disk.command(),
        "failure": None,
    }
    disk.write_text(run / "recipe.yaml", recipe.to_yaml())
    disk.write_json(run / "run.json", state)
    ledger.put(
        id=run.name,
        name=recipe.head.name,
        folder=str(run),
        status="running",
        created=state["created"],
        model=recipe.head.model.name,
    )
    return state


def _end(state: dict[str, Any], run: Path, recipe: Recipe, ledger: Ledger) -> None:
    """Write the state down, and the page again now that it is final."""
    disk.write_json(run / "run.json", state)
    headline = state["failure"] or ""
    if any(s.kind == "report" for s in recipe.steps):
        from theodolite.reports import page

        page.write(run)
        headline = headline or page.headline(run)
    ledger.put(id=run.name, status=state["status"], seconds=state["seconds"], headline=headline)


def _chained(chain: str, step: Step, recipe: Recipe) -> str:
    """The step's hash: what came before it, its options, and the contents of the files it reads."""
    digest = hashlib.sha256(chain.encode())
    digest.update(json.dumps([step.kind, step.config.model_dump(mode="json")], sort_keys=True).encode())
    for name in getattr(step.config, "files", tuple)():
        file = Path(recipe.path(name))
        if file.is_file():
            with open(file, "rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


@cache
def _code() -> str:
    """Hash of this package's sources, so that a changed formula is never answered from an old cache."""
    import theodolite

    digest = hashlib.sha256()
    root = Path(theodolite.__file__).parent
    for file in sorted(root.rglob("*.py")):
        if file.relative_to(root).parts[0] not in ("reports", "cli", "web", "catalogue"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text if isinstance(error, TheodoliteError) else f"{type(error).__name__}: {text}"


def _locked(path: Path) -> Any:
    from filelock import FileLock

    try:
        return FileLock(str(path))
    except OSError as error:
        raise StorageError(f"{path.parent} cannot be written: {error}.") from error
