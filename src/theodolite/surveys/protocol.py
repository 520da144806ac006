"""What the files of this package share: where a survey's items lie, which of them are asked, and its options."""

from __future__ import annotations

import os
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import Field

from theodolite.config import Config
from theodolite.data.files import rows
from theodolite.errors import DataError

T = TypeVar("T")


class Protocol(Config):
    """Options that every survey takes; its file says where its own items lie."""

    data: str = ""
    """file or folder with the items; $THEODOLITE_SHARED stands for the folder of human data"""
    limit: int | None = Field(None, gt=0)
    """most items to ask, drawn once by a fixed seed so that every model gets the same ones; default all"""
    level: float = Field(0.95, gt=0, lt=1)
    """coverage of the intervals"""


def locate(data: str, *names: str) -> Path:
    """The file of a survey's items; a letter where it is missing."""
    shared = {"THEODOLITE_SHARED": os.environ.get("THEODOLITE_SHARED", "../shared")}
    path = Path(os.path.expanduser(string.Template(data).safe_substitute(shared | dict(os.environ)))).joinpath(*names)
    if not path.exists():
        raise DataError(
            f"the items of this survey are not at {path}. Set THEODOLITE_SHARED to the folder that holds data/, or give "
            "the file with --set data=FILE."
        )
    return path


def table(path: Path) -> list[dict[str, Any]]:
    """All rows of a file; one that cannot be read is an error, for a survey must not lose items in silence."""
    found = []
    for row in rows(path):
        if row.value is None:
            why = f"{row.fault.reason}; {row.fault.fix}" if row.fault else "it is empty"
            raise DataError(f"{path}, row {row.number}: {why}.")
        found.append(dict(row.value))
    return found


def pick(items: Sequence[T], limit: int | None, seed: int = 20260101) -> list[T]:
    """At most `limit` of them, in their own order: the same ones for every model and every seed of a run."""
    if limit is None or limit >= len(items):
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), size=limit, replace=False)
    return [items[i] for i in sorted(chosen)]
