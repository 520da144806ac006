"""Shared ground of the tests: no network, one cache, where the human data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: one thread each, before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with human data; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("THEODOLITE_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"the human data is not at {folder}; set THEODOLITE_SHARED")
    return folder


@pytest.fixture(scope="session")
def smollm() -> object:
    """The real model, loaded once."""
    from theodolite.models import load_model

    return load_model("smollm2-135m-instruct")
