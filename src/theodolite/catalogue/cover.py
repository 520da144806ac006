"""What of each taxonomy a run's readings cover, and what else could be measured here.

A reading belongs to the measure or survey that its name begins with (`kl.per_token` to `kl`, `facts.ece` to the
survey `facts`); that method's tags are what it covers. A category counts as covered when a method with its own tag
gave a value: a tag on a whole category says nothing about its parts, and a reading that is undefined covers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from theodolite import registry
from theodolite.catalogue.trees import Node, Taxonomy, further, node, taxonomies
from theodolite.types import Reading

KINDS = ("measure", "survey")


@dataclass(frozen=True, slots=True)
class Row:
    """One category. by: methods of the run that cover it. could: other methods here that would."""

    node: Node
    by: tuple[str, ...]
    could: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cover:
    """One taxonomy: covered of its `total` categories without parts, and a row for every category."""

    taxonomy: Taxonomy
    rows: Mapping[str, Row]

    @property
    def total(self) -> int:
        return sum(1 for _ in self.taxonomy.leaves())

    @property
    def covered(self) -> int:
        return self.count(self.taxonomy.leaves())

    def count(self, nodes: Iterable[Node]) -> int:
        """How many of these categories are covered."""
        return sum(bool(self.rows[n.key].by) for n in nodes)


@dataclass(frozen=True, slots=True)
class Coverage:
    """covers: one a taxonomy. methods: those that gave a value, with their tags. undefined: methods that gave none.

    unknown: names of readings that belong to no method here.
    """

    covers: tuple[Cover, ...]
    methods: Mapping[str, tuple[str, ...]]
    undefined: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "taxonomies": [
                {
                    "key": c.taxonomy.key,
                    "title": c.taxonomy.title,
                    "source": c.taxonomy.source,
                    "covered": c.covered,
                    "of": c.total,
                    "categories": [
                        {
                            "key": row.node.key,
                            "path": list(row.node.path),
                            "says": row.node.says,
                            "parts": len(row.node.children),
                            "by": list(row.by),
                            "could": list(row.could),
                        }
                        for row in c.rows.values()
                    ],
                }
                for c in self.covers
            ],
            "methods": {name: list(tags) for name, tags in self.methods.items()},
            "undefined": list(self.undefined),
            "unknown": list(self.unknown),
        }


def coverage(readings: Iterable[Reading]) -> Coverage:
    """What these readings cover."""
    known = tagged()
    valued: dict[str, None] = {}
    empty: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for reading in readings:
        method = owner(reading.name, known)
        if method is None:
            unknown[reading.name] = None
        elif reading.value != reading.value:  # NaN: undefined
            empty[method] = None
        else:
            valued[method] = None
    return Coverage(
        _covers(list(valued), known),
        {m: known[m] for m in valued},
        tuple(m for m in empty if m not in valued),
        tuple(unknown),
    )


def everything() -> Coverage:
    """What all measures and surveys here together could cover."""
    known = tagged()
    return Coverage(_covers(list(known), known), known)


def tagged() -> dict[str, tuple[str, ...]]:
    """name -> tags of every measure and survey, its own and further ones; where both have a name, the tags of both."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in KINDS:
        for entry in registry.entries(kind):
            own = (*found.get(entry.name, ()), *entry.taxonomy, *further().get(entry.name, ()))
            found[entry.name] = tuple(dict.fromkeys(own))
    return found


def owner(name: str, known: Iterable[str]) -> str | None:
    """The method that a reading's name begins with: the longest that fits, part by part."""
    names = set(known)
    parts = name.split(" · ")[0].split(".")  # a survey of several models names the model behind a dot
    return next((m for end in range(len(parts), 0, -1) if (m := ".".join(parts[:end])) in names), None)


def _covers(methods: Iterable[str], known: Mapping[str, tuple[str, ...]]) -> tuple[Cover, ...]:
    ran = list(methods)
    by: dict[str, list[str]] = {}
    could: dict[str, list[str]] = {}
    for method, tags in known.items():
        for tag in tags:
            (by if method in ran else could).setdefault(node(tag).key, []).append(method)

    def row(n: Node) -> Row:
        return Row(n, tuple(sorted(by.get(n.key, ()))), tuple(sorted(could.get(n.key, ()))))

    return tuple(Cover(tree, {n.key: row(n) for n in tree.walk()}) for tree in taxonomies())
