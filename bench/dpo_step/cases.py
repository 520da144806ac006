"""The rows that are trained on: token ids, the same for both sides. One case a data set.

A case is {"name", "groups": [{"prompt": ids, "responses": [ids, ...]}], "per_step": groups an optimizer step,
"micro": TRL's micro-batches in pairs, the first as a user first writes it, "budget": our tokens a pack}. A group of K responses stands for the
K - 1 pairs of its first (best) response with each other one; for K = 2 that is the pair itself.
"""

from __future__ import annotations

import gzip
import json
import re
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

Turns = list[dict[str, str]]


def hh(folder: Path, tokenizer: Any, rows: int) -> dict[str, Any]:
    """The first pairs of hh-rlhf harmless-base: conversations, the last answer judged."""
    groups = []
    for row in islice(_hh_rows(folder), rows):
        chosen, rejected = _turns(row["chosen"]), _turns(row["rejected"])
        groups.append(_group(tokenizer, chosen[:-1], [chosen[-1]["content"], rejected[-1]["content"]]))
    return {"name": "hh", "groups": groups, "per_step": min(8, rows), "micro": [8, 1, 2], "budget": 1280}


def short(folder: Path, tokenizer: Any, rows: int) -> dict[str, Any]:
    """just-eval: a short instruction, a long answer, and as the rejected one the next instruction's answer."""
    found = json.loads((folder / "instructions/just_eval_instruct_1000.json").read_text())[: rows + 1]
    groups = [
        _group(tokenizer, [{"role": "user", "content": a["instruction"]}], [a["output"], b["output"]])
        for a, b in pairwise(found)
    ]
    return {"name": "short", "groups": groups, "per_step": min(8, rows), "micro": [8, 1, 2], "budget": 1024}


def ranked(folder: Path, tokenizer: Any, rows: int) -> dict[str, Any]:
    """K = 8: hh-rlhf prompts with their two answers and the six answers of the next three rows, in that order."""
    conversations = [(_turns(r["chosen"]), _turns(r["rejected"])) for r in islice(_hh_rows(folder), rows + 3)]
    answers = [text for pair in conversations for text in (pair[0][-1]["content"], pair[1][-1]["content"])]
    groups = [
        _group(tokenizer, chosen[:-1], answers[2 * i : 2 * i + 8]) for i, (chosen, _) in enumerate(conversations[:rows])
    ]
    return {"name": "ranked", "groups": groups, "per_step": 1, "micro": [7, 1, 1], "budget": 1024}


def _group(tokenizer: Any, prompt: Turns, answers: list[str]) -> dict[str, Any]:
    text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    end = tokenizer.eos_token_id
    ids = [tokenizer(a, add_special_tokens=False)["input_ids"] + [end] for a in answers]
    return {"prompt": tokenizer(text, add_special_tokens=False)["input_ids"], "responses": ids}


def _hh_rows(folder: Path) -> Any:
    with gzip.open(folder / "preference/hh_rlhf_harmless_base_test.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _turns(text: str) -> Turns:
    parts = re.split(r"\n\n(Human|Assistant): ?", text)[1:]
    names = {"Human": "user", "Assistant": "assistant"}
    return [{"role": names[who], "content": said.strip()} for who, said in zip(parts[::2], parts[1::2])]
