"""Writing Examples so that a file is either the old one or the whole new one, never half of it."""

from __future__ import annotations

import errno
import gzip
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from theodolite.errors import DataError, StorageError
from theodolite.types import Example, Message


def write_jsonl(examples: Iterable[Example], path: str | Path) -> Path:
    """Our own JSONL, one Example a line; gzipped where the name ends in .gz. `read` gets back what was written."""
    return write_rows((e.to_json() for e in examples), path)


def write_trl(examples: Sequence[Example], path: str | Path) -> Path:
    """JSONL in the columns of TRL's trainers (see `trl_rows`)."""
    return write_rows(trl_rows(examples), path)


def trl_rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Conversational rows for TRL: prompt, chosen, rejected for pairs; prompt, completion, label for labelled answers;
    prompt, completion for single ones. All Examples must be of one kind: take a view first.

    {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", "content": "Hello"}], ...}
    """
    kinds = {_trl_kind(e) for e in examples}
    if len(kinds) > 1 or not kinds <= {"pairs", "labels", "single answers"}:
        have = ", ".join(sorted(kinds))
        raise DataError(
            f"TRL's columns need Examples of one kind: pairs, labels or single answers; these are {have}. Take a view."
        )
    kind = next(iter(kinds), "pairs")
    if kind == "pairs":
        return [
            {"prompt": _turns(e.prompt), "chosen": _turn(e.responses[0].text), "rejected": _turn(e.responses[1].text)}
            for e in examples
        ]
    rows = [(e, r, {"prompt": _turns(e.prompt), "completion": _turn(r.text)}) for e in examples for r in e.responses]
    return [row | ({"label": r.label} if kind == "labels" else {}) for _, r, row in rows]


def write_rows(rows: Iterable[dict[str, Any]], path: str | Path) -> Path:
    """Rows as JSONL, into a temporary file beside `path` that takes its name only when it is whole and on the disk.

    NaN and infinities are refused, since no other JSON reader takes them.
    """
    path = Path(path).expanduser()
    with _whole_file(path) as file:
        for number, row in enumerate(rows, 1):
            try:
                line = json.dumps(row, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"row {number} (id '{row.get('id', '')}') cannot be written as JSON: {error}."
                ) from None
            file.write(line.encode("utf-8", errors="backslashreplace") + b"\n")
    return path


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as raw:
            if path.name.endswith(".gz"):
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(_letter(path, error)) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _letter(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {path} was not written, what stood there before is untouched. Free space and try again."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} cannot be written: no permission in {path.parent}. Choose a folder that you may write to."
    if error.errno == errno.EISDIR or path.is_dir():
        return f"{path} is a folder. Give the name of a file in it."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path} cannot be written: a part of that path is a file, not a folder."
    return f"{path} cannot be written: {error.strerror or error}."


def _trl_kind(e: Example) -> str:
    labelled = [r.label is not None for r in e.responses]
    if labelled and all(labelled):
        return "labels"
    if len(e.responses) == 2:
        return "pairs"
    return "single answers" if len(e.responses) == 1 else f"{len(e.responses)} responses"


def _turns(prompt: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in prompt]


def _turn(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
