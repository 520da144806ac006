"""Groups to one row: the prompt once, then its K responses, then the next group. Nothing is padded.

For a prompt of P tokens and a response of L tokens, response token j is predicted from the hidden state at

    j = 0: the last prompt token          j > 0: response token j - 1

so the last token of every response is a target only; nobody attends to it and it is left out of the row. A group
thus costs P + sum(L_k - 1) computed tokens, where a padded batch computes K * (P + max L). What all prompts of a row
begin with (a chat template's head, a system prompt, a rubric) is computed once for the row: its stem.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from theodolite.errors import DataError, UsageError
from theodolite.types import Group

STEM = 16
"""shortest common opening worth a stem: what it saves must outweigh laying it before each prompt's attention"""


@dataclass(frozen=True, slots=True)
class Segment:
    """Where one group lies in the row: prompt [start, end) without the row's stem, then responses one after the other."""

    prompt: tuple[int, int]
    responses: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        return self.responses[-1][1]


@dataclass(slots=True)
class Layout:
    """Who may attend to whom in a packed row of N tokens.

    stem: the first so many tokens are the beginning of every prompt; everyone sees them.
    position: (N,) long, position ids; prompts continue the stem's, responses their prompt's.
    owner: (N,) long, one number a prompt and one a response: tokens of one stretch of text; -1 in the stem.
    root: (N,) long, the `owner` number of the prompt that the token may also see; -1 in the stem.
    cache: what an attention backend derived from this layout (block masks), kept for the other layers.
    """

    segments: tuple[Segment, ...]
    position: Tensor
    owner: Tensor
    root: Tensor
    stem: int = 0
    cache: dict[Any, Any] = field(default_factory=dict)

    @property
    def span(self) -> int:
        """Positions in use: no query is `span` or more tokens away from what it attends to."""
        return int(self.position.max()) + 1 if self.position.numel() else 0


@dataclass(slots=True)
class Scored:
    """The S scored tokens of a pack.

    source: (S,) index (into the flattened hidden states) of the state that predicts the token.
    target: (S,) the token. row, column: (S,) where its log-prob goes in the (R, T) result.
    """

    source: Tensor
    target: Tensor
    row: Tensor
    column: Tensor


