"""A pair and the model's own vote on it, asked in both orders (SCIR, arXiv:2502.08922; the prompt is ours)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from theodolite.errors import DataError
from theodolite.models.chat import group_of, prompt_ids
from theodolite.types import Example, Group, Message, Role

ASK = (
    "Which of two answers to the same request is better?\n\n[Request]\n{question}\n\n[Answer A]\n{a}\n\n"
    "[Answer B]\n{b}\n\nReply with one letter, A or B."
)
OPTIONS = ("A", "B")


def bundle(example: Example, tokenizer: Any, max_length: int) -> tuple[Group, ...]:
    """The pair, then one group for each order of presentation: two rows, the option that votes for the chosen answer
    (label 1) and the one against it (label 0); the score is the number of the order."""
    if len(example.responses) != 2:
        raise DataError(f"example '{example.id}' has {len(example.responses)} responses, a vote is on 2.")
    pair = group_of(example, tokenizer, max_length=max_length, roles=(Role.CHOSEN, Role.REJECTED))
    if pair.responses[0] == pair.responses[1]:
        raise DataError(f"example '{example.id}' has equal answers, between which there is no vote.")
    options = tuple(tuple(tokenizer(o, add_special_tokens=False)["input_ids"]) for o in OPTIONS)
    asked = []
    for order in (0, 1):
        shown = [r.text for r in (example.responses if order == 0 else example.responses[::-1])]
        text = ASK.format(question=example.question, a=shown[0], b=shown[1])
        prompt = prompt_ids(tokenizer, (Message("user", text),))
        if len(prompt) + max(map(len, options)) > max_length:
            raise DataError(f"example '{example.id}' needs {len(prompt)} tokens for its vote; {max_length} fit.")
        vote = Group(prompt, options, scores=(float(order),) * 2, roles=(Role.JUDGED,) * 2, id=example.id)
        asked.append(replace(vote, labels=(1, 0) if order == 0 else (0, 1)))
    return pair, *asked
