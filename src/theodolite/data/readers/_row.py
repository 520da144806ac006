"""What the readers share: taking typed fields out of a row, and the letter where one cannot be taken."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from theodolite.types import Example, Message, Response

Row = Mapping[str, Any]

ROLES = {
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "observation": "tool",
}  # fmt: skip
IDS = ("id", "ID", "idx", "pair_id", "prompt_id", "question_id", "message_tree_id", "uid", "uuid", "key")
_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_KEPT_TEXT = 300  # extra columns longer than this are data of their own, not facts about the row


class RowError(ValueError):
    """A row that cannot become an Example: the reason, and what would help."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.reason, self.fix = reason, fix


def present(row: Row, *names: str) -> str | None:
    """The first of these columns that the row has with a value other than null."""
    return next((n for n in names if row.get(n) is not None), None)


def value(row: Row, *names: str) -> Any:
    """The value of the first of these columns, as it stands."""
    name = present(row, *names)
    if name is None:
        have = ", ".join(str(k) for k in row) or "none"
        null = next((n for n in names if n in row), None)
        reason = f"'{null}' is null" if null else f"no column '{names[0]}' (the row has: {have})"
        raise RowError(reason, f"fill it, or name the column that holds it: columns={{'{names[0]}': ...}}")
    return row[name]


def unpack(cell: Any) -> Any:
    """A list or object that a CSV cell holds as JSON; anything else as it is. Only for columns that are never prose."""
    if isinstance(cell, str) and cell[:1] in ("[", "{") and cell[-1:] in ("]", "}"):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def text(row: Row, *names: str, what: str | None = None, empty: bool = False) -> str:
    """A text of the row. Empty (or only white space) is refused unless `empty`."""
    name = present(row, *names)
    found = row[name] if name else ("" if empty else value(row, *names))
    return check_text(found, what or name or names[0], empty)


def check_text(found: Any, what: str, empty: bool = False) -> str:
    if isinstance(found, str) and (empty or found.strip()):
        return found
    if isinstance(found, str) or found is None:
        raise RowError(f"'{what}' is empty", "fill it, or leave the row out")
    raise RowError(f"'{what}' is a {type(found).__name__} ({str(found)[:40]}), not a text", "write it as a string")


def number(found: Any, what: str) -> float:
    """A finite number; digits in a string (CSV) count."""
    try:
        made = float(found) if not isinstance(found, bool) else math.nan
    except (TypeError, ValueError):
        made = math.nan
    if not math.isfinite(made):
        raise RowError(f"'{what}' is {str(found)[:40]!r}, not a finite number", "give a number, or leave the row out")
    return made


def messages(found: Any, what: str) -> tuple[Message, ...]:
    """Turns as `role/content` or as ShareGPT's `from/value`; roles under their usual names become ours."""
    found = unpack(found)
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise RowError(f"'{what}' is not a list of messages", "write [{'role': 'user', 'content': ...}, ...]")
    return tuple(_message(m, f"{what}[{i}]") for i, m in enumerate(found))


def _message(turn: Any, what: str) -> Message:
    if not isinstance(turn, Mapping):
        raise RowError(f"'{what}' is a {type(turn).__name__}, not a message", "write {'role': 'user', 'content': ...}")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise RowError(f"'{what}' has the role {role!r}", f"roles that we know: {', '.join(ROLES)}")
    if isinstance(content, list):
        content = "".join(_part(p, what) for p in content)
    if content is None and turn.get("tool_calls"):
        raise RowError(f"'{what}' is a tool call without a text", "leave out rows that call tools")
    return Message(ROLES[role.lower()], check_text(content, what, empty=True))


def _part(part: Any, what: str) -> str:
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    raise RowError(f"'{what}' has a part that is not text", "leave out images, audio and tool calls")


