"""What stands beside the policy while it is trained: a teacher, the reference, another rendering, a small classifier.

An objective names what it compares itself with in its extras (`teacher_kl`, `reference_kl`, `rendering_kl_reverse`,
`degree_logits_row`); this file turns the names into what the engine needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from theodolite.engine import reference_mode
from theodolite.engine.forward import inner
from theodolite.engine.others import KINDS, Other
from theodolite.errors import UsageError
from theodolite.training.renderings import Rendered
from theodolite.types import Group, Role, TokenLogps

CLASSIFIED = "_logits_row"
"""ending of an extra that is a classifier's answer on the mean hidden state of each row"""
MATCHED = "udm_row"
"""the extra that weighs a row by its prompt, see `prompt_matching`"""


COUNTERPARTS: dict[str, Callable[[Group], Group | None]] = {
    "teacher": lambda g: g if g.scores is None or all(map(math.isnan, g.scores)) else None,
    "reference": lambda g: None if g.labels is not None and set(g.labels) == {0} else g,
    "rendering": lambda g: g.eased() if isinstance(g, Rendered) else None,
}
"""who is compared -> what it scores beside a group: a teacher where no score is known, the reference where nothing is
to be forgotten, the policy itself under the easier rendering"""


@dataclass(slots=True)
class Beside:
    """teacher: a model with the policy's vocabulary. reference: a frozen copy of the policy, for full fine-tuning; with
    an adapter the reference is the policy without it. classifier: from a mean hidden state to logits, trained along.
    prompt_weights: of every prompt, how much its rows count where an objective matches prompts."""

    teacher: Any = None
    reference: Any = None
    classifier: nn.Linear | None = None
    prompt_weights: Mapping[tuple[int, ...], float] | None = None

    def others(self, policy: Any, groups: Sequence[Group], extras: Sequence[str]) -> dict[str, Other]:
        """What the engine compares the policy with on these groups."""
        found = {}
        for name in compared(extras):
            model: Any = policy
            mode: Callable[[Any], AbstractContextManager[None]] | None = None
            if name == "teacher":
                if self.teacher is None:
                    raise UsageError(
                        "the objective copies a teacher, and none was given. Name one with the policy's vocabulary: "
                        "align.teacher."
                    )
                model = self.teacher
            elif name == "reference":
                model, mode = (policy, reference_mode) if self.reference is None else (self.reference, None)
            found[name] = Other(model, [COUNTERPARTS[name](g) for g in groups], mode)
        return found

    def classify(self, p: TokenLogps, extras: Sequence[str]) -> None:
        """Replace the states in `p.extras` by the classifier's logits (R, C) on each row's mean over scored tokens."""
        states = p.extras.pop("state", None)
        if states is None or self.classifier is None:
            return
        shown = (p.weight != 0).to(states.dtype)[..., None]
        mean = (states * shown).sum(1) / shown.sum(1).clamp(min=1)
        for name in extras:
            if name.endswith(CLASSIFIED):
                p.extras[name] = self.classifier(mean.to(self.classifier.weight.dtype))

    def weigh(self, p: TokenLogps, groups: Sequence[Group], extras: Sequence[str]) -> None:
        """Put the weight of each row's prompt in `p.extras`, (R,)."""
        if MATCHED not in extras:
            return
        if self.prompt_weights is None:
            raise UsageError(
                "the objective weighs rows by their prompts, and no weights were given: "
                "Beside(prompt_weights=prompt_matching.prompt_weights(...)), as offline.train does."
            )
        found = [self.prompt_weights[g.prompt] for g in groups for _ in g.responses]
        p.extras[MATCHED] = torch.tensor(found, dtype=torch.float32, device=p.policy.device)


def compared(extras: Sequence[str]) -> list[str]:
    """`["teacher"]` for `("teacher_kl", "log1mp")`: the models that these extras compare the policy with."""
    found = {e.removesuffix(k): None for e in extras for k in KINDS if e.endswith(k)}
    return [n for n in found if n in COUNTERPARTS]


def for_engine(extras: Sequence[str]) -> tuple[str, ...]:
    """The extras as the engine calls them: a classifier works on the hidden states; prompts are weighed without it."""
    return tuple(dict.fromkeys("state" if e.endswith(CLASSIFIED) else e for e in extras if e != MATCHED))


def known(extra: str) -> bool:
    """Whether a trainer can give this extra."""
    return extra in ("log1mp", "entropy", MATCHED) or extra.endswith(CLASSIFIED) or bool(compared([extra]))


def classifier_for(model: Any, bundles: Sequence[tuple[Group, ...]], extras: Sequence[str]) -> nn.Linear | None:
    """A classifier as wide as the model, with a class for each score of the plain rows; zero at the start."""
    if not any(e.endswith(CLASSIFIED) for e in extras):
        return None
    scores = [
        s
        for b in bundles
        for g in b
        for s, role in zip(g.scores or (), g.roles or ())
        if role == Role.OTHER and not math.isnan(s)
    ]
    if not scores:
        raise UsageError("the objective learns to tell classes apart, and no row of the data has one as its score.")
    base = inner(model)
    width = base.config.get_text_config().hidden_size
    layer = nn.Linear(width, int(max(scores)) + 1, device=base.get_input_embeddings().weight.device)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    return layer


def state_of(classifier: nn.Linear | None) -> dict[str, Tensor]:
    """The classifier's numbers under names that no statistic has."""
    return {} if classifier is None else {f"classifier.{k}": v for k, v in classifier.state_dict().items()}
