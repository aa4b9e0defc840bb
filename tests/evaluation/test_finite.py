"""A network whose outputs are not finite ends in one line with the records and the likely cause."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anyjepa.errors import InputError
from anyjepa.evaluation.finite import check_finite


def network(largest: float) -> nn.Module:
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight[0, 1] = -largest
    return nn.Sequential(layer)


def test_finite_outputs_pass() -> None:
    check_finite(torch.zeros(2, 3), ["a", "b"], network(3e38))
    check_finite(torch.zeros(0, 3), [], network(1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_records_and_weight_are_named(value: float) -> None:
    outputs = torch.zeros(6, 2, 3)
    outputs[1, 1, 2] = value
    with pytest.raises(InputError) as caught:
        check_finite(outputs, list("abcdef"), network(3e38))
    assert str(caught.value) == (
        "record 'b': the model's output is NaN or infinite; weight '0.weight' has a value of magnitude 3e+38, so the "
        "weights are probably damaged"
    )
    outputs[2:] = value
    with pytest.raises(InputError, match=r"^records 'b', 'c', 'd' and 1 others: .*no weight is above 2, so the data"):
        check_finite(outputs, list("abcdce"), network(2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["0.weight", "0.bias", "1.running_var"])
def test_a_weight_that_is_not_finite_is_named(value: float, place: str) -> None:
    layers = network(2)
    layers.append(nn.BatchNorm1d(2))
    layers.state_dict()[place].view(-1)[0] = value
    with pytest.raises(InputError) as caught:
        check_finite(torch.full((1, 3), value), ["a"], layers)
    assert str(caught.value) == (
        f"record 'a': the model's output is NaN or infinite; weight '{place}' is NaN or infinite, so training "
        "diverged or the weights are damaged"
    )
