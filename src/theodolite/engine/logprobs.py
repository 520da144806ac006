"""Groups in, TokenLogps out: the one way this package asks a model how likely its responses are.

    policy[r, t] = log p(response_r[t] | prompt, response_r[:t])        nats, temperature 1

Two paths compute it. `packed` lays groups in one row and shares each prompt among its responses, and what all prompts
begin with among the prompts (`packing`, `attention`); `padded` gives each response a row of its own and needs nothing
but a causal model. Which one a model can be trusted with is found by trying (`route`); a pass over a pack is `forward`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from theodolite.engine.forward import Route, Values, forward, inner, run
from theodolite.engine.head import Head, check_extras
from theodolite.engine.others import Other, Seen, asked
from theodolite.engine.packing import (
    Packed,
    Part,
    check,
    computed_tokens,
    opening,
    pack_row,
    packs,
    pad_rows,
    padded_tokens,
    responses_of,
    split,
)
from theodolite.engine.positions import check_positions, position_ids
from theodolite.engine.reference import evaluating
from theodolite.engine.route import Path, route_of
from theodolite.errors import UsageError
from theodolite.types import Group, Role, TokenLogps

BUDGET = 4096
"""Tokens a pack when nobody says otherwise."""


def token_logps(
    model: nn.Module,
    groups: Sequence[Group],
    *,
    extras: Sequence[str] = (),
    path: Path = "auto",
    budget: int | None = None,
    others: Mapping[str, Other] | None = None,
) -> TokenLogps:
    """Per-token log-probs of every response of `groups` under `model`.

    model: a transformers causal LM, a PeftModel around one, or either in a DDP or FSDP wrapper. Rows of the result
    are responses, group by group in order; (R, T) is right-padded and 0 wherever the weight is 0. Gradient flows when
    torch's grad mode is on and parameters require it. Scores, labels, roles and weights come from the groups, with NaN,
    -1, OTHER and ones where they say nothing. `reference` is None.

    extras: 'entropy' and 'log1mp' (R, T) with gradient; 'top5' (R, T, 5) and 'top5_ids' without; 'state' (R, T, D),
    the last hidden state that predicts the token, with gradient; 'NAME_kl', 'NAME_kl_reverse' and 'NAME_js' (R, T),
    the divergence from `others[NAME]`, with gradient (see `others`).
    path: 'auto' shares prompts where the model allows it; 'packed' insists (ModelError otherwise); 'padded' never does.
    budget: tokens a forward pass. Without gradient a group larger than that is scored in several passes, its prompt
    repeated (`packing.split`), so that memory does not grow with K. With gradient all passes are kept until backward,
    so groups stay whole and a trainer that wants less memory calls this once a pack. The result does not depend on it.
    """
    others = others or {}
    compared = asked(extras, others)
    own = [e for e in extras if e not in compared]
    check_extras([e for e in own if e != "state"])
    base = inner(model)
    check(groups, _context(base))
    if path not in ("auto", "packed", "padded"):
        raise UsageError(f"path must be 'auto', 'packed' or 'padded', got '{path}'.")
    route = route_of(model, path)
    check_positions(base, route.keys, groups, _context(base))
    first_row = _offsets([len(g) for g in groups])
    device = base.get_input_embeddings().weight.device
    rows, columns, found = [], [], []
    cost = computed_tokens if route.packed else padded_tokens
    budget = BUDGET if budget is None else budget
    parts = [Part(i, 0, g) for i, g in enumerate(groups)] if torch.is_grad_enabled() else split(groups, budget, cost)
    if len(parts) > len(groups):
        others = {n: _cut(others[n], groups, parts) for n, _ in compared.values()}
    cuts, starts = [p.group for p in parts], [first_row[p.number] + p.first for p in parts]
    for numbers in packs(cuts, budget, cost, shared=opening(cuts) if route.packed else 0):
        part = [cuts[i] for i in numbers]
        pack = _laid(route, part, [starts[i] for i in numbers], device)
        seen = {n: _seen(others[n], numbers, cuts, starts, pack) for n, _ in compared.values()}
        beside = {extra: (seen[n], kind) for extra, (n, kind) in compared.items()}
        found.append(run(model, pack, route, own, position_ids(part, pack), beside))
        rows.append(pack.scored.row)
        columns.append(pack.scored.column)
    return _collect(groups, torch.cat(rows), torch.cat(columns), found)


def _context(base: Any) -> int | None:
    limit = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _offsets(sizes: list[int]) -> list[int]:
    total, out = 0, []
    for size in sizes:
        out.append(total)
        total += size
    return out


def _laid(route: Route, groups: Sequence[Group], first_row: Sequence[int], device: torch.device) -> Packed:
    return pack_row(groups, first_row, device, opening(groups)) if route.packed else pad_rows(groups, first_row, device)


def _seen(
    other: Other, numbers: Sequence[int], groups: Sequence[Group], first_row: Sequence[int], pack: Packed
) -> Seen | None:
    """What `other` makes of the scored tokens of a pack, or None where none of its groups is to be compared."""
    found = [(i, other.counterpart(i, groups[i])) for i in numbers]
    theirs = [(i, g) for i, g in found if g is not None]
    rows = [first_row[i] + k for i, g in theirs for k in range(len(g))]
    at = torch.isin(pack.scored.row, torch.tensor(rows, dtype=torch.long, device=pack.scored.row.device))
    if not bool(at.any()):
        return None
    states, head = _states(other, [g for _, g in theirs])
    return Seen(at.nonzero().squeeze(1).to(states.device), states, head)


def _cut(other: Other, groups: Sequence[Group], parts: Sequence[Part]) -> Other:
    """`other` with its groups cut where the policy's are."""
    whole = [other.counterpart(i, g) for i, g in enumerate(groups)]
    theirs = [(whole[p.number], p) for p in parts]
    cuts = [None if g is None else responses_of(g, p.first, p.first + len(p.group)) for g, p in theirs]
    return replace(other, groups=cuts)


