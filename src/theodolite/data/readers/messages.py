"""Conversations for supervised training: `messages`, and ShareGPT's `conversations`."""

from __future__ import annotations

from theodolite.data.readers._row import Row, RowError, check_prompt, check_text, example, messages, present, system_of
from theodolite.data.readers._row import value as value_of
from theodolite.registry import register
from theodolite.types import Example, Response


@register(
    "reader",
    "messages",
    source="OpenAI's chat format; ShareGPT's conversations of from/value",
    columns=("messages|conversations|conversation=messages",),
)
def conversation(row: Row) -> Example:
    """A conversation; the assistant's last turn is the response, all before it the prompt.

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """
    names = ("messages", "conversations", "conversation")
    value_of(row, *names)
    name = present(row, *names) or names[0]
    turns = messages(row[name], name)
    if turns[0].role != "system":
        turns = system_of(row) + turns
    if turns[-1].role != "assistant":
        raise RowError(
            f"the conversation ends with the {turns[-1].role}'s turn", "cut it after the assistant's last turn"
        )
    answer = Response(check_text(turns[-1].content, f"{name}[{len(turns) - 1}]"))
    return example(row, check_prompt(turns[:-1]), (answer,), names)
