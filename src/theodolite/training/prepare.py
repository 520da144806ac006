"""From Examples to the groups an objective asked for; rows that cannot be used are counted and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from theodolite.data import views
from theodolite.errors import DataError, UsageError
from theodolite.models.chat import group_of
from theodolite.types import Example, Group, Role

ROLES: dict[str, tuple[int, ...] | None] = {
    "sft": (Role.CHOSEN,),
    "pairs": (Role.CHOSEN, Role.REJECTED),
    "spans": (Role.CHOSEN, Role.REJECTED),
    "edits": (Role.CHOSEN, Role.REJECTED),
    "rankings": None,
    "labels": None,
}
"""Kind of data -> roles of a group's responses in order; None leaves them to scores and labels."""


@dataclass(slots=True)
class Prepared:
    groups: list[Group]
    dropped: list[str] = field(default_factory=list)
    """one sentence for each Example that was left out"""


def prepare(examples: Sequence[Example], kind: str, tokenizer: Any, *, max_length: int) -> Prepared:
    """Groups for an objective whose data is `kind`. Raises DataError when none is left."""
    if kind not in ROLES:
        raise UsageError(f"no trainer feeds data of kind '{kind}' yet; it feeds {', '.join(ROLES)}.")
    made = Prepared([])
    for number, example in enumerate(examples, 1):
        try:
            made.groups.append(_group(example, kind, tokenizer, max_length))
        except DataError as error:
            made.dropped.append(f"row {number}: {error}")
    if not made.groups:
        reasons = "\n".join(made.dropped[:5]) or "there are no rows."
        raise DataError(f"no row can be used for {kind} data:\n{reasons}")
    return made


def _group(example: Example, kind: str, tokenizer: Any, max_length: int) -> Group:
    roles = ROLES[kind]
    if not example.responses:
        raise DataError(f"example '{example.id}' has no response.")
    if kind == "sft":
        kept, left = views.sft([example])
        if left:
            raise DataError(f"example '{example.id}': {left[0].reason}.")
        example = kept[0]
    elif roles is not None and len(example.responses) != len(roles):
        raise DataError(
            f"example '{example.id}' has {len(example.responses)} responses, a {kind} row has {len(roles)}."
        )
    group = group_of(example, tokenizer, max_length=max_length, roles=roles)
    if kind == "pairs" and group.responses[0] == group.responses[1]:
        raise DataError(f"example '{example.id}' has equal chosen and rejected responses, which teach nothing.")
    return group
