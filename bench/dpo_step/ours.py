"""Our side: the engine's public functions in the loop a trainer runs. Called by run.py in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from common import Adapter, lora, matmul_peak, memory
from torch.nn.functional import logsigmoid

from theodolite.engine import ReferenceCache, opening, packs, reference_mode, token_logps
from theodolite.types import Group, TokenLogps

BETA, RATE = 0.1, 1e-3


def train(job: dict[str, Any]) -> dict[str, Any]:
    """Reference once, then one optimizer step per `per_step` groups, a backward pass a pack."""
    from theodolite.models import load_model

    model = lora(load_model(job["model"]).model)
    Adapter.read(job["adapter"]).put_on(model)
    groups = [Group(tuple(g["prompt"]), tuple(map(tuple, g["responses"]))) for g in job["groups"]]
    peak = matmul_peak()
    with reference_mode(model):
        token_logps(model, [Group((1, 2), ((3, 4),))])  # the self-test of a model is not a step
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    started = time.perf_counter()
    with reference_mode(model):
        cache = ReferenceCache(None, "bench")
        reference = cache.rows(groups, lambda part: token_logps(model, part, budget=job["budget"]))
    referred = time.perf_counter() - started
    losses, seconds = [], []
    model.train()
    for first in range(0, len(groups), job["per_step"]):
        begun = time.perf_counter()
        step = slice(first, first + job["per_step"])
        losses.append(one_step(model, groups[step], reference[step], job["budget"]))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - begun)
    elapsed = time.perf_counter() - started
    return {
        "seconds": elapsed,
        "reference_seconds": referred,
        "step_seconds": seconds,
        "losses": losses,
        "memory_gb": memory(),
        "peak_gflops": max(peak, matmul_peak()),
        "useful_gflop": useful(model, groups, len(losses)) / 1e9,
        "where_a_step_goes": profile(lambda: one_step(model, groups[step], reference[step], job["budget"])),
    }


def profile(work: Callable[[], object]) -> dict[str, float]:
    """Share of the operators' own CPU time, the ten dearest."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        work()
    spent = {e.key: e.self_cpu_time_total for e in seen.key_averages()}
    total = sum(spent.values())
    return {name: round(spent[name] / total, 3) for name in sorted(spent, key=lambda name: -spent[name])[:10]}


def one_step(model: Any, groups: Sequence[Group], reference: Sequence[Any], budget: int) -> float:
    """Gradients of the mean DPO loss over the step's pairs, pack by pack; returns the loss."""
    pairs = sum(len(g) - 1 for g in groups)
    value = 0.0
    for numbers in packs(groups, budget, shared=opening(groups)):
        got = token_logps(model, [groups[i] for i in numbers])
        got.reference = torch.zeros_like(got.policy)
        for row, logps in enumerate(r for i in numbers for r in reference[i]):
            got.reference[row, : len(logps)] = torch.as_tensor(logps)
        loss = first_against_rest(got) / pairs
        loss.backward()
        value += loss.item()
    return value


def first_against_rest(p: TokenLogps) -> torch.Tensor:
    """Sum of -log sigmoid(beta (h_first - h_other)) over each group's other responses, h the log-ratio (dpo)."""
    h = p.logratio()
    first = torch.tensor([int((p.group == g).nonzero()[0]) for g in p.group.unique()])
    other = torch.ones(len(h), dtype=torch.bool).index_fill(0, first, False)
    return -logsigmoid(BETA * (h[first[p.group]] - h)[other]).sum()


def useful(model: Any, groups: Sequence[Group], steps: int) -> float:
    """Floating-point operations that no implementation can leave out, for one pass over the groups.

    Three times (reference, policy, gradient of the activations) every frozen weight met by every token of a prompt,
    counted once, and of its responses; what all prompts begin with counts once a step; the head for scored tokens
    only; adapters forward and twice backward; attention over visible pairs, twice more in backward.
    """
    base = model.get_base_model()
    config = base.config
    linears = [m for m in base.model.modules() if hasattr(m, "lora_A")]
    frozen = sum(m.base_layer.weight.numel() for m in linears)
    adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
    head = base.get_output_embeddings().weight.numel()
    width = config.num_attention_heads * config.head_dim
    again = opening(groups) * (len(groups) - steps) / len(groups)  # of a group's prompt, tokens that others compute
    total = 0.0
    for g in groups:
        p, lengths = len(g.prompt), [len(r) - 1 for r in g.responses]
        tokens, scored = p - again + sum(lengths), sum(map(len, g.responses))
        visible = p * (p + 1) / 2 + sum(n * p + n * (n + 1) / 2 for n in lengths)
        attention = 4 * visible * width * config.num_hidden_layers
        total += 2 * tokens * (3 * frozen + 3 * adapter) + 2 * scored * 3 * head + 4 * attention
    return total
