"""Training's progress, told to whoever draws the bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class Progress(TrainerCallback):
    """Calls `tell(what, done, total)` after each optimizer step."""

    def __init__(self, tell: Callable[[str, int, int], None], what: str) -> None:
        self.tell, self.what = tell, what

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.tell(self.what, state.global_step, state.max_steps)
