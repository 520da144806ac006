"""Pairs and lists without a reference model: SimPO, CPO, ORPO, LOGO."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

from theodolite.config import Config
from theodolite.errors import DataError
from theodolite.objectives.numerics import log1mexp, smoothed_logistic
from theodolite.objectives.paired import Positive, Smoothing
from theodolite.objectives.rows import group_index, group_mean, groups_of, mean_logp, pair_rows, preference_metrics
from theodolite.registry import register
from theodolite.types import Loss, Role, TokenLogps

Weight = Annotated[float, Field(ge=0)]


class SimPo(Config):
    beta: Positive = 2.0
    """Scale of the reward per token. Published runs use 2 to 10."""
    gamma: Weight = 0.5
    """The margin the reward gap must beat, in reward units. The authors' code asks for gamma / beta instead."""
    label_smoothing: Smoothing = 0.0
    """The share of pairs believed to be labelled the wrong way round."""
    nll_weight: Weight = 0.0
    """Weight of the chosen answer's NLL per token; above 0 this is CPO-SimPO."""


@register(
    "objective",
    "simpo",
    config=SimPo,
    source="arXiv:2405.14734 (SimPO) eq. 6",
    data="pairs",
    roles=("chosen", "rejected"),
    strength="beta",
)
def simpo(p: TokenLogps, cfg: SimPo) -> Loss:
    """Simple preference optimisation: log-sigmoid of the gap between log-probs per token, less a margin.

        loss = -log sigmoid(beta (logp_w / len_w - logp_l / len_l) - gamma) + nll_weight * NLL(chosen)

    p: pairs, no reference; weights 1 on scored tokens.
    Returns per_example (G,), lower is better; identical answers give log(1 + e^gamma).
    Neighbours: the authors' option is gamma_beta_ratio = gamma / beta (0.25 at our defaults); TRL's simpo_gamma is
    gamma. With a likelihood term TRL takes one token mean over the micro-batch, we the mean per answer.
    """
    chosen, rejected = pair_rows(p, "simpo")
    reward = cfg.beta * mean_logp(p)
    nll = -mean_logp(p)[chosen]
    rank = smoothed_logistic(reward[chosen] - reward[rejected] - cfg.gamma, cfg.label_smoothing)
    metrics = preference_metrics(p, chosen, rejected, reward) | {"nll": nll.detach()}
    return Loss(rank + cfg.nll_weight * nll, metrics=metrics)


class Cpo(Config):
    beta: Positive = 0.1
    """Scale of the summed log-probs."""
    nll_weight: Weight = 1.0
    """Weight of the chosen answer's NLL per token, the behaviour-cloning term (alpha in code)."""
    label_smoothing: Smoothing = 0.0
    """The share of pairs believed to be labelled the wrong way round."""


@register(
    "objective",
    "cpo",
    config=Cpo,
    source="arXiv:2401.08417 (CPO)",
    data="pairs",
    roles=("chosen", "rejected"),
    strength="beta",
)
def cpo(p: TokenLogps, cfg: Cpo) -> Loss:
    """Contrastive preference optimisation: DPO with a constant reference, plus likelihood of the chosen answer.

        loss = -log sigmoid(beta (logp_w - logp_l)) + nll_weight * NLL(chosen)

    p: pairs, no reference; weights 1 on scored tokens. Log-probs are summed, the NLL is per token.
    Returns per_example (G,), lower is better; identical answers give log 2 + NLL.
    Neighbours: TRL's NLL is one token mean over the micro-batch; the authors' repository now holds another loss.
    """
    chosen, rejected = pair_rows(p, "cpo")
    logp, nll = p.logp(), -mean_logp(p)[chosen]
    rank = smoothed_logistic(cfg.beta * (logp[chosen] - logp[rejected]), cfg.label_smoothing)
    metrics = preference_metrics(p, chosen, rejected, cfg.beta * logp) | {"nll": nll.detach()}
    return Loss(rank + cfg.nll_weight * nll, metrics=metrics)


class Orpo(Config):
    odds_weight: Weight = 0.1
    """Weight of the odds-ratio term (lambda in the paper, beta in TRL)."""


