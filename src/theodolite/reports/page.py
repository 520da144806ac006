"""report.html: one self-contained page about one run, and report.json, the same content as data.

No scripts, no requests, system fonts, light and dark and paper. Model outputs are data: everything is escaped, and
a content security policy in the page forbids whatever might slip through.
"""

from __future__ import annotations

import functools
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from theodolite.errors import StorageError
from theodolite.reports import plots, survey, verdict, words
from theodolite.reports.contents import contents
from theodolite.reports.folder import ABSENT, RunData, load

__all__ = ["RunData", "contents", "headline", "load", "render", "write"]

WIDE, PHONE = 760, 335


def write(run: Path) -> Path:
    """Write RUN/report.html and RUN/report.json from what the run folder holds; returns the page's path."""
    data, run = load(run), Path(run)
    surveyed = survey_of(run)
    if surveyed is not None:
        return survey.write(run, data, surveyed)
    save(Path(run) / "report.json", json.dumps(contents(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return save(Path(run) / "report.html", render(data))


def render(data: RunData) -> str:
    """The page as HTML text."""
    page = contents(data)
    why = {name: page["absent"].get(name, "") for name in ABSENT}
    return fill("page.html.jinja", page | {"figures": figures(page), "groups": groups(page["readings"]), "why": why})


def survey_of(run: Path) -> dict[str, Any] | None:
    """What survey.json holds; None where the run made no survey."""
    try:
        found = json.loads((Path(run) / "survey.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"models", "surveys", "readings"} <= found.keys() else None


def headline(run: Path) -> str:
    """The page's first sentence, for a terminal or a ledger."""
    surveyed = survey_of(run)
    if surveyed is not None:
        return str(survey.contents(load(run), surveyed)["claim"]) + "."
    return str(verdict.headline(load(run).readings).sentence)


def figures(page: Mapping[str, Any]) -> dict[str, Any]:
    """Every drawing of the page, by section; a section without data has none."""
    about = page["verdict"]["about"]
    main = next(
        (f for f in page["key_numbers"] if f["name"] == about and {"before", "after", "alone"} & f.keys()), None
    )
    rows, edge, training = page["by_constraint"], page["frontier"], page["training"]
    return {
        "scale": both(plots.scale, main, "scale") if main else "",
        "strips": both(plots.strips, page["key_numbers"], "strips") if page["key_numbers"] else "",
        "dumbbells": both(plots.dumbbells, rows["rows"], "dumbbells") if rows else "",
        "frontier": both(plots.frontier, edge, "frontier") if edge else "",
        "panels": [plots.panel(p, f"panel-{i}") for i, p in enumerate(training["panels"])] if training else [],
    }


def groups(readings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table of readings, those of one quantity together."""
    found: dict[str, list[dict[str, Any]]] = {}
    for r in readings:
        found.setdefault(words.split(r["name"])[0], []).append(r)
    return [{"label": rows[0]["shown"]["label"], "better": rows[0]["better"], "rows": rows} for rows in found.values()]


def both(draw: Callable[..., Markup], data: Any, name: str) -> Markup:
    """A drawing at the two widths a page is read at; page.css shows one of them."""
    wide, phone = draw(data, f"{name}-w", WIDE), draw(data, f"{name}-n", PHONE)
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(wide, phone)


def fill(template: str, values: Mapping[str, Any]) -> str:
    return _environment().get_template(template).render(values)


def save(path: Path, text: str) -> Path:
    """Write a file whole or not at all, so that a page being read is never half a page."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}. Free some space or choose another runs folder."
        ) from None
    return path


@functools.cache
def _environment() -> Environment:
    env = Environment(
        loader=PackageLoader("theodolite.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "typeset": typeset,
        "duration": words.duration,
        "plural": words.plural,
        "compact": words.compact,
        "percent": words.percent,
    }
    env.globals["css"] = Markup(stylesheet())
    return env


@functools.cache
def stylesheet() -> str:
    """The one style sheet of all pages: light, dark, narrow and paper."""
    return resources.files("theodolite.reports").joinpath("templates/page.css").read_text(encoding="utf-8")


def typeset(value: Any) -> Markup:
    """Escaped text that breaks lines only where a reader would: never inside '44 %', '6.2 nats' or 'held-out'."""
    said = re.sub(r"(?<=\d) (?=%)", "\u202f", str(value)).replace("held-out", "held-\u2060out")
    said = re.sub(
        r"(?<=\d) (?=(?:%|points|nats|tokens|min|s|h|GB)\b)|(?<=[=<]) (?=\d)|(?<=\bp) (?=[=<])", "\u00a0", said
    )
    return escape(said)
