"""Rows out of files: JSONL, JSON, CSV, TSV (each also .gz) and Parquet. A row that cannot be read is yielded as such.

Nothing is dropped: broken JSON, bad UTF-8, a CSV record with the wrong number of fields and the place where a
truncated gzip stops are `Row`s with a `fault` in place of a value, so the caller can count and name them.
"""

from __future__ import annotations

import csv
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from theodolite.errors import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row could not be read, and what to do about it."""

    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class Row:
    """number: 1-based; the line for JSONL, the record (header not counted) elsewhere. Either value or fault is set.

    file: the file's name where several are read as one.
    """

    number: int
    value: Mapping[str, Any] | None
    fault: Fault | None = None
    file: str = ""


def kind(path: Path) -> str | None:
    """'.jsonl', '.csv', ... with a trailing .gz set aside; None where the name says nothing we know."""
    name = path.name.lower().removesuffix(".gz")
    return next((s for s in SUFFIXES if name.endswith(s)), None)


def rows(path: Path) -> Iterator[Row]:
    """Every row of a file, in order, readable or not. Raises DataError where the file as a whole cannot be read."""
    suffix = kind(path)
    if suffix is None:
        raise DataError(
            f"{path} has an ending we cannot read. We read {', '.join(SUFFIXES)}, and .gz after the text ones."
        )
    if suffix == ".parquet":
        return _parquet(path)
    reader = {".json": _json, ".csv": _csv, ".tsv": _tsv}.get(suffix, _jsonl)
    return reader(_Lines(path))


class _Lines:
    """Lines of a file as bytes. After the loop `stopped` says why the file ended too early, if it did."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stopped: Fault | None = None
        self.last = b""  # what stood after the last line break when the file stopped too early

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for chunk in self._chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if self.stopped:
            self.last = rest
        elif rest:
            yield rest

    def _chunks(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                head = file.read(2)
                file.seek(0)
                packed = iter(lambda: file.read(_CHUNK), b"")
                yield from self._unzip(packed) if head == b"\x1f\x8b" else packed
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}.") from None

    def _unzip(self, packed: Iterator[bytes]) -> Iterator[bytes]:
        """Like gzip, but what came before a break is kept (the gzip module throws its last buffer away)."""
        member = zlib.decompressobj(31)
        try:
            for chunk in packed:
                while chunk:
                    if member.eof:
                        member = zlib.decompressobj(31)
                    yield member.decompress(chunk)
                    chunk = member.unused_data if member.unused_data.strip(b"\0") else b""
        except zlib.error as error:
            self.stopped = Fault(
                f"the gzip is damaged from here on ({error})", "fetch the file again; the rows before are kept"
            )
            return
        if not member.eof:
            self.stopped = Fault("the gzip is truncated here", "fetch the file again; the rows before are kept")


def _text(line: bytes) -> str | Fault:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault(
            f"bytes that are not UTF-8 (0x{line[error.start]:02x} at byte {error.start + 1})", "save the file as UTF-8"
        )


def _jsonl(lines: _Lines) -> Iterator[Row]:
    number = 0
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield _json_line(number, line)
    if lines.stopped:
        yield Row(number + 1, None, lines.stopped)


def _json_line(number: int, line: bytes) -> Row:
    text = _text(line)
    if isinstance(text, Fault):
        return Row(number, None, text)
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        return Row(number, None, Fault(f"broken JSON{where}", "each line must be one whole JSON object"))
    return _object(number, value)


def _object(number: int, value: Any) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(
        number,
        None,
        Fault(f"a JSON {_json_kind(value)}, not an object", "each row must be an object with named columns"),
    )


