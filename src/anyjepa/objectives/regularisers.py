"""Regularisers that prevent collapse without a teacher: VICReg and SIGReg.

Both are statistics of the whole optimiser batch, over all ranks. If all tokens of all samples are treated as equal rows
("flattened"), the statistics can be perfect although every sample has the same representation, as long as the tokens
within a sample differ. The default compares samples at each token position.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from anyjepa.config import Share
from anyjepa.objectives.ranks import of_first_rank, over_ranks, ranks
from anyjepa.parts import Kinds, Part

Over = Annotated[
    Literal["position", "flattened"],
    Field(
        description="position: compare samples at each token position, and correlate the samples' mean tokens; "
        "flattened: treat all tokens of all samples as equal rows, which a representation that is the same for every "
        "sample can satisfy"
    ),
]


class Rows(NamedTuple):
    """Tokens of one branch, predicted or target."""

    z: Tensor  # (S, D)
    position: Tensor  # (S,) each token's number on the full grid
    sample: Tensor  # (S,) its sample's number in the batch

    @classmethod
    def of(cls, z: Tensor) -> Rows:
        """All tokens of a batch, (B, N, D)."""
        batch, tokens, _ = z.shape
        position = torch.arange(tokens, device=z.device).repeat(batch)
        return cls(z.flatten(0, 1), position, torch.arange(batch, device=z.device).repeat_interleave(tokens))


class Regulariser(Part):
    """Base of terms that keep representations from collapsing, next to the prediction term."""

    if TYPE_CHECKING:  # a subclass has a field, a property or a ClassVar

        @property
        def invariance(self) -> float: ...  # weight of the prediction term

    @abstractmethod
    def terms(self, branches: Sequence[Rows], samples: int, positions: int) -> dict[str, Tensor]:
        """The weighted terms of the loss, by name.

        They are statistics of the whole optimiser batch; `ranks.over_ranks` sums over the processes that train
        together. branches: predicted tokens and, without a teacher, target tokens, in float32 without autocast;
        samples: B, number of samples on this rank; positions: N, tokens of the full grid. In masked prediction the
        predicted tokens are those of the target blocks, and a token in several blocks is one row per block; otherwise
        a branch has B * N rows, sample by sample.
        """


class VicregConfig(Regulariser):
    """Variance and covariance terms next to the prediction (invariance) term (Bardes et al. 2022, section 4)."""

    kind: Literal["vicreg"] = "vicreg"
    invariance: NonNegativeFloat = Field(default=25.0, description="weight of the prediction term")
    variance: NonNegativeFloat = Field(default=25.0, description="weight of the variance term")
    covariance: NonNegativeFloat = Field(default=1.0, description="weight of the covariance term")
    gamma: PositiveFloat = Field(default=1.0, description="standard deviation that every dimension should reach")
    eps: PositiveFloat = Field(default=1e-4, description="added to the variance under the root")
    over: Over = "position"

    def terms(self, branches: Sequence[Rows], samples: int, positions: int) -> dict[str, Tensor]:
        """Summed over the branches."""
        variance, covariance = [], []
        for rows in branches:
            group, groups = _groups(self.over, rows, positions)
            variance.append(self.variance * variance_term(rows.z, group, groups, self.gamma, self.eps))
            z = rows.z if self.over == "flattened" else _means(rows.z, rows.sample, samples)
            covariance.append(self.covariance * covariance_term(z))
        return {"variance": torch.stack(variance).sum(), "covariance": torch.stack(covariance).sum()}


class SigregConfig(Regulariser):
    """Projections on random directions should be standard normal (LeJEPA; Balestriero & LeCun 2025, section 4).

    Their distance from the normal distribution is the statistic of Epps and Pulley.
    """

    kind: Literal["sigreg"] = "sigreg"
    weight: Share = Field(default=0.05, description="weight of this term; the prediction term has 1 - weight")
    directions: PositiveInt = Field(default=256, le=2**16, description="random directions, drawn per step")
    points: int = Field(default=17, ge=2, le=1000, description="points of the trapezoid rule over frequencies")
    limit: PositiveFloat = Field(default=5.0, description="frequencies go from -limit to limit")
    over: Over = "position"

    @property
    def invariance(self) -> float:
        return 1 - self.weight

    def terms(self, branches: Sequence[Rows], samples: int, positions: int) -> dict[str, Tensor]:
        """Averaged over the branches."""
        terms = []
        for rows in branches:
            group, groups = _groups(self.over, rows, positions)
            values = rows.z @ random_directions(rows.z.shape[1], self.directions, rows.z.device)
            statistic = epps_pulley(self, values, group, groups)  # (G, directions), 0 for a group without rows
            filled = over_ranks(values.new_zeros(groups).index_add(0, group, values.new_ones(len(values)))).sign().sum()
            terms.append(self.weight * statistic.mean(1).sum() / filled)
        return {"sigreg": torch.stack(terms).sum() / len(terms)}


AnyRegulariser = Annotated[Regulariser, Kinds(VicregConfig, SigregConfig)]


def prediction_weight(config: Regulariser | None) -> float:
    """The weight of the prediction term next to a regulariser's terms."""
    return 1 if config is None else config.invariance


