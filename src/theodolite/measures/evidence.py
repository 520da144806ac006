"""What a measure may ask for. It is gathered once, with one pass of the model for all measures together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from theodolite.types import Example


@dataclass(slots=True)
class PairLogps:
    """Summed log-probs in nats of the chosen and rejected answers of n held-out pairs, under two models.

    Each array is (n,). before: the model as handed in (the reference). after: the aligned model.
    chosen_length, rejected_length: scored tokens.
    """

    before_chosen: np.ndarray
    before_rejected: np.ndarray
    after_chosen: np.ndarray
    after_rejected: np.ndarray
    chosen_length: np.ndarray
    rejected_length: np.ndarray


@dataclass(slots=True)
class Evidence:
    """Held-out evidence about a model before and after it was turned.

    before, after: the same prompts in the same order, each with K sampled and scored responses.
    policy_logps, reference_logps: for every response of `after`, prompt by prompt, its per-token log-probs under
        the aligned model and under the reference.
    pairs: log-probs of held-out preference pairs.
    """

    before: Sequence[Example] = ()
    after: Sequence[Example] = ()
    policy_logps: Sequence[Sequence[np.ndarray]] = ()
    reference_logps: Sequence[Sequence[np.ndarray]] = ()
    pairs: PairLogps | None = None
    level: float = 0.95
    missing: dict[str, int] = field(default_factory=dict)
    """rows that could not be used, counted by reason"""

    def has(self, need: str) -> bool:
        """Whether what a measure declares in `needs` is here."""
        return {
            "samples": bool(self.before) and bool(self.after),
            "checks": any(r.meta.get("checks") for e in self.after for r in e.responses),
            "logps": bool(self.policy_logps),
            "pairs": self.pairs is not None,
        }.get(need, False)
