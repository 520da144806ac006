"""The papers: a data file, read once and checked. What runs them is named there and kept in step by a test."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from pydantic import Field

from theodolite.catalogue.trees import node
from theodolite.config import Config
from theodolite.errors import UnknownName, did_you_mean


class Paper(Config):
    """One entry of the index."""

    key: str = Field(pattern=r"^[a-z0-9-]+$")
    """short name; links and the feed use it"""
    title: str
    """as listed"""
    families: tuple[str, ...] = Field(min_length=1)
    """where in the toolkit it belongs"""
    stage: str
    """where in the life of a model it acts"""
    wave: int = Field(ge=0)
    """when the project means to have it; 0 where nothing is to become of it here"""
    does: str
    """what it is for, in one line"""
    arxiv: str = Field("", pattern=r"^(\d{4}\.\d{4,5})?$")
    """arXiv number; empty where it was not looked up for certain"""
    link: str = ""
    """where to read it, for what is not on arXiv"""
    also: str = ""
    """further words a reader might search with"""
    tags: tuple[str, ...] = ()
    """keys of the taxonomies"""
    runs: Mapping[str, datetime.date] = {}
    """the methods here that run it, `kind:name`, with the day each became runnable"""
    out: str = ""
    """why it is out of scope, where it is"""
    listed: bool = True
    """whether it is on the project's list; False for a neighbour whose method runs here"""

    @property
    def url(self) -> str:
        """The paper's page, or '' where none is known for certain."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else self.link

    @property
    def state(self) -> str:
        """'runs', 'not yet' or 'out of scope'."""
        return "runs" if self.runs else "out of scope" if self.out else "not yet"


@dataclass(frozen=True, slots=True)
class Index:
    """families, stages: key -> what it means. papers: in the file's order."""

    families: Mapping[str, str]
    stages: Mapping[str, str]
    papers: tuple[Paper, ...]


@functools.cache
def index() -> Index:
    """The whole index; read once."""
    file = resources.files("theodolite.catalogue") / "papers.yaml"
    body: dict[str, Any] = yaml.load(
        file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    made = tuple(Paper.model_validate(row) for row in body["papers"])
    return Index(body["families"], body["stages"], made)


def papers() -> tuple[Paper, ...]:
    """Every paper of the index, in its order."""
    return index().papers


def keep(
    found: Sequence[Paper], *, family: str | None = None, facet: str | None = None, runnable: bool = False
) -> list[Paper]:
    """Those of one family, under one taxonomy key (its parts included), or that something here runs."""
    if family is not None and family not in index().families:
        known = index().families
        raise UnknownName(
            f"no family is called '{family}'.{did_you_mean(family, known)} There are: {', '.join(known)}."
        )
    under = {n.key for n in node(facet).walk()} if facet is not None else set()
    return [
        p
        for p in found
        if (family is None or family in p.families)
        and (facet is None or under & set(p.tags))
        and (not runnable or p.runs)
    ]


def by_arxiv() -> Mapping[str, Paper]:
    """arXiv number -> paper."""
    return {p.arxiv: p for p in papers() if p.arxiv}