def regularise(config: Regulariser | None, branches: Sequence[Rows], samples: int, positions: int) -> dict[str, Tensor]:
    """This rank's share of each weighted term, by name; empty without a config. See `Regulariser.terms`."""
    if config is None:
        return {}
    branches = [rows._replace(z=rows.z.float()) for rows in branches]
    with torch.autocast(branches[0].z.device.type, enabled=False):
        terms = config.terms(branches, samples, positions)
    share = 1 / ranks()
    return {name: share * term for name, term in terms.items()}


def _groups(over: str, rows: Rows, positions: int) -> tuple[Tensor, int]:
    """The number of each row's group (S,), and how many groups there are."""
    return (torch.zeros_like(rows.position), 1) if over == "flattened" else (rows.position, positions)


def variance_term(z: Tensor, group: Tensor, groups: int, gamma: float = 1.0, eps: float = 1e-4) -> Tensor:
    """Mean over rows and dimensions of max(0, gamma - standard deviation of the row's group): z (S, D), group (S,).

    Variances are unbiased; groups of a single row do not count. Bardes et al. 2022, eq. 1.
    """
    count = over_ranks(z.new_zeros(groups, 1).index_add(0, group, z.new_ones(len(z), 1)))
    mean = over_ranks(z.new_zeros(groups, z.shape[1]).index_add(0, group, z)) / count.clamp(min=1)
    squares = over_ranks(torch.zeros_like(mean).index_add(0, group, (z - mean[group]).square()))
    deviation = (squares / (count - 1).clamp(min=1) + eps).sqrt()  # (G, D)
    rows = torch.where(count > 1, count, 0)
    return ((gamma - deviation).relu() * rows).sum() / (rows.sum() * z.shape[1]).clamp(min=1)


def covariance_term(z: Tensor) -> Tensor:
    """Sum of the squared covariances of different dimensions, divided by D: z (S, D).

    Bardes et al. 2022, eq. 3 and 4.
    """
    count = over_ranks(z.new_tensor(float(len(z))))
    z = z - over_ranks(z.sum(0)) / count
    covariance = over_ranks(z.T @ z) / (count - 1).clamp(min=1)  # (D, D); 0 for a single row
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


def epps_pulley(config: SigregConfig, values: Tensor, group: Tensor, groups: int) -> Tensor:
    """The distance of each group's values (S, slices) from N(0, 1), times its number of rows: (G, slices).

    The integral over frequencies t, weighted by exp(-t^2 / 2), of the squared distance between the characteristic
    function of the values and that of N(0, 1) (Epps & Pulley 1983).
    """
    grid = torch.linspace(-config.limit, config.limit, config.points, device=values.device)
    weight = torch.full_like(grid, 2 * config.limit / (config.points - 1))  # trapezoid rule
    weight[[0, -1]] /= 2
    half = config.points // 2  # -t adds as much as t
    t, weight = grid[half:], weight[half:] * torch.where(grid[half:] > weight[0] / 4, 2, 1)
    normal = torch.exp(-t.square() / 2)
    angles = values.unsqueeze(-1) * t  # (S, slices, points)
    count = over_ranks(values.new_zeros(groups).index_add(0, group, values.new_ones(len(values))))[:, None, None]
    real, imaginary = (
        over_ranks(wave.new_zeros(groups, *wave.shape[1:]).index_add(0, group, wave)) / count.clamp(min=1)
        for wave in (angles.cos(), angles.sin())
    )
    return (((real - normal).square() + imaginary.square()) * normal * weight * count).sum(-1)


def random_directions(dim: int, count: int, device: torch.device) -> Tensor:
    """Unit columns (D, count), drawn by torch's generator on the CPU; equal on all ranks."""
    columns = of_first_rank(torch.randn(dim, count).to(device))
    return columns / columns.norm(dim=0)


def _means(z: Tensor, sample: Tensor, samples: int) -> Tensor:
    """The mean row of each sample that has rows, (B, D)."""
    count = z.new_zeros(samples, 1).index_add(0, sample, z.new_ones(len(z), 1))
    return (z.new_zeros(samples, z.shape[1]).index_add(0, sample, z) / count.clamp(min=1))[count[:, 0] > 0]
