"""Load a model for measuring or turning. Remote code and pickled weights only when the user says so."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from theodolite.config import Config
from theodolite.errors import ModelError
from theodolite.models.locate import resolve

DType = Literal["float32", "bfloat16", "float16", "auto"]


class ModelConfig(Config):
    """Which model, and how to hold it."""

    name: str = "smollm2-135m-instruct"
    """a local folder, a hub id such as owner/name, or the name of a packaged model (see `theodolite models`)"""
    adapter: str | None = None
    """folder of a LoRA adapter to put on top before anything else happens"""
    dtype: DType = "float32"
    """number format of the weights; auto keeps the stored one"""
    device: str = "auto"
    """auto takes a GPU where there is one, else the CPU"""
    chat_template: str | None = None
    """file with a Jinja chat template, for models that have none"""
    max_length: int | None = Field(None, gt=0)
    """most tokens of prompt and response together; default: the model's own context"""
    trust_remote_code: bool = False
    """run Python that comes with the model; leave off unless you have read it"""
    allow_pickle: bool = False
    """load pickled weights (.bin), which can run code when opened"""


@dataclass(slots=True)
class Loaded:
    """A model with its tokenizer and where it came from."""

    model: Any
    tokenizer: Any
    name: str
    path: Path
    config: ModelConfig

    @property
    def max_length(self) -> int:
        return self.config.max_length or context_length(self.model)


def load_model(name: str | ModelConfig, *, say: Callable[[str], None] = lambda _: None, **options: Any) -> Loaded:
    """Resolve and load: `load_model("smollm2-135m-instruct", dtype="bfloat16")`. The model is in eval mode."""
    import torch
    from transformers import AutoModelForCausalLM

    config = name if isinstance(name, ModelConfig) else ModelConfig(name=name, **options)
    path = resolve(config.name, say=say)
    adapter = Path(config.adapter) if config.adapter else None
    if (path / "adapter_config.json").exists() and not (path / "config.json").exists():
        adapter, path = path, resolve(_base_of(path), say=say)
    _refuse_unsafe(path, config)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype="auto" if config.dtype == "auto" else getattr(torch, config.dtype),
            trust_remote_code=config.trust_remote_code,
            use_safetensors=None if config.allow_pickle else True,
        )
        tokenizer = load_tokenizer(path, config)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"the model in {path} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    if adapter is not None:
        model = _with_adapter(model, adapter)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    return Loaded(model.to(device).eval(), tokenizer, config.name, path, config)


def load_tokenizer(path: Path, config: ModelConfig) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=config.trust_remote_code)
    if config.chat_template is not None:
        file = Path(config.chat_template)
        if not file.is_file():
            raise ModelError(f"the chat template file {file} does not exist.")
        tokenizer.chat_template = file.read_text(encoding="utf-8")
    return tokenizer


def context_length(model: Any) -> int:
    """Positions the model was made for; a large number where its config does not say."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
        if isinstance(value := getattr(config, key, None), int):
            return value
    return 1 << 20


def fingerprint(path: Path) -> str:
    """Content hash of a model folder: config and every safetensors file, by size and by its first and last MiB.

    The ends hold a safetensors file's header (names, shapes) and part of its weights, so a file that was trained
    further differs; hashing gigabytes in full would cost more than it proves.
    """
    digest = hashlib.sha256()
    for file in sorted([*path.glob("*.safetensors"), *path.glob("config.json"), *path.glob("adapter_config.json")]):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with open(file, "rb") as handle:
            digest.update(handle.read(1 << 20))
            if size > 1 << 21:
                handle.seek(-(1 << 20), 2)
                digest.update(handle.read())
    return digest.hexdigest()[:16]


def count_parameters(path: Path) -> int:
    """Numbers in a folder's safetensors files, read from their headers alone."""
    from safetensors import safe_open

    total = 0
    for file in path.glob("*.safetensors"):
        with safe_open(file, "pt") as handle:
            total += sum(math.prod(handle.get_slice(name).get_shape()) for name in handle.keys())  # noqa: SIM118
    return total


def _base_of(adapter: Path) -> str:
    base = json.loads((adapter / "adapter_config.json").read_text()).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"the adapter in {adapter} does not say which model it belongs to; give name and adapter.")
    return str(base)


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    if not (adapter / "adapter_config.json").exists():
        raise ModelError(f"the folder {adapter} holds no adapter_config.json, so it is not a peft adapter.")
    return PeftModel.from_pretrained(model, str(adapter))


def _refuse_unsafe(path: Path, config: ModelConfig) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    settings = json.loads((path / "config.json").read_text(encoding="utf-8"))
    if settings.get("auto_map") and settings.get("model_type") not in CONFIG_MAPPING and not config.trust_remote_code:
        raise ModelError(
            f"the model in {path} brings its own Python code ({', '.join(settings['auto_map'].values())}). Read it, "
            "then say model.trust_remote_code=true."
        )
    if not config.allow_pickle and not any(path.glob("*.safetensors")):
        pickled = sorted(p.name for p in path.glob("*.bin"))
        if pickled:
            raise ModelError(
                f"the model in {path} has only pickled weights ({pickled[0]}), and opening a pickle can run code. "
                "Convert it to safetensors, or say model.allow_pickle=true if you trust its origin."
            )
        raise ModelError(f"the folder {path} holds no safetensors weights.")
