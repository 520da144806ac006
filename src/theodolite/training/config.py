"""What can be said about an offline alignment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from theodolite.config import Config
from theodolite.models.adapters import Lora
from theodolite.objectives.combine import parse


class Align(Config):
    """Offline alignment of the model on the curated data."""

    objective: list[dict[str, Any]] = Field(default_factory=lambda: [{"name": "dpo"}])
    """a name (dpo), a name with its options ({name: dpo, beta: 0.1}), or a list of those, each with a weight"""
    lora: Lora | None = Lora()
    """the low-rank adapter; null trains every weight (full fine-tuning)"""
    epochs: float = Field(1.0, gt=0)
    """passes over the data"""
    max_steps: int | None = Field(None, gt=0)
    """stop after this many optimizer steps, whatever the epochs"""
    batch: int = Field(8, gt=0)
    """groups (pairs, rows) a process takes per forward and backward pass"""
    accumulate: int = Field(1, gt=0)
    """passes per optimizer step; batch 1 x accumulate 8 gives the same result as batch 8 x 1"""
    learning_rate: float | None = Field(None, gt=0)
    """default 2e-4 for an adapter, 1e-6 for full fine-tuning"""
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    """how the learning rate falls"""
    warmup: float = Field(0.1, ge=0, lt=1)
    """share of the steps in which the learning rate rises"""
    weight_decay: float = Field(0.0, ge=0)
    """decoupled weight decay (AdamW)"""
    max_grad_norm: float = Field(1.0, ge=0)
    """clip the gradient to this norm; 0 does not clip"""
    token_budget: int = Field(1024, gt=0)
    """most tokens in one packed forward pass; smaller needs less memory, the result does not change"""
    max_length: int | None = Field(None, gt=0)
    """longest prompt + response in tokens; longer rows are left out, counted and named. Default: the context"""
    gradient_checkpointing: bool = False
    """recompute activations in the backward pass: less memory, about a third more time"""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16 runs the forward pass under autocast; log-probs are summed in float32 either way"""
    eval_every: int | None = Field(None, gt=0)
    """optimizer steps between evaluations on held-out data; default: about eight times a run"""
    save_every: int | None = Field(None, gt=0)
    """optimizer steps between checkpoints; default: as often as evaluations"""
    patience: int | None = Field(None, gt=0)
    """stop after this many evaluations without a lower loss, and keep the best"""
    report_to: list[str] = Field(default_factory=list)
    """trackers of transformers.Trainer, such as wandb, mlflow or trackio; none unless asked for"""
    cache_reference: bool = True
    """keep the reference's log-probs on disk, so that a second run on the same data does not compute them"""

    @field_validator("objective", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        rows = value if isinstance(value, list) else [value]
        return [{"name": row} if isinstance(row, str) else row for row in rows]

    @field_validator("objective")
    @classmethod
    def _known(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        parse(value)  # a misspelt objective or option is told before anything is loaded
        return value

    @property
    def rate(self) -> float:
        return self.learning_rate or (2e-4 if self.lora else 1e-6)