@register(
    "objective",
    "orpo",
    config=Orpo,
    source="arXiv:2403.07691 (ORPO) eq. 6-7",
    data="pairs",
    roles=("chosen", "rejected"),
    strength="odds_weight",
)
def orpo(p: TokenLogps, cfg: Orpo) -> Loss:
    """Odds-ratio preference optimisation: likelihood of the chosen answer plus a log-sigmoid of the log odds ratio.

        loss = NLL(chosen) - odds_weight * log sigmoid(log odds_w - log odds_l)
        log odds = a - log(1 - e^a),   a = logp / len

    p: pairs, no reference; weights 1 on scored tokens.
    Returns per_example (G,), lower is better; identical answers give NLL + odds_weight log 2; odds_weight 0 is SFT.
    Where implementations disagree: the authors and TRL also score the prompt in the NLL, over a micro-batch's tokens;
    ours is the response only, per answer. log(1 - e^a) is stable here, near certainty its slope is at most 1e6.
    """
    chosen, rejected = pair_rows(p, "orpo")
    a = mean_logp(p)
    odds = a - log1mexp(a)
    ratio, nll = odds[chosen] - odds[rejected], -a[chosen]
    metrics = preference_metrics(p, chosen, rejected, cfg.odds_weight * a)
    metrics |= {"nll": nll.detach(), "log_odds_ratio": ratio.detach()}
    return Loss(nll - cfg.odds_weight * logsigmoid(ratio), metrics=metrics)


class Logo(Config):
    beta: Positive = 10.0
    """Scale of the reward per token."""
    gamma: Weight = 3.0
    """The margin in reward units."""
    nll_weight: Weight = 0.1
    """Weight of the chosen answer's NLL per token."""


@register(
    "objective",
    "logo",
    config=Logo,
    source="arXiv:2410.18533 (LOGO)",
    data="rankings",
    strength="beta",
)
def logo(p: TokenLogps, cfg: Logo) -> Loss:
    """Long-context preference optimisation: SimPO against the mean of several bad answers.

        loss = -log sigmoid(beta mean_logp_w - beta mean_j mean_logp_l(j) - gamma) + nll_weight * NLL(chosen)

    p: lists, no reference: in each group the CHOSEN row against all REJECTED rows; where no row has such a role, the
    row with the highest score against all other scored rows. Weights 1 on scored tokens.
    Returns per_example (G,), lower is better. One bad answer and nll_weight 0 is SimPO; copies of a bad answer change
    nothing. (That the context's position ids are synthesised is the collator's work.)
    Neighbours: the authors' code averages overlapping slices of the bad answers and lacks a shift in its NLL.
    """
    good, bad = _best_and_rest(p)
    a = mean_logp(p)
    worse, nll = group_mean(a[bad], bad, p), -a[good]
    margin = (cfg.beta * (a[good] - worse)).detach()
    logp = p.logp().detach()
    metrics = {
        "rewards/chosen": (cfg.beta * a[good]).detach(),
        "rewards/rejected": (cfg.beta * worse).detach(),
        "rewards/margins": margin,
        "rewards/accuracies": (margin > 0).to(a.dtype),
        "logps/chosen": logp[good],
        "logps/rejected": group_mean(logp[bad], bad, p),
        "nll": nll.detach(),
    }
    return Loss(-logsigmoid(cfg.beta * (a[good] - worse) - cfg.gamma) + cfg.nll_weight * nll, metrics=metrics)


def _best_and_rest(p: TokenLogps) -> tuple[torch.Tensor, torch.Tensor]:
    """One good row per group (G,) in group order and all bad rows (M,)."""
    good, bad = p.rows(Role.CHOSEN), p.rows(Role.REJECTED)
    if len(good) == len(bad) == 0:
        rows = p.rows(Role.OTHER)
        rows = rows[~p.score[rows].isnan()]
        order = rows[p.score[rows].argsort(descending=True, stable=True)]
        order = order[p.group[order].argsort(stable=True)]
        first = torch.ones(len(order), dtype=torch.bool, device=order.device)
        first[1:] = p.group[order][1:] != p.group[order][:-1]
        good, bad = order[first], order[~first]
    groups = groups_of(p)
    if not p.group[good].equal(groups) or len(group_index(p)[bad].unique()) != len(groups):  # type: ignore[no-untyped-call]
        raise DataError(
            f"objective 'logo' needs one good and at least one bad response in each of its {len(groups)} groups, "
            f"got {len(good)} good and {len(bad)} bad rows."
        )
    return good, bad
