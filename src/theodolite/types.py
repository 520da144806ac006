"""The shared nouns. One record type is the heart of it: a prompt and its responses.

Preference pairs, best-of-n samples, rankings, thumbs up or down, judgments, arena entries, safety probes and
human annotations are all `Example`s. Readers produce them, samplers extend them, rewards and judges annotate
them, objectives and measures consume them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the ground floor must be importable in milliseconds
    from torch import Tensor

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Span:
    """A verdict on the characters `start:end` of a response, such as 'hallucination' for one sentence."""

    start: int
    end: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Response:
    """One answer to a prompt, with whatever is known about it.

    score: any real number, higher is better; only its order within one Example has a meaning of its own.
    label: thumbs up (True) or down (False), judged without a comparison.
    spans: verdicts on parts of the text. judgment: a written opinion of the text.
    tokens, logps: the ids a sampler drew (end-of-turn included) and their log-probs in nats under the sampling
        model at temperature 1; kept so that re-scoring never re-tokenises.
    finish: 'stop' when the model ended its turn, 'length' when it was cut off, None when unknown.
    """

    text: str
    score: float | None = None
    label: bool | None = None
    spans: tuple[Span, ...] = ()
    judgment: str | None = None
    source: str | None = None
    tokens: tuple[int, ...] | None = None
    logps: tuple[float, ...] | None = None
    finish: Literal["stop", "length"] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt (messages, the last one usually the user's) and K >= 0 responses to it."""

    prompt: tuple[Message, ...]
    responses: tuple[Response, ...] = ()
    id: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, prompt: str, *responses: str | Response, id: str = "", **meta: Any) -> Example:
        """An Example from plain strings: `Example.of("Name a colour.", "Blue.", "No.")`."""
        made = tuple(r if isinstance(r, Response) else Response(r) for r in responses)
        return cls((Message("user", prompt),), made, id, meta)

    @property
    def question(self) -> str:
        """The text of the last user turn, or of the last turn where no user spoke."""
        turns = [m.content for m in self.prompt if m.role == "user"] or [m.content for m in self.prompt]
        return turns[-1] if turns else ""

    def with_responses(self, responses: Sequence[Response]) -> Example:
        return replace(self, responses=tuple(responses))

    def to_json(self) -> dict[str, Any]:
        """A plain dict without empty fields; `from_json` is its inverse."""
        return {
            "id": self.id,
            "prompt": [asdict(m) for m in self.prompt],
            "responses": [
                {k: v for k, v in asdict(r).items() if v is not None and v != () and v != {} and v != []}
                | {"text": r.text}
                for r in self.responses
            ],
            "meta": dict(self.meta),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Example:
        def response(r: Mapping[str, Any]) -> Response:
            made = dict(r)
            made["spans"] = tuple(Span(**s) for s in r.get("spans", ()))
            for key in ("tokens", "logps"):
                if made.get(key) is not None:
                    made[key] = tuple(made[key])
            return Response(**made)

        return cls(
            prompt=tuple(Message(**m) for m in row["prompt"]),
            responses=tuple(response(r) for r in row.get("responses", ())),
            id=row.get("id", ""),
            meta=row.get("meta", {}),
        )


class Role(IntEnum):
    """What a row of TokenLogps is to its objective."""

    OTHER = 0
    CHOSEN = 1
    REJECTED = -1
    MISMATCHED = 2
    """the response scored under another prompt (KTO's KL rows, CCA's wrong condition)"""
    JUDGED = 3
    """the same response scored with a written judgment in its prompt (CUT)"""
    SELF = 4
    """a sample of the model itself (D2O)"""


@dataclass(frozen=True, slots=True)
class Group:
    """An Example tokenised: one prompt and K responses to it. Nothing is padded.

    prompt: token ids, chat template applied, ending where the answer begins.
    responses: K id tuples, each ending with the end-of-turn id where the answer ended.
    weights: K tuples as long as the responses; 0 means not scored. None means all ones.
    scores, labels, roles: one a response; NaN, -1 (unknown, else 0 or 1) and Role.OTHER where unknown.
    """

    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...] | None = None
    scores: tuple[float, ...] | None = None
    labels: tuple[int, ...] | None = None
    roles: tuple[int, ...] | None = None
    id: str = ""

    def __len__(self) -> int:
        return len(self.responses)

    @property
    def tokens(self) -> int:
        """Tokens that a shared-prefix pass computes: the prompt once, then every response."""
        return len(self.prompt) + sum(map(len, self.responses))


