"""A synthetic run folder that looks like a quickstart's, so that pages can be written without training."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

from theodolite.types import Reading

RECIPE = """\
name: quickstart
title: Verifiable instructions, SmolLM2-135M-Instruct
model: smollm2-135m-instruct
seed: 7
steps:
- step: curate
  prompts: 48
  topics: train
  responses: 4
  temperature: 1.0
  reward: constraints
  pairs: best_worst
- step: align
  objective: {name: dpo, beta: 0.1, sft_weight: 0.1}
  lora: {rank: 16, alpha: 32, targets: all-linear}
  epochs: 2
  learning_rate: 0.0002
- step: measure
  what: [pass_rate, kl, length, reward_accuracy]
  prompts: 72
  responses: 2
- step: report
"""

CONSTRAINTS = [
    ("starts with", 0.21, 0.72), ("all lower case", 0.11, 0.55), ("number of bullets", 0.29, 0.66), ("at most n words", 0.38, 0.69),
    ("contains keyword", 0.55, 0.74), ("ends with", 0.05, 0.22), ("no comma", 0.36, 0.51), ("title in brackets", 0.18, 0.30),
    ("number of sentences", 0.41, 0.49), ("JSON only", 0.04, 0.09), ("answer in French", 0.31, 0.33), ("highlighted sections", 0.46, 0.34),
]  # fmt: skip

ANSWERS = [
    ("Describe how a lighthouse works.", ["Write in lower case only.", "Use at most 40 words."],
     "A lighthouse is a tall tower that emits light from a system of lamps and lenses. It serves as a navigational aid for maritime pilots at sea.\n\n"
     "The light is produced by a lamp, and a Fresnel lens bends it into a beam that can be seen from far away.",
     "a lighthouse has a bright lamp and a lens that turns slowly. the beam sweeps over the sea, so that sailors can see where the rocks are.",
     {"lower case": False, "at most 40 words": False}, {"lower case": True, "at most 40 words": True}),
    ("Give advice to someone who wants to learn the violin.", ["Give exactly three bullets."],
     "1. Find a good teacher.\n2. Practise every day.\n3. Listen to recordings.\n4. Be patient with yourself.",
     "- Find a teacher you like.\n- Play a little every day.\n- Listen to violinists you admire.",
     {"three bullets": False}, {"three bullets": True}),
    ("Explain what yeast does in bread.", ["Highlight two sections with *asterisks*.", "Do not use a comma."],
     "Yeast is a *living fungus* that eats the sugar in flour. It gives off *carbon dioxide* which makes the dough rise.",
     "yeast makes bread rise. it eats sugar and makes gas",
     {"two highlights": True, "no comma": True}, {"two highlights": False, "no comma": True}),
    ("Name a river in Asia and say why it matters.", ["Begin with 'Certainly'."],
     "The Mekong matters because sixty million people live from its water and fish.",
     "The Mekong is important to many people because of the fish that live in it.",
     {"begins with Certainly": False}, {"begins with Certainly": False}),
    ("Write a short note to a neighbour about a lost cat.", ["Answer in JSON."],
     "Dear neighbour, <b>have you seen</b> my cat? </script><script>alert('before')</script>",
     '{"note": "Have you seen my cat?", "photo": "<img src=x onerror=alert(1)>"}',
     {"JSON": False}, {"JSON": True}),
    ("Tell me about the history of chess.", ["Use at least 150 words."],
     "Chess began in India as chaturanga. " * 40,
     "Chess is an old game. It came from India to Persia and then to Europe. " * 16,
     {"at least 150 words": True}, {"at least 150 words": True}),
]  # fmt: skip


def comparison(name: str, before: float, after: float, half: float, **facts: Any) -> list[dict[str, Any]]:
    """The three readings of a paired comparison; the interval of the difference is 1.15 times a side's."""
    n, unit, better = facts.pop("n", 72), facts.pop("unit", "share"), facts.pop("better", "higher")
    p, parts = facts.pop("p", 0.0002), facts.pop("parts", {})
    gap = after - before
    common = {"n": n, "unit": unit, "better": better, **facts}
    rows = [
        Reading(f"{name}.before", before, before - half, before + half, method="bootstrap", **common),
        Reading(f"{name}.after", after, after - half, after + half, method="bootstrap", **common),
        Reading(
            f"{name}.difference",
            gap,
            gap - 1.15 * half,
            gap + 1.15 * half,
            method="paired-bootstrap",
            p_value=p,
            parts=parts,
            **common,
        ),
    ]
    return [r.to_json() for r in rows]


