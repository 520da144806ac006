"""Talk on stderr: a bar where a person watches, a line now and then where nobody does."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

STYLES = {"warning": "yellow", "check": "green", "done": "bold", "cached": "dim", "data": "dim", "model": "dim"}
SIGNS = {"warning": "!", "check": "✓", "done": "■", "cached": "□", "start": "▸"}


class Voice:
    """Used as a context; `progress` and `hear` are what the runner calls."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet
        self.bars: Progress | None = None
        self.tasks: dict[str, int] = {}
        self.last = 0.0

    def __enter__(self) -> Voice:
        if self.console.is_terminal and not self.quiet:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self.bars = Progress(
                *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True
            )
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        if self.quiet:
            return
        if self.bars is None:
            if time.monotonic() - self.last > 15:
                self.last = time.monotonic()
                print(f"  {what}: {done}/{total}", file=sys.stderr, flush=True)
            return
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)
        if done >= total:
            self.bars.remove_task(self.tasks.pop(what))  # type: ignore[arg-type]

    def hear(self, step: str, event: str, text: str) -> None:
        if self.quiet:
            return
        sign, style = SIGNS.get(event, "·"), STYLES.get(event, "")
        line = f"{sign} {step}" + (f": {text}" if text else "")
        self.console.print(line, style=style, markup=False)
