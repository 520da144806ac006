"""Where rows come from: one file, a folder of files, a saved dataset, or the hub by name."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from theodolite.data import files
from theodolite.errors import DataError, UsageError, did_you_mean

_SPLITS = {"train", "test", "validation", "valid", "val", "dev", "eval"}
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?(:[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Source:
    """label: a short name for ids of rows that have none. rows: all rows, files opened one after the other."""

    label: str
    rows: Iterator[files.Row]


def open_source(source: str, split: str) -> Source:
    """The rows behind a path or hub name; a letter where there are none."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, split)
    if path.exists():
        if split != "train":
            raise UsageError(f"{path} is one file and has no split '{split}'. Name the file that holds that split.")
        return _files(path.name.split(".")[0], [path])
    missing = f"there is no file {source}.{did_you_mean(path.name, _near(path))}"
    if files.kind(path) or not _HUB_NAME.fullmatch(source):
        raise DataError(missing[0].upper() + missing[1:])
    return _hub(source, split, missing)


def _files(label: str, paths: list[Path]) -> Source:
    if len(paths) == 1:
        return Source(label, files.rows(paths[0]))
    return Source(label, (replace(row, file=p.name) for p in paths for row in files.rows(p)))


def _near(path: Path) -> list[str]:
    """Names of what stands in the same folder: those that begin alike, where there are any."""
    if not path.parent.is_dir():
        return []
    names = sorted(p.name for p in path.parent.iterdir())
    stem = path.name.split(".")[0]
    return [n for n in names if n.startswith(stem) or stem.startswith(n.split(".")[0])] or names


def _folder(folder: Path, split: str) -> Source:
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _saved(folder, split)
    found = sorted(p for p in [*folder.glob("*"), *folder.glob("data/*")] if p.is_file() and files.kind(p))
    if not found:
        raise DataError(f"the folder {folder} holds no data file. Endings that we read: {', '.join(files.SUFFIXES)}.")
    words = {p: set(re.split(r"[-_.]", p.name.lower())) for p in found}
    of_split = [p for p in found if split.lower() in words[p]]
    if of_split:
        return _files(folder.name, of_split)
    if split == "train" and not any(w & _SPLITS for w in words.values()):
        return _files(folder.name, found)
    raise DataError(
        f"the folder {folder} has no file of the split '{split}'. It has: {', '.join(p.name for p in found[:12])}."
    )


def _saved(folder: Path, split: str) -> Source:
    import datasets

    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever datasets meets in a damaged folder
        raise DataError(f"the saved dataset in {folder} cannot be loaded: {error}.") from None
    if isinstance(found, dict) and split not in found:
        raise DataError(f"{folder} has no split '{split}'.{did_you_mean(split, found)} It has: {', '.join(found)}.")
    if not isinstance(found, dict) and split != "train":
        raise UsageError(f"{folder} is one table and has no split '{split}'.")
    return _table(found[split] if isinstance(found, dict) else found, folder.name)


def _hub(name: str, split: str, missing: str) -> Source:
    import datasets

    repo, _, config = name.partition(":")
    try:
        with _quick_failure():
            return _table(datasets.load_dataset(repo, config or None, split=split), name)
    except Exception as error:  # the hub, the network, the disk and the file formats each have errors of their own
        if str(error).startswith("Unknown split"):
            raise DataError(f"the hub dataset {name} has no split '{split}'. {error}") from None
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{missing[0].upper()}{missing[1:]} Nor could a dataset '{name}' be fetched from the hub: {first.rstrip('.')}. "
            "Check the path; for a hub dataset check the name and the network."
        ) from None


def _table(found: Any, name: str) -> Source:
    return Source(name.replace("/", "_"), (files.Row(i, row) for i, row in enumerate(found, 1)))


@contextmanager
def _quick_failure() -> Iterator[None]:
    """Without a network the hub client retries for half a minute: then ask it for what is cached only."""
    import datasets
    import huggingface_hub.constants as hub

    if _reachable(hub.ENDPOINT):
        yield
        return
    before = datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, hub.HF_HUB_OFFLINE = before


def _reachable(endpoint: str) -> bool:
    """Can a connection be opened at all? Behind a proxy we cannot tell and say yes."""
    if any(
        os.environ.get(k) for k in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    ):
        return True
    url = urlparse(endpoint)
    try:
        with socket.create_connection(
            (url.hostname or "", url.port or (80 if url.scheme == "http" else 443)), timeout=3
        ):
            return True
    except OSError:
        return False
