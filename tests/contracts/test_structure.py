"""Imports flow one way; every module imports; the layout is the architecture."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import theodolite

ROOT = Path(theodolite.__file__).parent
FLOORS = [
    {"types", "errors"},
    {"stats", "registry", "config"},
    {"objectives", "rewards", "measures"},
    {"models", "data"},
    {"engine", "judges"},
    {"training", "decoding", "audits", "spaces", "exact", "surveys"},
    {"reports"},
    {"runs", "catalogue"},
    {"cli", "web"},
]
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}
MODULES = sorted(m.name for m in pkgutil.walk_packages([str(ROOT)], "theodolite."))


def imported(path: Path) -> set[str]:
    """First part below `theodolite` of everything the file imports, imports inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "theodolite":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("theodolite.")}
    return found & LEVEL.keys()


def upward(path: Path) -> list[str]:
    here = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if here not in LEVEL:
        return []
    return [f"{here} imports {there}" for there in sorted(imported(path)) if LEVEL[there] > LEVEL[here]]


def test_imports_flow_one_way() -> None:
    assert {str(p.relative_to(ROOT)): bad for p in ROOT.rglob("*.py") if (bad := upward(p))} == {}


def test_the_rule_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_structure.ROOT" if __name__ == "test_structure" else f"{__name__}.ROOT", tmp_path)
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures" / "x.py").write_text("def f():\n    from theodolite.runs import run_recipe\n")
    assert upward(tmp_path / "measures" / "x.py") == ["measures imports runs"]


def test_every_folder_has_a_floor() -> None:
    here = {p.name.removesuffix(".py") for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert here - LEVEL.keys() == {"__init__"}


@pytest.mark.parametrize("name", MODULES)
def test_imports(name: str) -> None:
    if not name.endswith("__main__"):
        importlib.import_module(name)


def test_reports_import_no_torch() -> None:
    for path in (ROOT / "reports").rglob("*.py"):
        assert "import torch" not in path.read_text(encoding="utf-8"), path


def test_public_names_exist() -> None:
    for name in theodolite.__all__:
        assert getattr(theodolite, name) is not None


@pytest.mark.parametrize("package", ["data", "engine", "models", "runs", "training"])
def test_no_public_name_is_hidden_by_a_module_of_its_name(package: str) -> None:
    module = importlib.import_module(f"theodolite.{package}")
    modules = {m.name for m in pkgutil.iter_modules(module.__path__)}
    functions = {n for n in module._HOMES if module._HOMES[n] != n or n in ("read", "prepare", "resolve")}
    assert modules & functions == set()
