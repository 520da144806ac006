"""Verdicts on disk, one a line, appended as they are given: a killed evaluation goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from theodolite.errors import DataError, StorageError
from theodolite.judges.verdict import Answer, Comparison, Verdict


def key_of(identity: Mapping[str, Any], item: Comparison | Answer) -> str:
    """24 hex digits that stand for a judge with all that shapes its verdict, and for what it is shown, in that order."""
    shown = {k: v for k, v in asdict(item).items() if k != "id"}
    text = json.dumps([type(item).__name__, identity, shown], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class VerdictFile:
    """A JSONL file of verdicts by key, or only a memory of them where no path is given.

    A half-written last line (after kill -9) is passed over; its verdict is asked for again. A file in which no line is
    a verdict is refused, so that nobody's data is appended to.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.known: dict[str, Verdict] = {}
        self._torn = False
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __contains__(self, key: str) -> bool:
        return key in self.known

    def __getitem__(self, key: str) -> Verdict:
        return self.known[key]

    def add(self, rows: Iterable[tuple[str, Mapping[str, Any], Verdict]]) -> None:
        """(key, facts for a reader, verdict) of each; on the disk when this returns."""
        made = list(rows)
        self.known |= {key: verdict for key, _, verdict in made}
        if self.path is None or not made:
            return
        lines = [json.dumps({"key": k, **facts, "verdict": v.to_json()}, ensure_ascii=False) for k, facts, v in made]
        text = ("\n" if self._torn else "") + "\n".join(lines) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot be written: {error.strerror or error}. What stood in it before is kept; free some "
                "space or name another file with --out."
            ) from error
        self._torn = False

    def _read(self, path: Path) -> None:
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
        lines = [line for line in raw.split(b"\n") if line.strip()]
        for line in lines:
            try:
                row = json.loads(line)
                self.known[row["key"]] = Verdict.from_json(row["verdict"])
            except (ValueError, TypeError, KeyError):
                continue
        if lines and not self.known:
            raise DataError(f"{path} exists and holds no verdicts. Name another file with --out.")
        self._torn = not raw.endswith(b"\n") and bool(raw)
