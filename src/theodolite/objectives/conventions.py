"""`convention: trl` and the like: the neighbours' variants, as named settings of our own options.

A convention fills the options it stands for, so the resolved config says what is computed. Naming a convention and
contradicting it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from theodolite.config import Config


class Conventional(Config):
    """Base of configs with a `convention` option; PRESETS says which options each name sets."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        preset = cls.PRESETS.get(str(data.get("convention", "")), {})
        for key, value in preset.items():
            if key in data and data[key] != value:
                raise ValueError(
                    f"convention '{data['convention']}' means {key}={value!r}, but {key}={data[key]!r} is also given. "
                    "Leave one of them out."
                )
        return {**data, **preset}