@dataclass(slots=True)
class Packed:
    """One forward pass. tokens: (1, N) with a layout, or (R', N) right-padded and without.

    Right padding needs no mask: a causal model's real tokens never see what stands to their right. (A mask would be
    worse than none: with a sliding window it leaves far padding nothing to attend to, and NaN spreads from there.)
    """

    tokens: Tensor
    scored: Scored
    layout: Layout | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Neighbouring responses of a group behind its prompt, or the whole group.

    number: of the group it comes from. first: number of its first response there.
    """

    number: int
    first: int
    group: Group


def split(groups: Sequence[Group], budget: int, cost: Callable[[Group], int] | None = None) -> list[Part]:
    """The groups with those larger than the budget cut between responses, the prompt repeated; in order.

    Given its prompt a response does not depend on the others, so the parts' log-probs are the group's. Responses join
    a part as long as it costs at most

        max(budget, 2 * P)        tokens, P those of the prompt

    since parts with fewer response tokens than prompt tokens would cost more time than they save memory: so the parts
    of a group cost less than three times the group, and near its own cost where the budget is much larger than P.
    A response that alone is longer has a part of its own. A group within that limit, or with one response, stays whole.

    Only for scoring without gradient: with it every pass is kept until backward, and repeated prompts would add to
    what is kept. cost: tokens of a group, by default what the shared prefix computes.
    """
    _check_budget(budget)
    cost = cost or computed_tokens
    return [part for i, g in enumerate(groups) for part in _cut(i, g, max(budget, 2 * len(g.prompt)), cost)]


def _cut(number: int, group: Group, limit: int, cost: Callable[[Group], int]) -> list[Part]:
    if cost(group) <= limit or len(group) == 1:
        return [Part(number, 0, group)]
    starts = [0]
    for k in range(1, len(group)):
        if cost(responses_of(group, starts[-1], k + 1)) > limit:
            starts.append(k)
    return [Part(number, a, responses_of(group, a, b)) for a, b in zip(starts, [*starts[1:], len(group)], strict=True)]


def responses_of(group: Group, start: int, end: int) -> Group:
    """The group with responses start..end-1 alone, and what it says about them."""
    said = {name: getattr(group, name) for name in ("weights", "scores", "labels", "roles")}
    kept = {name: values[start:end] for name, values in said.items() if values is not None}
    return replace(group, responses=group.responses[start:end], **kept)


def opening(groups: Sequence[Group]) -> int:
    """How many tokens all prompts begin with and one row computes once; 0 where there are fewer than `STEM`.

    Every prompt keeps at least its last token, which predicts its responses' first. Groups of a kind of their own
    (placed ones, whose equal tokens may stand at different positions) share nothing.
    """
    if len(groups) < 2 or any(type(g) is not Group for g in groups):
        return 0
    first, last = min(g.prompt for g in groups), max(g.prompt for g in groups)  # the two that differ soonest
    length = min(len(g.prompt) for g in groups) - 1
    common = next((i for i in range(length) if first[i] != last[i]), length)
    return common if common >= STEM else 0


def packs(
    groups: Sequence[Group], budget: int, cost: Callable[[Group], int] | None = None, *, shared: int = 0
) -> list[list[int]]:
    """Group numbers split into packs of at most `budget` tokens each, as even as they come.

    Largest groups first, each into the emptiest pack (Graham 1969, longest processing time); the number of packs
    is the smallest for which that fits. A group larger than the budget gets a pack of its own; `split` cuts it
    before, where that is of use. Deterministic: ties go to the smaller number. Within a pack numbers ascend; packs come
    largest first, so that a budget too large for the memory shows in the first step and not in the last. cost: tokens
    of a group, by default what the shared prefix computes. shared: so many of them every pack computes only once
    (`opening`).
    """
    _check_budget(budget)
    cost = cost or computed_tokens
    sizes = [cost(g) - shared for g in groups]
    budget = max(1, budget - shared)
    order = sorted(range(len(groups)), key=lambda i: (-sizes[i], i))
    alone = [[i] for i in order if sizes[i] >= budget]
    rest = order[len(alone) :]
    bins = max(1, -(-sum(sizes[i] for i in rest) // budget))
    while (made := _deal(rest, sizes, bins, budget)) is None:
        bins += max(1, bins // 64)
    made.sort(key=lambda pack: (-sum(sizes[i] for i in pack), pack))
    return alone + made


def _check_budget(budget: int) -> None:
    if budget < 1:
        raise UsageError(f"a token budget must be at least 1, got {budget}. A few thousand suit most machines.")


def _deal(order: list[int], sizes: list[int], bins: int, budget: int) -> list[list[int]] | None:
    """`order` dealt into `bins` packs, or None where one would overflow."""
    heap: list[tuple[int, int, list[int]]] = [(0, b, []) for b in range(bins)]
    for i in order:
        load, b, pack = heapq.heappop(heap)
        if load + sizes[i] > budget:
            return None
        pack.append(i)
        heapq.heappush(heap, (load + sizes[i], b, pack))
    return [sorted(pack) for _, _, pack in heap if pack]


def computed_tokens(group: Group) -> int:
    """Tokens a shared-prefix pass computes for this group: P + sum(L_k - 1)."""
    return group.tokens - len(group)


def padded_tokens(group: Group) -> int:
    """Tokens a padded pass computes for this group alone: K * (P + max L - 1)."""
    return len(group) * (len(group.prompt) + max(map(len, group.responses)) - 1)


def check(groups: Sequence[Group], context: int | None = None) -> None:
    """Refuse what cannot be scored, saying which group and what to do. context: the model's position limit."""
    if not groups:
        raise UsageError("there are no groups to score; give at least one prompt with one response.")
    for number, group in enumerate(groups):
        name = f"group {number}" + (f" (id '{group.id}')" if group.id else "")
        if not group.prompt:
            raise DataError(f"{name} has an empty prompt. Nothing predicts its first token: begin it with a BOS token.")
        if not group.responses:
            raise DataError(f"{name} has no responses. Leave such groups out.")
        for k, response in enumerate(group.responses):
            if not response:
                raise DataError(
                    f"{name} has an empty response (number {k}). Drop it, or give it its end-of-turn token."
                )
            if context is not None and len(group.prompt) + len(response) - 1 > context:
                raise DataError(
                    f"{name} needs {len(group.prompt) + len(response) - 1} positions (prompt {len(group.prompt)}, "
                    f"response {k} {len(response)}), but the model has {context}. Shorten it, or filter by length."
                )
        if group.weights is not None and [len(w) for w in group.weights] != [len(r) for r in group.responses]:
            raise DataError(
                f"{name}: weights have lengths {[len(w) for w in group.weights]}, "
                f"responses have {[len(r) for r in group.responses]}. Every response token needs one weight."
            )
        for field_name in ("scores", "labels", "roles"):
            values = getattr(group, field_name)
            if values is not None and len(values) != len(group):
                raise DataError(f"{name} has {len(values)} {field_name} for {len(group)} responses; give one each.")


