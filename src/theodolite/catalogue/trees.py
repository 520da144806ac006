"""The taxonomies: trees of what can be aligned, trusted or harmed. Their keys are the tags of measures and papers.

Each is one file in `taxonomies/` with its source and how it was entered. A key is the tree's name, a colon and the
category's own name: `trust:hallucination`. Inner nodes are keys too; tagging one says that the whole category is
meant and no part of it in particular.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import yaml

from theodolite.errors import UnknownName, did_you_mean

ORDER = ("trust", "goal", "bidirectional", "aegis")


@dataclass(frozen=True, slots=True)
class Node:
    """A category. key: with the tree's name, as `trust:safety`. path: titles from the root down to this one.

    says: one line of ours on what it is. code: its number where the source numbers it.
    """

    key: str
    title: str
    path: tuple[str, ...]
    says: str = ""
    code: str = ""
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def leaves(self) -> Iterator[Node]:
        """The nodes below that have no parts; the node itself where it has none."""
        return (n for n in self.walk() if not n.children)


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """One tree. source: where it was published. entered: from what it was entered, and what was not read.

    labels: words the source uses beside its categories, such as 'safe'; they are no keys.
    """

    key: str
    title: str
    source: str
    entered: str
    tree: tuple[Node, ...]
    labels: Mapping[str, str] = field(default_factory=dict)

    def walk(self) -> Iterator[Node]:
        for node in self.tree:
            yield from node.walk()

    def leaves(self) -> Iterator[Node]:
        return (n for n in self.walk() if not n.children)


@functools.cache
def taxonomies() -> tuple[Taxonomy, ...]:
    """All trees, trustworthiness first."""
    return tuple(_read(name) for name in ORDER)


@functools.cache
def tags() -> Mapping[str, Node]:
    """Every key of every tree."""
    found: dict[str, Node] = {}
    for tree in taxonomies():
        for node in tree.walk():
            if node.key in found:
                raise ValueError(f"the key {node.key} stands twice in the taxonomy '{tree.key}'")
            found[node.key] = node
    return found


def node(tag: str) -> Node:
    """The category of a tag; an unknown one is answered with the nearest."""
    known = tags()
    if tag not in known:
        raise UnknownName(
            f"no taxonomy has the key '{tag}'.{did_you_mean(tag, known)} A key is one of {', '.join(ORDER)}, a colon "
            "and a category, such as trust:hallucination; `theodolite coverage --json` lists them all."
        )
    return known[tag]


@functools.cache
def further() -> Mapping[str, tuple[str, ...]]:
    """Method -> keys that it has beside those its own register call names (`taxonomies/methods.yaml`)."""
    return {name: tuple(keys) for name, keys in _body("methods").items()}


def _body(name: str) -> dict[str, Any]:
    file = resources.files("theodolite.catalogue") / "taxonomies" / f"{name}.yaml"
    body: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return body


def _read(name: str) -> Taxonomy:
    body = _body(name)
    nodes = tuple(_node(row, name, ()) for row in body["tree"])
    return Taxonomy(body["key"], body["title"], body["source"], body["entered"], nodes, body.get("labels", {}))


def _node(row: Mapping[str, Any], tree: str, above: tuple[str, ...]) -> Node:
    path = (*above, row["title"])
    below = tuple(_node(child, tree, path) for child in row.get("of", ()))
    return Node(f"{tree}:{row['key']}", row["title"], path, row.get("says", ""), row.get("code", ""), below)
