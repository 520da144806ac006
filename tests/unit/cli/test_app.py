"""What the entry point says when a command ends early. Typer's own machinery runs; only the commands are stand-ins."""

from __future__ import annotations

import pytest
import typer

from theodolite.cli import app as entry
from theodolite.engine import SamplingInterrupted
from theodolite.errors import DataError


def ends_with(error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple:
    """(exit code, stderr) of a command that raises `error`."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(entry, "app", app)
    monkeypatch.setattr("sys.argv", ["theodolite"])
    with pytest.raises(SystemExit) as end:
        entry.main()
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped. A run, a study or a survey continues"),
        (KeyboardInterrupt("3 of 9 verdicts are kept in v.jsonl"), 130, "3 of 9 verdicts are kept in v.jsonl"),
        (SamplingInterrupted("kept in .done", [], []), 130, "stopped. A run, a study or a survey continues"),
        (DataError("row 3 has no prompt."), 2, "error: row 3 has no prompt."),
        (typer.Exit(3), 3, ""),
    ],
)
def test_how_a_command_ends(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    got, err = ends_with(error, monkeypatch, capsys)
    assert got == code
    assert err.strip().startswith(said)
    assert "Traceback" not in err
    assert ".done" not in err
