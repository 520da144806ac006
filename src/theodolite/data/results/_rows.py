"""Rows of a result file, whatever its shape, and what could not be read of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from theodolite.data.files import kind, rows
from theodolite.errors import DataError

Row = Mapping[str, Any]


def rows_of(path: Path) -> tuple[list[Row], list[str]]:
    """All readable rows, and a sentence on those that are not. Columns of a JSON object become rows."""
    if kind(path) == ".json":
        unfolded = _columns(path)
        if unfolded is not None:
            return unfolded, []
    found: list[Row] = []
    faults: list[str] = []
    for row in rows(path):
        if row.value is None:
            faults.append(f"row {row.number}" + (f" ({row.fault.reason})" if row.fault else ""))
        else:
            found.append(row.value)
    if not found:
        raise DataError(f"{path} has no row that can be read" + (f": {'; '.join(faults[:3])}." if faults else "."))
    if not faults:
        return found, []
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return found, [f"{len(faults)} of {len(faults) + len(found)} rows cannot be read: {', '.join(faults[:3])}{more}"]


def _columns(path: Path) -> list[Row] | None:
    """An object of equally long lists, and plain values that hold for every row; None for anything else."""
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None  # `rows` says where and why
    if not isinstance(body, dict):
        return None
    lists = {k: v for k, v in body.items() if isinstance(v, list)}
    constant = {k: v for k, v in body.items() if not isinstance(v, list | dict)}
    lengths = {len(v) for v in lists.values()}
    if not lists or len(lengths) > 1 or len(lists) + len(constant) < len(body) or lengths == {0}:
        return None
    if len(lists) == 1 and isinstance(next(iter(lists.values()))[0], dict):
        return None  # a list of rows under one key
    return [constant | dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def only(rows: list[Row], key: str) -> str:
    """The value of a key where all rows that have it agree, else ''."""
    values = {str(r[key]) for r in rows if r.get(key) not in (None, "")}
    return values.pop() if len(values) == 1 else ""