@dataclass(slots=True)
class TokenLogps:
    """Per-token log-probs (nats) of the R responses of a batch of groups; T is the longest response.

    policy: (R, T), with gradient when training. reference: (R, T) without gradient, or None.
    weight: (R, T) float, 0 on padding and on tokens that are not scored.
    group: (R,) long, the group of each row, 0..G-1. role: (R,) long, see Role.
    score: (R,) float, NaN where unknown. label: (R,) long in {1, 0}, -1 where unknown.
    extras: what the objective declared, each (R, T) unless its name says otherwise, e.g. 'entropy', 'log1mp'.
    shared: scalars common to a whole optimizer step (KTO's z0, BCO's delta) that the trainer computed; where a
        key is missing the objective computes it from the rows it is given.
    """

    policy: Tensor
    weight: Tensor
    group: Tensor
    role: Tensor
    score: Tensor
    label: Tensor
    reference: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, Tensor] = field(default_factory=dict)

    @property
    def lengths(self) -> Tensor:
        """(R,) number of scored tokens, at least 1."""
        return (self.weight != 0).sum(-1).clamp(min=1).to(self.policy.dtype)

    def masked_sum(self, values: Tensor) -> Tensor:
        """(R,) sum over tokens of weight * values; a masked -inf or NaN cannot leak in."""
        return (values.masked_fill(self.weight == 0, 0.0) * self.weight.to(values.dtype)).sum(-1)

    def logp(self) -> Tensor:
        """(R,) log-prob of each response under the policy, summed over its scored tokens."""
        return self.masked_sum(self.policy)

    def logratio(self) -> Tensor:
        """(R,) log pi(y|x) - log ref(y|x), summed over scored tokens; with reference None, log pi alone."""
        return self.logp() if self.reference is None else self.masked_sum(self.policy - self.reference)

    def rows(self, role: int) -> Tensor:
        """Row numbers with this role, in group order."""
        found = (self.role == role).nonzero().squeeze(-1)
        return found[self.group[found].argsort(stable=True)]

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Row numbers of the chosen and of the rejected response of each group, in group order."""
        chosen, rejected = self.rows(Role.CHOSEN), self.rows(Role.REJECTED)
        if not self.group[chosen].equal(self.group[rejected]):
            raise ValueError("every group of pair data needs one chosen and one rejected response")
        return chosen, rejected


@dataclass(slots=True)
class Loss:
    """What an objective returns: a loss per example and how much each counts.

    per_example: (N,) with gradient, lower is better. weight: (N,) without gradient; the number of scored tokens
    for a token mean, ones for a mean over examples. `value` is the weighted mean. A trainer that splits a batch
    sums `per_example * weight` over the parts and divides by the whole batch's weight, so every split of a batch
    gives one gradient. metrics: name -> (M,) detached values whose mean is logged.
    """

    per_example: Tensor
    weight: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        return self.per_example.sum() if self.weight is None else (self.per_example * self.weight).sum()

    @property
    def count(self) -> float:
        return float(len(self.per_example) if self.weight is None else self.weight.sum())

    @property
    def value(self) -> Tensor:
        return self.total / max(self.count, 1e-12)


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of a measure. Undefined is NaN with a reason in `note`, never 0.

    low, high: the interval at `level` by `method`; NaN where there is none. n: independent units used.
    missing: units left out; `why` counts them by reason. better: which direction is good.
    parts: named sub-readings or arrays (per constraint, per layer...). provenance: model, data, seed, protocol.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95
    method: str = ""
    n: int = 0
    missing: int = 0
    why: Mapping[str, int] = field(default_factory=dict)
    unit: str = ""
    better: Better = "neither"
    p_value: float | None = None
    note: str = ""
    parts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; NaN and infinities become None."""
        plain: dict[str, Any] = _jsonable(asdict(self))
        return plain

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isnan(self.value):
            return f"{self.name}: undefined ({self.note or 'no data'})"
        span = "" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.name}: {self.value:.3g}{unit}{span} (n={self.n}" + (
            f", {self.missing} missing)" if self.missing else ")"
        )


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
