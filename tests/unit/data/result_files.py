"""Result files as the neighbours write them, by hand and small."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DATE = "2025-11-02T10-00-00.123456"
SHA = "f0e1d2c3b4a5968778695a4b3c2d1e0f"


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def dumped(path: Path, body: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


def samples(
    right: Sequence[float | None], *, task: str = "gsm8k", shown: str = "p", start: int = 0
) -> list[dict[str, Any]]:
    """Rows of lm-evaluation-harness with two filters, as gsm8k has them."""
    rows = []
    for name, shift in (("strict-match", 0), ("flexible-extract", 1)):
        for i, value in enumerate(right, start):
            rows.append(
                {
                    "doc_id": i,
                    "doc": {"question": f"What is {i} + {i}?"},
                    "target": str(2 * i),
                    "arguments": {"gen_args_0": {"arg_0": f"Q: {i}", "arg_1": {"until": ["Q:"]}}},
                    "resps": [["..."]],
                    "filtered_resps": ["4"],
                    "filter": name,
                    "metrics": ["exact_match"],
                    "doc_hash": f"doc-{task}-{i}",
                    "prompt_hash": f"{shown}-{i}",
                    "target_hash": f"t{i}",
                    "exact_match": value if not shift or value is None else max(value, float(i % 7 == 0)),
                }
            )
    return rows


def summary(model: str = "owner/base", task: str = "gsm8k", **changes: Any) -> dict[str, Any]:
    """The results file beside the samples."""
    body = {
        "results": {task: {"alias": task, "exact_match,strict-match": 0.5}},
        "configs": {
            task: {"task": task, "num_fewshot": 5, "output_type": "generate_until",
                   "generation_kwargs": {"until": ["Q:"], "do_sample": False, "temperature": 0.0}}
        },
        "versions": {task: 3.0},
        "n-shot": {task: 5},
        "higher_is_better": {task: {"exact_match": True}},
        "config": {"model": "hf", "model_args": f"pretrained={model},dtype=bfloat16", "batch_size": "8", "gen_kwargs": None},
        "git_hash": "abc1234",
        "date": 1762077600.0,
        "lm_eval_version": "0.4.9",
        "model_source": "hf",
        "model_name": model,
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": False,
        "chat_template": None,
        "chat_template_sha": None,
    }  # fmt: skip
    return body | changes


def lm_eval(
    folder: Path, right: Sequence[float | None], model: str = "owner/base", shown: str = "p", **changes: Any
) -> Path:
    """A folder of one model, as --output_path and --log_samples leave it; returns the samples file."""
    home = folder / model.replace("/", "__")
    dumped(home / f"results_{DATE}.json", summary(model, **changes))
    return jsonl(home / f"samples_gsm8k_{DATE}.jsonl", samples(right, shown=shown))


def alpaca(
    path: Path, preferences: Sequence[Any], model: str = "mine", annotator: str = "judge-a", **changes: Any
) -> Path:
    rows = [
        {
            "instruction": f"Explain thing {i}.",
            "output_1": "A reference answer.",
            "generator_1": "reference-model",
            "dataset": "helpful_base",
            "output_2": "An answer." * (1 + i % 3),
            "generator_2": model,
            "datasplit": "eval",
            "annotator": annotator,
            "preference": p,
            "price_per_example": 0.01,
        }
        | changes
        for i, p in enumerate(preferences)
    ]
    return dumped(path, rows)


def reward_columns(path: Path, right: Sequence[int], model: str = "owner/rm", **changes: Any) -> Path:
    """eval-set-scores/MODEL.json of RewardBench: columns, and the model beside them."""
    n = len(right)
    body = {
        "text_chosen": [f"user: {i} assistant: yes" for i in range(n)],
        "text_rejected": [f"user: {i} assistant: no" for i in range(n)],
        "results": list(right),
        "subset": ["alpacaeval-easy" if i % 2 else "llmbar-natural" for i in range(n)],
        "id": list(range(n)),
        "scores_chosen": [float(r) for r in right],
        "scores_rejected": [0.5] * n,
        "model": model,
        "model_type": "Seq. Classifier",
        "chat_template": "tulu",
    }
    return dumped(path, body | changes)


def mt_bench(
    path: Path, scores: Mapping[str, Sequence[float]], judge: str = "gpt-4", template: str = "single-v1"
) -> Path:
    """JUDGE_single.jsonl: scores of each model, two turns a question."""
    rows = [
        {
            "question_id": 81 + i // 2,
            "model": model,
            "judge": [judge, template + ("-multi-turn" if i % 2 else "")],
            "user_prompt": "...",
            "judgment": f"Rating: [[{s}]]",
            "score": s,
            "turn": 1 + i % 2,
            "tstamp": 1.0,
        }
        for model, values in scores.items()
        for i, s in enumerate(values)
    ]
    return jsonl(path, rows)


def run_folder(
    home: Path, name: str, after: Sequence[Sequence[bool]], before: Sequence[Sequence[bool]], **recipe: Any
) -> Path:
    """A run of ours whose cache is gone: samples.jsonl, run.json, recipe.yaml (JSON is YAML)."""
    folder = home / name
    rows = [
        {
            "id": f"ins-{i}",
            "prompt": f"Write about {i} without a comma.",
            "constraints": ["punctuation:no_comma"],
            "before": [{"text": "a, b", "score": float(v), "checks": {"punctuation:no_comma#0": v}} for v in b],
            "after": [{"text": "a b c", "score": float(v), "checks": {"punctuation:no_comma#0": v}} for v in a],
        }
        for i, (a, b) in enumerate(zip(after, before, strict=True))
    ]
    jsonl(folder / "samples.jsonl", rows)
    dumped(
        folder / "run.json",
        {"id": name, "name": name, "status": "done", "model": {"name": "tiny"}, "created": "2025-11-02"},
    )
    sample = {"k": 2, "temperature": 0.7, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_new_tokens": 80, "stop": []}
    sample |= {"seed": 0, "remote": None, "vllm": False}
    body = {
        "name": name,
        "model": {"name": "tiny", "dtype": "float32", "chat_template": None},
        "steps": [{"step": "measure", "name": "measure", "sample": sample | recipe}],
    }
    dumped(folder / "recipe.yaml", body)
    return folder


def survey_folder(
    home: Path, values: Mapping[str, Mapping[str, Mapping[str, float | None]]], rendering: str = "own"
) -> Path:
    folder = home / "survey-1"
    readings = [
        {"name": reading, "better": "higher", "unit": "share",
         "provenance": {"model": model, "rendering": rendering, "backend": "LocalSampler", "survey": "facts"}}
        for model, found in values.items() for reading in found
    ]  # fmt: skip
    dumped(folder / "run.json", {"id": "survey-1", "name": "survey", "status": "done"})
    dumped(folder / "items.json", values)
    options = {"data": "x", "limit": 5, "shots": 2}
    dumped(folder / "survey.json", {"surveys": [{"name": "facts", "options": options}], "readings": readings})
    return folder