def pack_row(
    groups: Sequence[Group], first_row: Sequence[int], device: torch.device | str = "cpu", stem: int = 0
) -> Packed:
    """These groups as one packed row. first_row: the row of each group's first response in the (R, T) result.

    stem: the first so many tokens of every prompt are equal, and computed once (`opening`). Every prompt is longer.
    """
    tokens = list(groups[0].prompt[:stem])
    position = list(range(stem))
    owner, root = [-1] * stem, [-1] * stem
    segments: list[Segment] = []
    scored: list[tuple[int, int, int, int]] = []
    for group, row in zip(groups, first_row, strict=True):
        start, trunk = len(tokens), len(segments) + sum(len(s.responses) for s in segments)
        prompt_end = start + len(group.prompt) - stem
        tokens += group.prompt[stem:]
        position += range(stem, len(group.prompt))
        places = []
        for k, response in enumerate(group.responses):
            begin = len(tokens)
            tokens += response[:-1]
            position += range(len(group.prompt), len(group.prompt) + len(response) - 1)
            places.append((begin, len(tokens)))
            weights = group.weights[k] if group.weights else None
            scored += [
                (prompt_end - 1 if j == 0 else begin + j - 1, token, row + k, j)
                for j, token in enumerate(response)
                if weights is None or weights[j] != 0
            ]
        owner += [trunk] * (prompt_end - start)
        for k, (begin, end) in enumerate(places):
            owner += [trunk + 1 + k] * (end - begin)
        root += [trunk] * (len(tokens) - start)
        segments.append(Segment((start, prompt_end), tuple(places)))
    positions, owners, roots = (torch.tensor(x, dtype=torch.long, device=device) for x in (position, owner, root))
    layout = Layout(tuple(segments), positions, owners, roots, stem)
    return Packed(torch.tensor([tokens], dtype=torch.long, device=device), _scored(scored, device), layout)


def pad_rows(groups: Sequence[Group], first_row: Sequence[int], device: torch.device | str = "cpu") -> Packed:
    """These groups as a right-padded batch with one row a response: what any causal model can compute."""
    texts: list[tuple[int, int, Group, int, tuple[int, ...]]] = []
    scored: list[tuple[int, int, int, int]] = []
    for group, row in zip(groups, first_row, strict=True):
        for k, response in enumerate(group.responses):
            texts.append((len(texts), row + k, group, k, (*group.prompt, *response[:-1])))
    width = max(len(text) for *_, text in texts)
    tokens = torch.zeros(len(texts), width, dtype=torch.long, device=device)
    for i, row, group, k, text in texts:
        tokens[i, : len(text)] = torch.tensor(text, device=device)
        weights = group.weights[k] if group.weights else None
        scored += [
            (i * width + len(group.prompt) - 1 + j, token, row, j)
            for j, token in enumerate(group.responses[k])
            if weights is None or weights[j] != 0
        ]
    return Packed(tokens, _scored(scored, device))


def _scored(found: list[tuple[int, int, int, int]], device: torch.device | str) -> Scored:
    table = torch.tensor(found, dtype=torch.long, device=device).reshape(-1, 4)
    return Scored(*(column.contiguous() for column in table.unbind(1)))
