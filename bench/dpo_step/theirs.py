"""TRL's side: DPOTrainer on the same ids, weights and adapter. Called by run.py in a process of its own.

Tokenisation is skipped (the ids are given), the order is the rows' own, and the first and last step are bracketed by
callbacks, so that neither start-up nor saving counts against it; a precomputed reference does count.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from common import Adapter, lora_config, memory
from datasets import Dataset
from transformers import TrainerCallback
from trl import DPOConfig, DPOTrainer

from theodolite.models import load_model


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.begun.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ended.append(time.perf_counter())


class GivenIds(DPOTrainer):
    """Takes rows that are tokenised already, and notes how long a precomputed reference takes."""

    reference_seconds = 0.0

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, *args: Any, **kwargs: Any) -> Dataset:
        begun = time.perf_counter()
        found = super()._precompute_ref_logps(*args, **kwargs)
        self.reference_seconds += time.perf_counter() - begun
        return found


def train(job: dict[str, Any]) -> dict[str, Any]:
    loaded = load_model(job["model"])
    rows = [
        {"prompt_ids": g["prompt"], "chosen_ids": g["responses"][0], "rejected_ids": other}
        for g in job["groups"]
        for other in g["responses"][1:]
    ]
    per_step = job["per_step"] * (len(job["groups"][0]["responses"]) - 1)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=job["micro"],
            gradient_accumulation_steps=per_step // job["micro"],
            max_steps=len(rows) // per_step,
            beta=0.1,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            bf16=False,
            gradient_checkpointing=job["checkpointing"],
            precompute_ref_log_probs=job["precompute"],
            train_sampling_strategy="sequential",
            max_length=None,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = GivenIds(
            model=loaded.model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=loaded.tokenizer,
            peft_config=lora_config(),
            callbacks=[clock],
        )
        Adapter.read(job["adapter"]).put_on(trainer.model)
        torch.manual_seed(0)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "seconds": trainer.reference_seconds + clock.ended[-1] - clock.begun[0],
        "reference_seconds": trainer.reference_seconds,
        "step_seconds": [b - a for a, b in zip(clock.begun, clock.ended)],
        "losses": losses,
        "memory_gb": memory(),
    }