def constraint_rows() -> list[dict[str, Any]]:
    rows = []
    for i, (name, before, after) in enumerate(CONSTRAINTS):
        n = 9 + 3 * (i % 5)
        half = 1.5 / math.sqrt(n) / 2
        row = {"constraint": name, "n": n, "before": before, "after": after, "difference": after - before}
        for side, value in (("before", before), ("after", after)):
            row |= {f"{side}_low": max(0, value - half), f"{side}_high": min(1, value + half)}
        rows.append(row | {"low": after - before - 1.2 * half, "high": after - before + 1.2 * half})
    return rows


def readings() -> list[dict[str, Any]]:
    curve = [(1, 0.201), (2, 0.296), (4, 0.392), (8, 0.47)]
    best = [{"n": n, "kl": math.log(n) - (n - 1) / n, "value": v, "low": v - 0.06, "high": v + 0.06} for n, v in curve]
    made = comparison("pass_rate", 0.2, 0.44, 0.08, parts={"by_constraint": constraint_rows()})
    made += comparison("pass_rate_loose", 0.26, 0.49, 0.081)
    made += comparison("constraint_rate", 0.414, 0.61, 0.055)
    made += [
        Reading("kl", 6.21, 5.48, 7.02, method="bootstrap", n=72, unit="nats").to_json(),
        Reading("kl.per_token", 0.091, 0.082, 0.101, method="bootstrap", n=72, unit="nats").to_json(),
    ]
    made += comparison("length", 81.6, 68.2, 6.5, unit="tokens", better="neither", p=0.0011)
    made += comparison("truncated", 0.14, 0.06, 0.05, better="lower", p=0.02)
    made += comparison("reward_accuracy", 0.52, 0.63, 0.1, n=43, p=0.048, missing=2, why={"equal responses": 2})
    made.append(
        Reading("distinct_2", math.nan, n=0, note="needs at least two answers a prompt", better="higher").to_json()
    )
    made.append(
        Reading(
            "best_of_n", math.nan, note="a curve, see its parts", n=72, unit="share", parts={"curve": best}
        ).to_json()
    )
    return made


def training(steps: int = 44) -> list[dict[str, Any]]:
    rng, rows = random.Random(3), []
    for step in range(1, steps + 1):
        t, noise = step / steps, rng.gauss(0, 1)
        margin = 2.4 * t**1.3 + 0.18 * noise * t
        row = {
            "step": step, "epoch": 2 * t, "loss": math.log1p(math.exp(-margin)) + 0.12 + 0.02 * noise, "grad_norm": 9 + 2 * rng.random() - 4 * t,
            "learning_rate": 2e-4 * (1 - t), "rewards/chosen": 0.4 * t + 0.05 * noise, "rewards/rejected": 0.4 * t - margin,
            "rewards/margins": margin, "rewards/accuracies": min(1.0, 0.5 + 0.5 * t + 0.06 * rng.gauss(0, 1)),
            "logps/chosen": -131 + 4 * t + 2 * noise, "logps/rejected": -128 - 20 * t + 2 * noise, "kl": 6 * t**1.5,
        }  # fmt: skip
        rows.append(row)
        if step % 11 == 0:
            rows.append(
                {
                    "step": step,
                    "eval_loss": 0.72 - 0.16 * t,
                    "eval_rewards/accuracies": 0.5 + 0.14 * t,
                    "eval_runtime": 3.1,
                }
            )
    return rows


