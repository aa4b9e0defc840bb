"""LARS: steps by hand, what is not scaled, and a run that is resumed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from test_module import Noise, config, objective

from anyjepa.errors import InputError
from anyjepa.training.checkpoints import newest_checkpoint
from anyjepa.training.config import OptimiserConfig
from anyjepa.training.fit import fit
from anyjepa.training.lars import LARS
from anyjepa.training.module import Pretraining

RATES = {"lr": 0.3, "momentum": 0.9, "trust": 0.02, "weight_decay": 0.01, "eps": 1e-8}


def by_hand(weights: list[float], gradients: list[list[float]], scaled: bool) -> list[float]:
    """Plain numbers, as the papers write it: w after one step for each gradient."""
    average = [0.0] * len(weights)
    for gradient in gradients:
        rate, decay = 1.0, 0.0
        w, g = math.hypot(*weights), math.hypot(*gradient)
        if scaled and w > 0 and g > 0:
            decay = RATES["weight_decay"]
            rate = min(RATES["trust"] * w / (g + decay * w + RATES["eps"]) / RATES["lr"], 1)
        for i, value in enumerate(gradient):
            average[i] = RATES["momentum"] * average[i] + rate * (value + decay * weights[i])
        weights = [x - RATES["lr"] * v for x, v in zip(weights, average, strict=True)]
    return weights


def stepped(optimiser: LARS, parameters: list[torch.nn.Parameter], gradients: list[list[list[float]]]) -> None:
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = torch.tensor(gradient).view_as(parameter)
        optimiser.step()


# Each row: weights, and gradients of three steps; usual, clipped at the learning rate, no weights yet, no gradient.
WEIGHTS = [[3.0, -4.0, 1.0, 2.0], [30.0, 40.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0], [1.0, -1.0]]
GRADIENTS = [
    [[0.5, 0.1, -0.2, 3.0], [1e-3, 0.0, 2e-3, 0.0], [0.1, -0.2, 0.3, 0.0], [0.0, 0.0, 0.0, 0.0], [0.2, 0.4]],
    [[-0.5, 0.3, -0.1, 1.0], [1e-2, 0.1, 0.0, 0.0], [0.2, 0.2, -0.3, 0.1], [0.0, 0.0, 0.0, 0.0], [0.1, -0.4]],
    [[0.2, 0.2, 0.2, 0.2], [5.0, 3.0, 1.0, 0.0], [0.1, 0.0, 0.0, 0.4], [0.0, 0.0, 0.0, 0.0], [0.3, 0.0]],
]


def test_steps_are_those_by_hand() -> None:
    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in WEIGHTS]
    unused = torch.nn.Parameter(torch.ones(3))
    groups = [{"params": [*parameters[:4], unused]}, {"params": parameters[4:], "scaled": False, "weight_decay": 0.0}]
    stepped(LARS(groups, **RATES), parameters, GRADIENTS)
    for row, (parameter, start) in enumerate(zip(parameters, WEIGHTS, strict=True)):
        expected = by_hand(start, [step[row] for step in GRADIENTS], scaled=row < 4)
        assert parameter.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert parameters[3].tolist() == WEIGHTS[3]
    assert unused.tolist() == [1, 1, 1]


def test_a_learning_rate_of_zero_moves_nothing() -> None:
    weights = torch.nn.Parameter(torch.ones(2, 2))
    stepped(LARS([{"params": [weights]}], **{**RATES, "lr": 0.0}), [weights], [[[1.0, 0.0, 0.0, 0.0]]])
    assert weights.flatten().tolist() == [1, 1, 1, 1]


def test_its_state_goes_on_in_another() -> None:
    whole, first = (torch.nn.Parameter(torch.tensor(WEIGHTS[0])) for _ in range(2))
    stepped(LARS([{"params": [whole]}], **RATES), [whole], [step[:1] for step in GRADIENTS])
    optimiser = LARS([{"params": [first]}], **RATES)
    stepped(optimiser, [first], [step[:1] for step in GRADIENTS[:2]])
    second = torch.nn.Parameter(first.detach().clone())
    other = LARS([{"params": [second]}], lr=1.0, momentum=0.0)
    other.load_state_dict(optimiser.state_dict())
    stepped(other, [second], [step[:1] for step in GRADIENTS[2:]])
    assert torch.equal(second, whole)


def lars(**changes: object) -> OptimiserConfig:
    rates = {"kind": "lars", "lr": 0.3, "start_lr": 0.0, "warmup": 2, "weight_decay": (1e-4, 1e-4)}
    return OptimiserConfig.model_validate({**rates, "decay_rule": "not_1d", "eps": 1e-8, **changes})


def test_biases_and_norms_are_the_group_without_rates_and_decay() -> None:
    module = Pretraining(objective(), config(optimiser=lars(momentum=0.8, trust=0.01)), ids=())
    optimiser = module.configure_optimizers()
    assert isinstance(optimiser, LARS)
    decayed, rest = optimiser.param_groups
    assert (decayed["scaled"], rest["scaled"], rest["weight_decay"]) == (True, False, 0)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in rest["params"])
    assert (rest["momentum"], rest["trust"], rest["eps"]) == (0.8, 0.01, 1e-8)


def test_a_run_resumed_from_its_middle_equals_an_unbroken_one(tmp_path: Path) -> None:
    unbroken, resumed = objective(), objective()
    fit(unbroken, config(optimiser=lars(), steps=6), Noise(), tmp_path / "a", progress=False)
    fit(objective(), config(optimiser=lars(), steps=6), Noise(), tmp_path / "b", progress=False)
    (tmp_path / "b/checkpoints/step-00000006.ckpt").unlink()
    fit(resumed, config(optimiser=lars(), steps=6), Noise(), tmp_path / "b", resume=True, progress=False)
    start = objective().state_dict()
    for name, value in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
    moved = "student.transformer.blocks.0.mlp.fc1.weight"
    assert not torch.equal(unbroken.state_dict()[moved], start[moved])
    states = [torch.load(newest_checkpoint(tmp_path / f / "checkpoints"), weights_only=True) for f in "ab"]
    one, other = (state["optimizer_states"][0]["state"] for state in states)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key]["momentum_buffer"], other[key]["momentum_buffer"]) for key in one)


def test_a_checkpoint_of_another_optimiser_is_refused(tmp_path: Path) -> None:
    fit(objective(), config(optimiser=lars()), Noise(), tmp_path, progress=False)
    with pytest.raises(InputError, match=r"step-00000004\.ckpt: is missing part of the optimiser state"):
        fit(objective(), config(steps=8), Noise(), tmp_path, resume=True, progress=False)
