"""theodolite list [KIND] and theodolite show NAME"""

from __future__ import annotations

import inspect
import json
import shutil
from typing import Annotated, Any

import typer

from theodolite import registry
from theodolite.errors import UnknownName, did_you_mean


def add(app: typer.Typer) -> None:
    app.command("list", epilog="Example: theodolite list objective --json")(list_)
    app.command(epilog="Example: theodolite show dpo")(show)


def list_(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(registry.KINDS)}; all if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list of kind, name, summary, source.")] = False,
) -> None:
    """List the named parts: objectives, measures, readers, constraints, samplers, worlds, steps."""
    kinds = [kind] if kind else list(registry.KINDS)
    found = [e for k in kinds for e in registry.entries(k)]
    if as_json:
        print(json.dumps([{"kind": e.kind, "name": e.name, "summary": e.summary, "source": e.source} for e in found]))
        return
    width = shutil.get_terminal_size((120, 24)).columns
    for k in kinds:
        here = [e for e in found if e.kind == k]
        if here:
            print(f"{k} ({len(here)})")
            pad = max(len(e.name) for e in here)
            for e in here:
                print(_line(e, pad, width))


def _line(e: registry.Entry, pad: int, width: int) -> str:
    text = f"  {e.name:{pad}}  {e.summary}"
    return text if len(text) <= width else text[: width - 2] + " …"


def show(
    name: Annotated[str, typer.Argument(help="A part's name, such as dpo or kl.", show_default=False)],
    kind: Annotated[str | None, typer.Option("--kind", help="Where two kinds share a name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show one part: formula, what it needs, its options with defaults, source and limits."""
    kinds = [kind] if kind else list(registry.KINDS)
    found = [registry.get(k, name) for k in kinds if name in registry.names(k)]
    if not found:
        known = [n for k in kinds for n in registry.names(k)]
        raise UnknownName(f"nothing here is called '{name}'.{did_you_mean(name, known)} See: theodolite list")
    if as_json:
        print(json.dumps([_card(e) for e in found] if len(found) > 1 else _card(found[0])))
        return
    for e in found:
        print(f"{e.kind} {e.name}   ({e.source})\n\n{inspect.getdoc(e.function)}\n")
        facts = {k: v for k, v in _card(e)["facts"].items() if v not in (None, (), [], "", False)}
        print("facts: " + ", ".join(f"{k} = {v}" for k, v in facts.items()) + "\n" if facts else "")
        for option in _card(e)["options"]:
            print(f"  {option['name']}: {option['type']} = {option['default']}\n      {option['help']}")


def _card(e: registry.Entry) -> dict[str, Any]:
    options = []
    for field_name, field in (getattr(e.config, "model_fields", None) or {}).items():
        kind = getattr(field.annotation, "__name__", str(field.annotation)).replace("typing.", "")
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        options.append(
            {
                "name": field_name,
                "type": kind,
                "default": str(default),
                "help": " ".join((field.description or "").split()),
            }
        )
    facts = {
        k: (v if isinstance(v, str | int | float | bool | tuple | list | None) else getattr(v, "__name__", str(v)))
        for k, v in e.facts.items()
    }
    return {
        "kind": e.kind,
        "name": e.name,
        "summary": e.summary,
        "source": e.source,
        "doc": inspect.getdoc(e.function),
        "facts": facts,
        "options": options,
    }
