"""The one table of named parts: (kind, name) -> Entry.

    @register("objective", "dpo", config=Dpo, source="arXiv:2305.18290 eq. 7", data="pairs", reference=True)
    def dpo(p: TokenLogps, cfg: Dpo) -> Loss: ...

A duplicate name, an undeclared fact or a missing source is an error at import. `get` answers an unknown name
with the nearest match and the list. Other packages join through the entry-point group `theodolite`: each entry
point names a module whose import registers its parts.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from theodolite.errors import UnknownName, did_you_mean

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    # kind: (package that holds its parts, facts a part may declare with their defaults; ... means required)
    "objective": (
        "theodolite.objectives",
        {
            "data": ...,  # 'sft' | 'pairs' | 'rankings' | 'labels' | 'spans' | 'judgments' | 'edits' | ...
            "reference": False,  # needs reference log-probs
            "unit": "example",  # what the loss is averaged over: 'example' or 'token'
            "roles": (),  # the roles its rows must have, as words: 'chosen', 'rejected', 'mismatched', ...
            "extras": (),  # what TokenLogps.extras must hold
            "shared": (),  # names in TokenLogps.shared that are common to an optimizer step
            "start": None,  # cfg -> loss when the policy equals the reference, where the theory fixes it
            "strength": None,  # the config field that sets how far the policy may go
            "experimental": False,  # a formula that is ours or unverified
            "conventions": (),  # names of neighbours' variants that `convention` reproduces
        },
    ),
    "constraint": ("theodolite.rewards.constraints", {"family": ...}),
    "reward": ("theodolite.rewards", {"range": ..., "verifiable": False}),
    "reader": ("theodolite.data.readers", {"columns": ()}),
    "measure": (
        "theodolite.measures",
        {
            "question": ...,
            "better": ...,
            "range": ...,
            "needs": ...,  # what an Evidence must have; for 'ratings' and 'records' the columns, '?' before optional ones
            "reads": "evidence",  # 'evidence' of a run, 'ratings' (items x raters) or 'records' (named arrays)
            "unit": "",
            "not_measured": "",
            "taxonomy": (),  # keys of catalogue/taxonomies
        },
    ),
    "judge": ("theodolite.judges", {"protocol": ...}),  # 'lexical' | 'pairwise' | 'single'
    "survey": (
        "theodolite.surveys",
        {"question": ..., "measures": ..., "data": "", "not_measured": "", "taxonomy": ()},
    ),
    "world": ("theodolite.exact", {}),
    "sampler": ("theodolite.engine", {"logps": True}),
    "step": ("theodolite.runs.steps", {}),
}


@dataclass(frozen=True, slots=True)
class Entry:
    kind: str
    name: str
    function: Callable[..., Any]
    source: str
    config: type | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        text = inspect.getdoc(self.function) or ""
        return " ".join(text.split("\n\n")[0].split())

    def __getattr__(self, fact: str) -> Any:
        try:
            return self.facts[fact]
        except KeyError:
            raise AttributeError(f"a {self.kind} declares no fact '{fact}'; it has {sorted(self.facts)}") from None


_TABLE: dict[tuple[str, str], Entry] = {}


def register(kind: str, name: str, *, source: str, config: type | None = None, **facts: Any) -> Callable[[Any], Any]:
    """Decorator that enters a function or class in the table; see the module's docstring."""
    if kind not in KINDS:
        raise UnknownName(
            f"no kind of part is called '{kind}'.{did_you_mean(kind, KINDS)} There are: {', '.join(KINDS)}."
        )
    allowed = KINDS[kind][1]
    if not source:
        raise ValueError(f"{kind} '{name}' needs a source: the paper and equation, or 'ours' with a reason")
    if unknown := facts.keys() - allowed.keys():
        raise ValueError(f"{kind} '{name}' declares unknown facts {sorted(unknown)}; allowed: {sorted(allowed)}")
    complete = allowed | facts
    if missing := [k for k, v in complete.items() if v is ...]:
        raise ValueError(f"{kind} '{name}' must declare {missing}")

    def enter(function: Any) -> Any:
        if not inspect.getdoc(function):
            raise ValueError(f"{kind} '{name}' needs a docstring")
        old = _TABLE.get((kind, name))
        if old is not None and (old.function.__module__, old.function.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise ValueError(
                f"{kind} '{name}' is registered twice: {old.function.__module__} and {function.__module__}"
            )
        _TABLE[kind, name] = Entry(kind, name, function, source, config, complete)
        return function

    return enter


def get(kind: str, name: str) -> Entry:
    """The entry of that name; an unknown one is answered with the nearest match and the list."""
    if (kind, name) not in _TABLE:
        load(kind)
    if (kind, name) in _TABLE:
        return _TABLE[kind, name]
    known = names(kind)
    raise UnknownName(f"no {kind} is called '{name}'.{did_you_mean(name, known)} There are: {', '.join(known)}.")


def names(kind: str) -> list[str]:
    """All names of one kind, sorted."""
    load(kind)
    return sorted(n for k, n in _TABLE if k == kind)


def entries(kind: str) -> list[Entry]:
    return [_TABLE[kind, n] for n in names(kind)]


@functools.cache
def load(kind: str) -> None:
    """Import every module that may hold parts of this kind, ours and other packages'."""
    if kind not in KINDS:
        raise UnknownName(
            f"no kind of part is called '{kind}'.{did_you_mean(kind, KINDS)} There are: {', '.join(KINDS)}."
        )
    home = KINDS[kind][0]
    try:
        package = importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name and home.startswith(error.name):  # that floor of the house is not built yet
            return
        raise
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), home + "."):
        importlib.import_module(found.name)
    _load_plugins()


@functools.cache
def _load_plugins() -> None:
    for point in importlib.metadata.entry_points(group="theodolite"):
        try:
            point.load()
        except Exception as error:  # a broken neighbour must not break us, but it must be heard
            warnings.warn(f"the plugin '{point.name}' ({point.value}) failed to load: {error!r}", stacklevel=2)
