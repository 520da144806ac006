"""Which norms a judge is told for which item: the user's rubric, or those of the kind of task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from theodolite.errors import UsageError
from theodolite.judges.rubric import Rubric, scenarios
from theodolite.judges.verdict import Answer, Comparison
from theodolite.types import Message

Namer = Callable[[Sequence[tuple[Message, ...]]], list[str]]
"""prompts -> names of scenarios"""


def check_norms(how: str, given: Rubric | None, can_ask: bool) -> None:
    """A letter for a scenario that doesn't exist, can't be asked for, or stands beside a rubric."""
    if given is not None and how != "rules":
        raise UsageError(f"a rubric of your own leaves no place for scenario '{how}'. Give one of the two.")
    if how == "ask" and not can_ask:
        raise UsageError(
            "this judge only scores and cannot be asked for a scenario. Set scenario to 'rules' or a name."
        )
    if how not in ("rules", "ask"):
        scenarios().rubric(how)


def rubrics_for(
    items: Sequence[Comparison] | Sequence[Answer], how: str, given: Rubric | None, ask: Namer | None = None
) -> list[Rubric]:
    """One rubric an item. An item that names one of our scenarios itself has that one."""
    if given is not None:
        return [given] * len(items)
    known = scenarios()
    if how == "ask" and ask is not None:
        names = ask([item.prompt for item in items])
    elif how == "rules":
        names = [known.guess(item.prompt) for item in items]
    else:
        names = [how] * len(items)
    own = [item.scenario if item.scenario in known.scenarios else "" for item in items]
    return [known.rubric(mine or name) for mine, name in zip(own, names, strict=True)]
