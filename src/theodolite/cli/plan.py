"""theodolite plan RECIPE"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    app.command(epilog="Example: theodolite plan examples/hh_dpo.yaml --html plan.html")(plan)


def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe, see docs/recipes.md.", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as seed=1.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the plan as a page, with the mask preview.")
    ] = None,
    effect: Annotated[
        float, typer.Option("--effect", help="Difference in a rate that the measures should be able to see.")
    ] = 0.1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Look before the run: what is trained on, what it will cost, what could be wrong with the data."""
    from theodolite.cli.run import _calm
    from theodolite.runs.plan import make_plan, page, show
    from theodolite.runs.recipe import read_recipe

    made = make_plan(read_recipe(recipe, overrides or ()), effect=effect, calm=_calm)
    if html is not None:
        from theodolite.runs.folder import write_text

        write_text(html, page(made))
    if as_json:
        print(json.dumps(made.to_json(), allow_nan=False))
    else:
        show(made)
        if html is not None:
            print(f"\npage: {html}")