def transcript(found: str, what: str) -> tuple[Message, ...]:
    """The turns of a '\\n\\nHuman: ... \\n\\nAssistant: ...' text, white space around them removed."""
    head, *rest = _TURN.split(found)
    if head.strip() or not rest:
        raise RowError(
            f"'{what}' does not begin with 'Human:' or 'Assistant:'", "write transcripts as '\\n\\nHuman: ...'"
        )
    return tuple(Message(ROLES[r.lower()], t.strip()) for r, t in zip(rest[::2], rest[1::2]))


def is_transcript(found: Any) -> bool:
    return isinstance(found, str) and bool(_TURN.match(found)) and "Assistant:" in found


def is_messages(found: Any) -> bool:
    found = unpack(found)
    return (
        isinstance(found, list)
        and bool(found)
        and isinstance(found[0], Mapping)
        and bool(found[0].keys() & {"role", "from"})
    )


SHAPES: dict[str, Callable[[Any], bool]] = {
    "messages": is_messages,
    "transcript": is_transcript,
    "list": lambda found: isinstance(unpack(found), list),
    "object": lambda found: isinstance(unpack(found), Mapping),
    "text": lambda found: isinstance(found, str),
}


def fits(row: Row, form: str) -> int:
    """How many demands of a form such as 'prompt|question chosen=messages' the row meets; 0 unless it meets all."""
    score = 0
    for want in form.split():
        columns, _, shape = want.partition("=")
        found = next((c for c in columns.split("|") if c in row), None)
        if found is None or (shape and not SHAPES[shape](row[found])):
            return 0
        score += 2 if shape else 1
    return score


def prompt_of(row: Row, *names: str) -> tuple[Message, ...]:
    """A prompt given as text, messages or transcript, the row's `system` text before it."""
    found, name = value(row, *names), present(row, *names) or names[0]
    if is_messages(found):
        turns = messages(found, name)
    elif is_transcript(found):
        turns = transcript(found, name)
        if not turns[-1].content and turns[-1].role == "assistant":  # '... \n\nAssistant:' asks for the answer
            turns = turns[:-1]
    else:
        turns = (Message("user", check_text(found, name)),)
    return check_prompt(system_of(row) + turns)


def system_of(row: Row) -> tuple[Message, ...]:
    found = row.get("system", row.get("system_prompt"))
    return (Message("system", found),) if isinstance(found, str) and found.strip() else ()


def check_prompt(turns: Sequence[Message]) -> tuple[Message, ...]:
    spoken = [m for m in turns if m.role != "system"]
    if not spoken:
        raise RowError("there is no prompt", "put the user's turn before the answers")
    if spoken[-1].role == "assistant":
        raise RowError(
            "the prompt ends with the assistant's turn", "end it with the user's turn, or give the answer as response"
        )
    if empty := next((m for m in spoken if not m.content.strip()), None):
        raise RowError(f"an empty {empty.role} turn in the prompt", "fill it, or leave the row out")
    return tuple(turns)


def distinct(*texts: str) -> None:
    if len({t.strip() for t in texts}) == 1:
        raise RowError(
            "the answers are equal, so neither is better", "leave the row out, or give two different answers"
        )


def example(
    row: Row, prompt: Sequence[Message], responses: Iterable[Response], used: Iterable[str], **meta: Any
) -> Example:
    """An Example with the row's id; short columns that no one used travel in `meta`."""
    id_column = present(row, *IDS)
    spent = {*used, *([id_column] if id_column else ()), "system", "system_prompt"}
    kept = {k: v for k, v in row.items() if k not in spent and _is_fact(v)}
    return Example(tuple(prompt), tuple(responses), str(row[id_column]) if id_column else "", kept | meta)


def _is_fact(found: Any) -> bool:
    if isinstance(found, list):
        return len(found) <= 20 and all(isinstance(x, str | int | float) and _is_fact(x) for x in found)
    return isinstance(found, bool | int | float) or (isinstance(found, str) and 0 < len(found) <= _KEPT_TEXT)