def _states(other: Other, groups: Sequence[Group]) -> tuple[Tensor, Head]:
    """(S, D) states at the scored tokens, in the order of groups, responses and tokens, and the layer above them."""
    mode, model = other.mode or _quiet, other.model
    with mode(model):
        base = inner(model)
        check(groups, _context(base))
        route = route_of(model, "auto")
        check_positions(base, route.keys, groups, _context(base))
        device = base.get_input_embeddings().weight.device
        pack = _laid(route, groups, _offsets([len(g) for g in groups]), device)
        kept: list[tuple[Tensor, Head]] = []

        def keep(hidden: Tensor, head: Head) -> Values:
            kept.append((hidden.detach(), head))
            return {"logp": hidden[:, 0]}

        forward(model, pack, route, keep, position_ids(groups, pack))
    states, head = kept[0]
    if not head.linear and route.head:  # an adapter on the output layer must answer in the other's mode later, too
        layer = head.module

        def in_mode(hidden: Tensor) -> Tensor:
            with mode(model):
                answer: Tensor = layer(hidden)
            return answer

        head = replace(head, module=in_mode)
    return states, head


@contextlib.contextmanager
def _quiet(model: nn.Module) -> Iterator[None]:
    with evaluating(model), torch.no_grad():
        yield


def _collect(groups: Sequence[Group], row: Tensor, column: Tensor, found: list[Values]) -> TokenLogps:
    """The packs' values put in their places, and what the groups say about their responses beside them."""
    count, width = sum(map(len, groups)), max(len(r) for g in groups for r in g.responses)
    device = found[0]["logp"].device
    place = row.to(device) * width + column.to(device)

    def spread(name: str) -> Tensor:
        values = torch.cat([f[name] for f in found])
        empty = values.new_zeros(count * width, *values.shape[1:])
        return empty.index_copy(0, place, values).reshape(count, width, *values.shape[1:])

    policy = spread("logp")
    weight = torch.zeros(count, width, dtype=policy.dtype)
    for i, (group, k) in enumerate((g, k) for g in groups for k in range(len(g))):
        length = len(group.responses[k])
        weight[i, :length] = torch.tensor(group.weights[k]) if group.weights else 1.0

    def per_row(name: str, unknown: float, dtype: torch.dtype) -> Tensor:
        said = [getattr(g, name) or (unknown,) * len(g) for g in groups]
        return torch.tensor([x for row in said for x in row], dtype=dtype, device=device)

    return TokenLogps(
        policy=policy,
        weight=weight.to(device),
        group=torch.arange(len(groups), device=device).repeat_interleave(
            torch.tensor([len(g) for g in groups], device=device)
        ),
        role=per_row("roles", int(Role.OTHER), torch.long),
        score=per_row("scores", float("nan"), torch.float32),
        label=per_row("labels", -1, torch.long),
        extras={name: spread(name) for name in found[0] if name != "logp"},
    )
