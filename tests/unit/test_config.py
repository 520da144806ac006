from __future__ import annotations

import pytest

from theodolite.config import Config, Source, dump
from theodolite.errors import ConfigError, UnknownName
from theodolite.registry import get, names, register


class Inner(Config):
    beta: float = 0.1
    """how strongly"""
    epochs: int = 1


class Outer(Config):
    inner: Inner = Inner()
    rows: tuple[Inner, ...] = ()
    seed: int = 0


TEXT = "seed: 1\ninner:\n  beta: 0.2\nrows:\n  - epochs: 1\n  - bata: 2\n"


def letter(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Source.parse(text, "r.yaml").override(overrides).validate(Outer)
    return str(caught.value)


def test_a_wrong_key_is_told_with_the_nearest_and_the_line() -> None:
    said = letter(TEXT)
    assert "r.yaml:6" in said
    assert "no option 'bata'" in said
    assert "Did you mean 'beta'?" in said
    assert "beta, epochs" in said


def test_a_wrong_value_is_told_with_what_it_got() -> None:
    assert "r.yaml:3: inner.epochs" in letter("seed: 1\ninner:\n  epochs: many\n")
    assert "'many'" in letter("inner: {epochs: many}")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1", "r.yaml"),
        ("seed: 1\nseed: 2\n", "twice"),
        ("- 1\n", "expected keys"),
        ("seed: 1\n b: 2", "not valid YAML"),
    ],
)
def test_broken_yaml_is_one_letter(text: str, part: str) -> None:
    assert part in letter(text)


def test_overrides_reach_into_lists_and_keep_types() -> None:
    source = Source.parse("rows:\n  - name: first\n    x: 1\n").override(
        ["rows.first.x=2.5", "seed=3", "new.deep=[1, a]"]
    )
    assert source.data == {"rows": [{"name": "first", "x": 2.5}], "seed": 3, "new": {"deep": [1, "a"]}}


@pytest.mark.parametrize("bad", ["seed", "=3", "rows.nobody.x=1", "seed.deep=1"])
def test_bad_overrides_are_told(bad: str) -> None:
    with pytest.raises(ConfigError):
        Source.parse("seed: 1\nrows: []\n").override([bad])


def test_missing_file_suggests_the_neighbour(tmp_path) -> None:
    (tmp_path / "quickstart.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"Did you mean 'quickstart\.yaml'"):
        Source.read(tmp_path / "quickstar.yaml")


def test_a_dumped_config_is_itself_again() -> None:
    made = Outer(inner=Inner(beta=0.3), rows=(Inner(epochs=4),))
    assert Source.parse(dump(made)).validate(Outer) == made


def test_registry_refuses_what_is_incomplete() -> None:
    with pytest.raises(ValueError, match="source"):
        register("reward", "x", source="", range=(0, 1))
    with pytest.raises(ValueError, match="unknown facts"):
        register("reward", "x", source="s", range=(0, 1), colour="red")
    with pytest.raises(ValueError, match="must declare"):
        register("reward", "x", source="s")
    with pytest.raises(ValueError, match="docstring"):
        register("reward", "x", source="s", range=(0, 1))(lambda: None)


def test_registry_answers_unknown_names_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'pass_rate'"):
        get("measure", "pas_rate")
    with pytest.raises(UnknownName, match="no kind"):
        names("measures")


def test_registry_refuses_a_second_part_of_one_name() -> None:
    get("measure", "kl")

    def other() -> None:
        """Another."""

    with pytest.raises(ValueError, match="registered twice"):
        register("measure", "kl", source="s", question="?", better="neither", range=(0, 1), needs=())(other)
