"""Typed, frozen configs; YAML files whose mistakes are named with key, nearest right key, file and line.

Every option lives once: as a field with a default, limits in its type and a docstring below it. The command
line, the reference page and the error messages are made from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from theodolite.errors import ConfigError, did_you_mean


class Config(BaseModel):
    """Base of all configs: frozen, unknown keys refused, docstrings below the fields become their help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


C = TypeVar("C", bound=BaseModel)
Path_ = tuple[str | int, ...]


class Source:
    """Parsed YAML that remembers on which line each key stands."""

    def __init__(self, data: Any, lines: Mapping[Path_, int], name: str) -> None:
        self.data, self.lines, self.name = data, lines, name

    @classmethod
    def parse(cls, text: str, name: str = "<text>") -> Source:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{name}:{mark.line + 1}" if mark else name
            raise ConfigError(f"{where} is not valid YAML: {getattr(error, 'problem', error)}.") from None
        lines: dict[Path_, int] = {}
        if node is not None:
            _remember(node, (), lines, name)
        return cls({} if data is None else data, lines, name)

    @classmethod
    def read(cls, path: str | Path) -> Source:
        path = Path(path)
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            near = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
            raise ConfigError(f"there is no file {path}.{did_you_mean(path.name, near)}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}.") from None

    def override(self, assignments: Iterable[str]) -> Source:
        """A copy with `a.b.0.c=value` assignments applied; values are read as YAML."""
        data = yaml.safe_load(yaml.safe_dump(self.data))
        for assignment in assignments:
            key, sign, value = assignment.partition("=")
            if not sign or not key.strip():
                raise ConfigError(f"override '{assignment}' is not of the form key=value, such as seed=1.")
            try:
                _assign(data, key.strip().split("."), yaml.safe_load(value))
            except yaml.YAMLError as error:
                raise ConfigError(f"the value in override '{assignment}' is not valid YAML: {error}.") from None
        return Source(data, self.lines, self.name)

    def where(self, path: Sequence[str | int]) -> str:
        """`file:line` of the longest known beginning of `path`."""
        for end in range(len(path), -1, -1):
            if tuple(path[:end]) in self.lines:
                return f"{self.name}:{self.lines[tuple(path[:end])]}"
        return self.name

    def validate(self, model: type[C], prefix: Path_ = (), data: Any = None) -> C:
        """`data` (by default everything) as `model`; every mistake becomes one ConfigError."""
        return self._validated(model, self.data if data is None else data, prefix)

    def _validated(self, model: type[C], data: Any, prefix: Path_) -> C:
        if not isinstance(data, Mapping):
            raise ConfigError(f"{self.where(prefix)}: expected keys and values for {model.__name__}, got {data!r}.")
        try:
            return model.model_validate(data)
        except ValidationError as error:
            letters = [f"{self.where(prefix + e['loc'])}: {_letter(e, model)}" for e in error.errors()]
            raise ConfigError("\n".join(letters)) from None


def _remember(node: yaml.Node, path: Path_, lines: dict[Path_, int], name: str) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(f"{name}:{key.start_mark.line + 1}: the key '{key.value}' stands twice; keep one.")
            seen.add(key.value)
            lines[(*path, key.value)] = key.start_mark.line + 1
            _remember(value, (*path, key.value), lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _remember(value, (*path, i), lines, name)


def _assign(data: Any, keys: list[str], value: Any) -> None:
    head, rest = keys[0], keys[1:]
    if isinstance(data, list):
        index = _index(data, head)
        if rest:
            _assign(data[index], rest, value)
        else:
            data[index] = value
    elif isinstance(data, dict):
        if rest:
            _assign(data.setdefault(head, {}), rest, value)
        else:
            data[head] = value
    else:
        raise ConfigError(f"override key '{'.'.join(keys)}' points into a plain value, {data!r}.")


def _index(rows: list[Any], key: str) -> int:
    """The place in a list by number, or by the first key (or `name`) of a mapping in it: `steps.align.epochs`."""
    if key.isdigit() and int(key) < len(rows):
        return int(key)
    for i, row in enumerate(rows):
        if isinstance(row, dict) and (row.get("name") == key or row.get("step") == key or next(iter(row), None) == key):
            return i
    raise ConfigError(f"an override names '{key}', but the list has {len(rows)} entries and none of that name.")


def _letter(error: ErrorDetails, model: type[BaseModel]) -> str:
    loc, kind = error["loc"], error["type"]
    key = ".".join(map(str, loc))
    if kind == "extra_forbidden":
        owner = _owner(model, loc[:-1])
        known = sorted(owner.model_fields) if owner else []
        hint = did_you_mean(str(loc[-1]), known)
        takes = f" It takes: {', '.join(known)}." if known else ""
        return f"{(owner or model).__name__.lower()} has no option '{loc[-1]}'.{hint}{takes}"
    if kind == "missing":
        return f"'{key}' is missing."
    got = "" if isinstance(error.get("input"), Mapping | list) else f", got {error.get('input')!r}"
    said = error["msg"].removeprefix("Value error, ")
    return f"{key}: {said[0].lower() + said[1:]}{got}." if key else f"{said}"


def _owner(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    """The config class at `loc` inside `model`."""
    here: Any = model
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel) and part in here.model_fields:
            here = here.model_fields[str(part)].annotation
        else:
            options = [a for a in _flatten(here) if a.__name__ == part]
            here = options[0] if options else here
        inner = _flatten(here)
        if len(inner) == 1:
            here = inner[0]
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _flatten(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in get_args(annotation) for m in _flatten(a)]


def dump(config: BaseModel) -> str:
    """The resolved config as YAML, defaults included, so that a run can be repeated from it."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
