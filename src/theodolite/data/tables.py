"""A whole file as named arrays: CSV, TSV, JSONL, JSON (rows, or an object of arrays) and NPZ; what measures read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from theodolite.data.files import kind, rows
from theodolite.errors import DataError, did_you_mean
from theodolite.measures.records import Records


def read_table(path: str | Path) -> Records:
    """Columns of a table, or the arrays of an .npz or of a JSON object. A row that cannot be read is an error here:
    a measure must not lose rows without saying so."""
    path = Path(path)
    if not path.is_file():
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"there is no file {path}.{did_you_mean(path.name, near)}")
    if path.suffix == ".npz":
        return _npz(path)
    if kind(path) == ".json":
        made = _object(path)
        if made is not None:
            return made
    names: dict[str, None] = {}
    found: list[dict[str, Any]] = []
    for row in rows(path):
        if row.fault is not None or row.value is None:
            fault = row.fault
            raise DataError(
                f"{path}, row {row.number}: {fault.reason}; {fault.fix}." if fault else f"{path}: empty row"
            )
        found.append(dict(row.value))
        names |= dict.fromkeys(row.value)
    if not found:
        raise DataError(f"{path} has no rows.")
    return Records({n: _column([r.get(n) for r in found]) for n in names})


def _column(values: list[Any]) -> np.ndarray:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _npz(path: Path) -> Records:
    try:
        with np.load(path, allow_pickle=False) as file:
            return Records({name: file[name] for name in file.files})
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not an .npz file of plain arrays: {error}.") from None


def _object(path: Path) -> Records | None:
    """A JSON object of arrays; None where the file holds rows."""
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, UnicodeDecodeError):
        return None  # `rows` says where and why
    if isinstance(body, dict) and body and all(isinstance(v, list) for v in body.values()):
        return Records({k: _ragged(v) for k, v in body.items()})
    return None


def _ragged(values: list[Any]) -> np.ndarray:
    try:
        made = np.array(values)
        return made if made.dtype.kind in "biuf" else _column(values)
    except ValueError:
        return _column(values)
