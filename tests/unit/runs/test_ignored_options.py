"""An option that a recipe would not use is refused with a letter; a resolved recipe, which spells defaults, is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from theodolite.errors import ConfigError
from theodolite.runs.recipe import read_recipe


def recipe(folder: Path, curate: dict[str, Any], align: dict[str, Any]) -> Path:
    path = folder / "r.yaml"
    steps = [{"step": "curate", **curate}, {"step": "align", "objective": "dpo", **align}]
    path.write_text(yaml.safe_dump({"name": "r", "steps": steps}))
    return path


READ = {"read": {"path": "pairs.jsonl"}}
MADE: dict[str, Any] = {"instructions": {"train": 4}}


@pytest.mark.parametrize(
    ("curate", "align", "word"),
    [
        ({**READ, "sample": {"k": 3}}, {}, "nothing is sampled"),
        ({**MADE, "held_out": 5}, {}, "instructions.held_out"),
        ({**READ, "pairs": {"how": "all"}}, {"objective": "kto"}, "view is labels"),
        ({**READ, "typos": 0.5}, {}, "not renderings"),
        ({**READ, "strike_out": True}, {}, "not spans"),
        (READ, {"patience": 2, "save_every": 5}, "beside patience"),
    ],
)
def test_refused(tmp_path: Path, curate: dict[str, Any], align: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read_recipe(recipe(tmp_path, curate, align))


@pytest.mark.parametrize("curate", [READ, MADE, {**MADE, "sample": {"k": 3}}, {**READ, "pairs": {"how": "all"}}])
def test_a_resolved_recipe_is_the_same_recipe(tmp_path: Path, curate: dict[str, Any]) -> None:
    made = read_recipe(recipe(tmp_path, curate, {}))
    (tmp_path / "again.yaml").write_text(made.to_yaml())
    assert read_recipe(tmp_path / "again.yaml").resolved() == made.resolved()