def _json_kind(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _json(lines: _Lines) -> Iterator[Row]:
    data = b"\n".join(lines)
    if lines.stopped:
        data = data + b"\n" + lines.last
    text = _text(data.removeprefix(b"\xef\xbb\xbf"))
    if isinstance(text, Fault):
        if not lines.stopped:
            raise DataError(f"{lines.path} has {text.reason}. {text.fix[0].upper()}{text.fix[1:]}.")
        text = data.decode("utf-8", errors="ignore")  # the break may have cut a character in two
    try:
        whole = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        yield from _salvage(text, lines, error)
        return
    for number, value in enumerate(_table(whole, lines.path), 1):
        yield _object(number, value)


def _table(whole: Any, path: Path) -> list[Any]:
    """The rows of a JSON document: a list, the one list of objects inside an object, or columns of equal length."""
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        raise DataError(f"{path} holds a JSON {_json_kind(whole)}. Rows must stand in a list of objects.")
    tables = {k: v for k, v in whole.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    if len(tables) == 1:
        return next(iter(tables.values()))
    columns = {k: v for k, v in whole.items() if isinstance(v, list)}
    if not tables and len(columns) == len(whole) and columns and len({len(v) for v in columns.values()}) == 1:
        return [dict(zip(columns, values)) for values in zip(*columns.values())]
    raise DataError(
        f"{path} is one JSON object with the keys {', '.join(list(whole)[:12])}, and it is not clear which "
        "of them holds the rows. Save the rows as a list of objects, or as JSONL."
    )


def _salvage(text: str, lines: _Lines, error: Exception) -> Iterator[Row]:
    """The whole objects before the break of a JSON list, then the break as a fault; JSONL under the wrong name too."""
    start = text.lstrip()
    if start.startswith("{") and _json_line(1, start.split("\n", 1)[0].encode()).fault is None:
        yield from _jsonl(_Lines(lines.path))
        return
    at, number, decoder = len(text) - len(start) + 1, 0, json.JSONDecoder()
    while start.startswith("["):
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            break
        number += 1
        yield _object(number, value)
    if number == 0:
        raise DataError(
            f"{lines.path} is not valid JSON: {error}." + (f" Also, {lines.stopped.reason}." if lines.stopped else "")
        )
    line = text.count("\n", 0, at) + 1
    broken = Fault(f"broken JSON at line {line}; the rows from here on cannot be read", "repair the file at that line")
    yield Row(number + 1, None, lines.stopped or broken)


def _csv(lines: _Lines) -> Iterator[Row]:
    yield from _table_rows(lines, quoting=csv.QUOTE_MINIMAL, delimiter=",")


def _tsv(lines: _Lines) -> Iterator[Row]:
    yield from _table_rows(lines, quoting=csv.QUOTE_NONE, delimiter="\t")


def _table_rows(lines: _Lines, *, quoting: Any, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    quotes = 0

    def decoded() -> Iterator[str]:
        nonlocal quotes
        for i, line in enumerate(lines):
            text = (line.removeprefix(b"\xef\xbb\xbf") if i == 0 else line).decode("utf-8", errors="surrogateescape")
            quotes += text.count('"')
            yield text + "\n"

    records = _records(csv.reader(decoded(), delimiter=delimiter, quoting=quoting))
    header = next(records, None)
    if header is None:
        return
    if isinstance(header, Fault) or len(set(header)) < len(header):
        twice = "" if isinstance(header, Fault) else next((h for h in header if header.count(h) > 1), "")
        raise DataError(
            f"{lines.path} has no usable header: " + (f"'{twice}' stands in it twice." if twice else "csv refuses it.")
        )
    number, held = 0, None  # one record is held back: whether it is whole is only known at the end
    for record in records:
        if held is not None:
            yield held
            held = None
        if record:
            number += 1
            held = _record(number, header, record, delimiter)
    open_quote = quoting == csv.QUOTE_MINIMAL and quotes % 2 == 1 and held is not None
    if open_quote and not lines.stopped:
        reason = "a quote that is opened and never closed; all that follows was read as one field"
        held = Row(number, None, Fault(reason, "close the quote, or write quotes inside a field twice"))
    if held is not None and not (open_quote and lines.stopped):
        yield held
    if lines.stopped:
        yield Row(number + (not open_quote), None, lines.stopped)


def _records(records: Iterator[list[str]]) -> Iterator[list[str] | Fault]:
    """The records of a csv reader; one that it refuses (a lone carriage return) is given as a Fault."""
    while True:
        try:
            yield next(records)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault(str(error), "save the file with plain line breaks and without NUL bytes")


def _record(number: int, header: list[str], record: list[str] | Fault, delimiter: str) -> Row:
    if isinstance(record, Fault):
        return Row(number, None, record)
    lost = next((c for cell in record for c in cell if "\udc80" <= c <= "\udcff"), None)
    if lost is not None:
        return Row(
            number, None, Fault(f"bytes that are not UTF-8 (0x{ord(lost) - 0xDC00:02x})", "save the file as UTF-8")
        )
    if len(record) != len(header):
        fix = (
            "quote fields that hold commas or line breaks"
            if delimiter == ","
            else "take tabs out of the fields, or use JSONL"
        )
        return Row(number, None, Fault(f"{len(record)} fields where the header names {len(header)}", fix))
    cells = record if delimiter == "," else [_unquote(c) for c in record]
    return Row(number, dict(zip(header, cells)))


def _unquote(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) >= 2 and cell[0] == cell[-1] == '"' else cell


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet as pq

    if path.name.lower().endswith(".gz"):
        raise DataError(
            f"{path} is a gzipped Parquet file, which nothing reads in place. Unpack it first: gunzip {path}."
        )
    try:
        file = pq.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    number = 0
    try:
        for batch in file.iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                number += 1
                yield Row(number, value)
    except (pyarrow.ArrowException, OSError) as error:
        reason = f"the Parquet file is damaged from here on ({str(error).splitlines()[0]})"
        yield Row(number + 1, None, Fault(reason, "fetch the file again; the rows before are kept"))
