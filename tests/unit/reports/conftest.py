"""Run folders for the tests of reports, written by synthetic_run.py beside this file."""

from pathlib import Path

import pytest

from unit.reports.synthetic_run import fill


@pytest.fixture
def make_run(tmp_path: Path):
    """`make_run('readings.json', run_json={...})` leaves one file out and replaces another."""
    return lambda *leave_out, **changed: fill(tmp_path / "run", *leave_out, **changed)


@pytest.fixture
def run(make_run) -> Path:
    return make_run()
