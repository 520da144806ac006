"""What a training run keeps an eye on, and the sentences that explain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Watch:
    """Warns once when the chosen answers' log-prob falls, when margins explode, when gradients do."""

    first: dict[str, float] = field(default_factory=dict)
    recent: dict[str, list[float]] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)

    def see(self, step: int, logs: dict[str, float], say: Callable[[str, str], None]) -> None:
        for name in ("rewards/chosen", "rewards/rejected", "rewards/margins", "grad_norm"):
            if name in logs:
                self.recent.setdefault(name, []).append(logs[name])
                del self.recent[name][:-8]
        margins = self.recent.get("rewards/margins", [])
        if len(margins) >= 4 and _mean(margins) > 20:
            self._once(
                "margins",
                say,
                f"at step {step} the mean implicit-reward margin is above 20: the loss is saturated and the policy keeps "
                "moving for nothing. Fewer epochs, a lower learning rate or a higher beta would stop that.",
            )

    def finish(self, say: Callable[[str, str], None]) -> None:
        """Say what the last steps showed."""
        chosen, rejected = self.recent.get("rewards/chosen", []), self.recent.get("rewards/rejected", [])
        if len(chosen) >= 3 and _mean(chosen) < 0:
            self._once(
                "chosen",
                say,
                f"the chosen answers became less likely than under the reference (mean implicit reward {_mean(chosen):.2f}; "
                f"rejected {_mean(rejected):.2f}). The objective only sees their difference; probability went to answers "
                "that are in neither. Adding a little of the sft objective on the chosen answers holds them up.",
            )

    def _once(self, key: str, say: Callable[[str, str], None], text: str) -> None:
        if key not in self.said:
            self.said.add(key)
            say("warning", text)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
