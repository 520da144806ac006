"""How a count compares with a bound, in IFEval's two words."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Relation = Literal["less than", "at least"]
Count = Annotated[int, Field(ge=0)]
Several = Annotated[int, Field(ge=1)]
IFEVAL = "arXiv:2311.07911 table 1"


def holds(count: int, relation: Relation, bound: int) -> bool:
    """`less than` is strict, `at least` is not."""
    return count < bound if relation == "less than" else count >= bound
