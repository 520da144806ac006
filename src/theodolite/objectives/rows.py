"""Which rows of a TokenLogps an objective reads, and the numbers dashboards expect about them."""

from __future__ import annotations

import torch
from torch import Tensor

from theodolite.errors import DataError, UsageError
from theodolite.types import Role, TokenLogps


def need_reference(p: TokenLogps, name: str) -> None:
    """Refuse to compute a log-ratio against nothing."""
    if p.reference is None:
        raise UsageError(
            f"objective '{name}' compares the policy with a reference, and p.reference is None. "
            "Score the same rows under the reference model and pass them as `reference`."
        )


def pair_rows(p: TokenLogps, name: str) -> tuple[Tensor, Tensor]:
    """Row numbers of the chosen and the rejected response of each group, both (G,) in group order."""
    chosen, rejected = p.rows(Role.CHOSEN), p.rows(Role.REJECTED)
    groups = groups_of(p)
    if not (p.group[chosen].equal(groups) and p.group[rejected].equal(groups)):
        raise DataError(
            f"objective '{name}' needs exactly one chosen and one rejected response in each of its {len(groups)} "
            f"groups, got {len(chosen)} chosen and {len(rejected)} rejected rows. Give each group one of either."
        )
    return chosen, rejected


def groups_of(p: TokenLogps) -> Tensor:
    """(G,) the group numbers present, ascending."""
    found: Tensor = p.group.unique()  # type: ignore[no-untyped-call]
    return found


def group_index(p: TokenLogps) -> Tensor:
    """(R,) the place of each row's group in `groups_of`."""
    return torch.searchsorted(groups_of(p), p.group)


def group_sum(values: Tensor, rows: Tensor, p: TokenLogps) -> Tensor:
    """(G,) sum of `values` (N,), which belong to `rows` (N,), over each group; 0 where a group has no row."""
    out = values.new_zeros(len(groups_of(p)))
    return out.index_add(0, group_index(p)[rows], values)


def group_mean(values: Tensor, rows: Tensor, p: TokenLogps) -> Tensor:
    """(G,) mean of `values` (N,) over the rows of each group; 0 where a group has no row."""
    return group_sum(values, rows, p) / group_sum(torch.ones_like(values), rows, p).clamp(min=1)


def padded(values: Tensor, rows: Tensor, p: TokenLogps, fill: float) -> Tensor:
    """(G, K) `values` (N,) of `rows` (N,) laid out one group a line, in row order, the rest filled with `fill`."""
    place, count = group_index(p)[rows], len(groups_of(p))
    order = place.argsort(stable=True)
    sizes = torch.bincount(place, minlength=count)
    column = torch.arange(len(rows), device=rows.device) - (sizes.cumsum(0) - sizes)[place[order]]
    out = values.new_full((count, int(sizes.max()) if len(rows) else 0), fill)
    return out.index_put((place[order], column), values[order])


def mean_logp(p: TokenLogps) -> Tensor:
    """(R,) log-prob per scored token, in nats."""
    return p.logp() / p.lengths


def nll(p: TokenLogps, rows: Tensor) -> Tensor:
    """(N,) negative log-likelihood per scored token of these rows, in nats."""
    return -mean_logp(p)[rows]


def labelled_rows(p: TokenLogps, name: str) -> tuple[Tensor, Tensor]:
    """Plain rows (Role.OTHER) in group order and whether each is liked: rows (N,), good (N,) bool."""
    rows = p.rows(Role.OTHER)
    label = p.label[rows]
    if len(rows) == 0 or bool(((label != 0) & (label != 1)).any()):
        raise DataError(
            f"objective '{name}' needs a label of 1 (good) or 0 (bad) on every plain response, got {label.tolist()}. "
            "Label them, or leave unlabelled responses out."
        )
    return rows, label == 1


def row_of_each_group(p: TokenLogps, role: Role, name: str) -> Tensor:
    """(G,) the one row of this role in each group."""
    rows, groups = p.rows(role), groups_of(p)
    if not p.group[rows].equal(groups):
        raise DataError(
            f"objective '{name}' needs exactly one {role.name.lower()} row in each of its {len(groups)} groups, "
            f"got {len(rows)} in all."
        )
    return rows


def need_extra(p: TokenLogps, key: str, name: str) -> Tensor:
    """An extra quantity that the objective declared, with what is missing named."""
    if key not in p.extras:
        raise UsageError(
            f"objective '{name}' needs p.extras['{key}'], got {sorted(p.extras) or 'no extras'}. "
            "It must be computed in the same pass as the log-probs."
        )
    return p.extras[key]


def targets(p: TokenLogps) -> tuple[Tensor, Tensor]:
    """The rows whose likelihood is to rise, and whether there is one: rows (N,) in group order, exists (N,) bool.

    In each group: its CHOSEN rows; else, of its plain rows (Role.OTHER) that nobody labelled bad, the one with the
    highest score, or all of them where no score is known. A group without such a row (a thumbs-down, say) gets one
    entry with exists False, so that N is the number of groups whenever groups have one target.
    """
    place, count = group_index(p), len(groups_of(p))
    chosen = p.role == Role.CHOSEN
    has_chosen = _any(chosen, place, count)[place]
    plain = (p.role == Role.OTHER) & (p.label != 0) & ~has_chosen
    score = p.score.to(torch.float64).nan_to_num(nan=-torch.inf).masked_fill(~plain, -torch.inf)
    order = score.argsort(descending=True, stable=True)
    order = order[place[order].argsort(stable=True)]
    first = torch.zeros(len(place), dtype=torch.bool, device=place.device)
    first[order] = torch.cat([place.new_ones(1, dtype=torch.bool), place[order][1:] != place[order][:-1]])[: len(place)]
    scored = _any(score > -torch.inf, place, count)[place]
    wanted = chosen | (plain & (~scored | first))
    empty = first & ~_any(wanted, place, count)[place]
    rows = (wanted | empty).nonzero().squeeze(-1)
    rows = rows[place[rows].argsort(stable=True)]
    return rows, wanted[rows]


def _any(flags: Tensor, place: Tensor, count: int) -> Tensor:
    """(count,) whether any row of each group is flagged."""
    return torch.zeros(count, dtype=torch.long, device=place.device).index_add(0, place, flags.long()) > 0


def preference_metrics(p: TokenLogps, chosen: Tensor, rejected: Tensor, reward: Tensor) -> dict[str, Tensor]:
    """The names dashboards know, each (G,) and detached. reward: (R,) what the objective treats as its reward.

    Accuracy is strict: an untrained policy, whose rewards all tie at 0, scores 0.
    """
    reward, logp = reward.detach(), p.logp().detach()
    return {
        "rewards/chosen": reward[chosen],
        "rewards/rejected": reward[rejected],
        "rewards/margins": reward[chosen] - reward[rejected],
        "rewards/accuracies": (reward[chosen] > reward[rejected]).to(reward.dtype),
        "logps/chosen": logp[chosen],
        "logps/rejected": logp[rejected],
    }