def sample_rows() -> list[dict[str, Any]]:
    share = lambda checks: sum(checks.values()) / len(checks)  # noqa: E731
    return [
        {"id": f"h{i}", "prompt": q, "constraints": asked, "before": [{"text": a, "score": share(ca), "checks": ca}],
         "after": [{"text": b, "score": share(cb), "checks": cb}]}
        for i, (q, asked, a, b, ca, cb) in enumerate(ANSWERS)
    ]  # fmt: skip


RUN = {
    "id": "20251121-215903-quickstart-7f3a", "name": "quickstart", "title": "Verifiable instructions", "status": "done",
    "created": "2025-11-21T21:59:03+00:00", "seconds": 348.2, "seed": 7, "failure": None,
    "versions": {"theodolite": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.20.0", "python": "3.11.9"},
    "machine": {"cpu": "AMD EPYC 7763", "cores": 2, "memory_gb": 31.3, "gpu": None},
    "model": {"name": "smollm2-135m-instruct", "parameters": 134515008, "fingerprint": "sha256:5af571cbf074e6d21a03528d2330792e"},
    "command": "theodolite run examples/quickstart.yaml --seed 7",
}  # fmt: skip

STEPS = [
    {"name": "curate", "kind": "curate", "status": "done", "seconds": 142.1, "cached": False, "hash": "a1",
     "summary": "192 answers to 48 prompts on 24 topics; 86 pairs."},
    {"name": "align", "kind": "align", "status": "done", "seconds": 96.4, "cached": False, "hash": "b2",
     "summary": "44 steps of DPO on 86 pairs; 4.9 million of 134.5 million parameters trained."},
    {"name": "measure", "kind": "measure", "status": "done", "seconds": 108.9, "cached": True, "hash": "c3",
     "summary": "144 answers of each model to 72 held-out prompts."},
    {"name": "report", "kind": "report", "status": "done", "seconds": 0.4, "cached": False, "summary": "", "hash": "d4"},
]  # fmt: skip

SHORTER = (
    "Answers became 16 % shorter while the reward rose. Chosen answers are 21 % shorter than rejected ones in the data, so the "
    "model may have learned length; measure with a length-controlled reward to tell."
)

EVENTS = [
    {"time": 1.0, "step": "align", "event": "started", "text": "align"},
    {
        "time": 2.0,
        "step": "align",
        "event": "check",
        "text": "The reference is the model that was handed in: largest difference 0.",
    },
    {"time": 2.1, "step": "align", "event": "check", "text": "The loss starts at 0.693147, as DPO's must (log 2)."},
    {
        "time": 2.2,
        "step": "curate",
        "event": "check",
        "text": "No held-out prompt shares a topic with a training prompt.",
    },
    {"time": 9.0, "step": "align", "event": "warning", "text": SHORTER},
]

BAD = {
    "reason": "all four answers have the same reward",
    "fix": "sample more answers a prompt, or a warmer temperature",
}

DATA = {
    "rows": 96,
    "kept": 86,
    "length_bias": {"chosen_tokens": 64.2, "rejected_tokens": 81.0, "chosen_longer": 0.31},
    "bad": [{"row": r, **BAD} for r in (3, 8, 17, 20, 31, 44, 52, 60, 71, 90)],
}


def fill(folder: Path, *leave_out: str, **changed: Any) -> Path:
    """Write the run folder; `changed` replaces whole files by their name with '_' for '.'."""
    files: dict[str, Any] = {
        "run.json": RUN, "recipe.yaml": RECIPE, "steps.json": STEPS, "events.jsonl": EVENTS, "readings.json": readings(),
        "training.jsonl": training(), "samples.jsonl": sample_rows(), "data.json": DATA,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        content = changed.get(name.replace(".", "_"), content)
        if name in leave_out:
            (folder / name).unlink(missing_ok=True)
            continue
        if isinstance(content, str):
            text = content
        elif name.endswith(".jsonl"):
            text = "".join(json.dumps(row) + "\n" for row in content)
        else:
            text = json.dumps(content, indent=1)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
