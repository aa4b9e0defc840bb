"""Numbers of the public VICReg and SIGReg losses, matched by the rule of tests/golden/vicreg/README.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from golden_vectors import Vectors
from torch import Tensor

from anyjepa.objectives.regularisers import (
    Rows,
    SigregConfig,
    VicregConfig,
    covariance_term,
    epps_pulley,
    regularise,
    variance_term,
)

SIGREG = SigregConfig(points=10, limit=3, over="flattened")


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return Vectors(golden / "vicreg")


@pytest.fixture(params=["nd", "btd"])
def branches(request: pytest.FixtureRequest, vectors: Vectors) -> tuple[str, Tensor, Tensor]:
    """The layout, and both branches as rows."""
    rows = (vectors.tensor(f"{request.param}/z_{side}").flatten(0, -2) for side in ("pred", "target"))
    return request.param, *(z.clone().requires_grad_() for z in rows)  # type: ignore[return-value]


def variance(z: Tensor) -> Tensor:
    return variance_term(z, torch.zeros(len(z), dtype=torch.long), 1)


def gradient(loss: Tensor, z: Tensor) -> Tensor:
    return torch.autograd.grad(loss, z, retain_graph=True)[0]


def test_each_term(vectors: Vectors, branches: tuple[str, Tensor, Tensor]) -> None:
    layout, predicted, target = branches
    invariance = F.mse_loss(predicted, target)
    vectors.match(f"{layout}/invariance", invariance)
    vectors.match(f"{layout}/invariance/grad_z_pred", gradient(invariance, predicted))
    terms: dict[str, Callable[[Tensor], Tensor]] = {"variance": variance, "covariance": covariance_term}
    for name, term in terms.items():
        vectors.match(f"{layout}/{name}_pred", term(predicted))
        vectors.match(f"{layout}/{name}_target", term(target))
        vectors.match(f"{layout}/{name}/grad_z_pred", gradient(term(predicted) + term(target), predicted))
    dims = predicted.shape[1]
    for side, z in (("pred", predicted), ("target", target)):
        vectors.match(f"{layout}/eb_jepa/covariance_{side}", covariance_term(z) / (dims - 1))


def test_the_sum_with_its_weights(vectors: Vectors, branches: tuple[str, Tensor, Tensor]) -> None:
    layout, predicted, target = branches
    config, numbers = VicregConfig(over="flattened"), torch.arange(len(predicted))
    rows = [Rows(z, torch.zeros_like(numbers), numbers) for z in (predicted, target)]
    terms = regularise(config, rows, len(numbers), 1)
    loss = config.invariance * F.mse_loss(predicted, target) + sum(terms.values())
    vectors.match(f"{layout}/vicreg", loss)
    vectors.match(f"{layout}/vicreg/grad_z_pred", gradient(loss, predicted))
    vectors.match(f"{layout}/vicreg/grad_z_target", gradient(loss, target))


def test_sigreg(vectors: Vectors, branches: tuple[str, Tensor, Tensor]) -> None:
    """The stored statistic is not multiplied by the number of rows, as ours and the paper's are."""
    layout, predicted, target = branches
    directions, one = vectors.tensor("sigreg/directions"), torch.zeros(len(predicted), dtype=torch.long)
    found = [epps_pulley(SIGREG, z @ directions, one, 1)[0] / len(z) for z in (predicted, target)]
    vectors.match(f"{layout}/sigreg/per_slice_pred", found[0])
    loss = (found[0].mean() + found[1].mean()) / 2
    if layout == "nd":
        vectors.match("nd/sigreg/bcs", loss)
    vectors.match(f"{layout}/sigreg/loss", F.mse_loss(predicted, target) + 10 * loss)
    vectors.match(f"{layout}/sigreg/grad_z_pred", gradient(loss, predicted))
