"""`measure` in Python: records in every plain form, surveys, and letters for what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from theodolite import measure
from theodolite.errors import ConfigError, DataError, UnknownName, UsageError

ROWS = [["a", "a"], ["b", "b"], ["a", "b"], ["b", "b"], ["a", None]]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_a_matrix_and_a_mapping_agree(tmp_path: Path) -> None:
    csv = write(tmp_path / "r.csv", "item,x,y\n1,a,a\n2,b,b\n3,a,b\n4,b,b\n5,a,\n")
    jsonl = write(tmp_path / "r.jsonl", "\n".join('{{"x": "{}", "y": "{}"}}'.format(x, y or "") for x, y in ROWS))
    columns = {"x": [r[0] for r in ROWS], "y": [r[1] for r in ROWS]}
    np.savez(tmp_path / "r.npz", x=np.array([0, 1, 0, 1, 0.0]), y=np.array([0, 1, 1, 1, np.nan]))
    found = [measure("krippendorff_alpha", d) for d in (csv, jsonl, columns, ROWS, tmp_path / "r.npz")]
    assert {round(r.value, 12) for r in found} == {round(found[0].value, 12)}
    assert found[0].n == 4


def test_letters(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'cohen_kappa'"):
        measure("cohen_kapa", ROWS)
    with pytest.raises(UsageError, match="give data="):
        measure("cohen_kappa")
    with pytest.raises(UsageError, match="model="):
        measure("truthfulqa")
    with pytest.raises(ConfigError, match="metrik"):
        measure("krippendorff_alpha", ROWS, metrik="ordinal")
    with pytest.raises(DataError, match="no file"):
        measure("cohen_kappa", tmp_path / "nothing.csv")
    with pytest.raises(UsageError, match="recipe"):
        measure("kl", ROWS)
    with pytest.raises(DataError, match="no column"):
        measure("leniency", {"judge": [1]})
    with pytest.raises(DataError, match="row 2"):
        measure("cohen_kappa", write(tmp_path / "broken.csv", "item,x,y\n1,2,3\n2,3\n"))
