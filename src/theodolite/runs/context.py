"""What a step sees: its folder, earlier steps' files, the model, a voice and a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from theodolite.errors import DataError
from theodolite.models.load import Loaded, ModelConfig, load_model
from theodolite.runs.recipe import Recipe

Progress = Callable[[str, int, int], None]
"""(what, done, total)"""


@dataclass(slots=True)
class Context:
    """Given to each step. A step writes only into `folder`; the runner publishes it when the step is done."""

    recipe: Recipe
    folder: Path
    earlier: list[Path]
    say: Callable[[str, str], None]
    progress: Progress
    run: Path
    _loaded: Loaded | None = field(default=None)

    @property
    def seed(self) -> int:
        return self.recipe.head.seed

    @property
    def model(self) -> ModelConfig:
        return self.recipe.head.model

    def load(self) -> Loaded:
        """The untouched model, fresh for each step."""
        if self._loaded is None:
            self._loaded = load_model(self.model, say=lambda text: self.say("model", text))
        return self._loaded

    def find(self, name: str) -> Path | None:
        """The newest earlier file or folder of that name."""
        return next((p / name for p in reversed(self.earlier) if (p / name).exists()), None)

    def need(self, name: str, because: str) -> Path:
        found = self.find(name)
        if found is None:
            raise DataError(f"{because}, but no earlier step made {name}. Put a step that does before it.")
        return found
