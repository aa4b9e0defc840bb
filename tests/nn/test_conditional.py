"""The conditional predictor: its size, and what may and may not change its answer."""

from __future__ import annotations

import pytest
import torch

from anyjepa.nn.conditional import ConditionalPredictor, ConditionalPredictorConfig


def predictor(**settings: object) -> ConditionalPredictor:
    torch.manual_seed(0)
    config = ConditionalPredictorConfig(**{"condition_dim": 6, "depth": 2, "heads": 2, **settings})  # type: ignore[arg-type]
    model = ConditionalPredictor(config, 8)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(("depth", "parameters"), [(6, 9_514_240), (4, 6_354_176)])
def test_parameters_of_the_design(depth: int, parameters: int) -> None:
    with torch.device("meta"):
        model = ConditionalPredictor(ConditionalPredictorConfig(depth=depth), 256)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("conditioning", ["cross_attention", "film"])
def test_the_condition_is_a_set(conditioning: str) -> None:
    """Order and padding change nothing, another token does; each sample sees its own condition."""
    model, tokens, condition = predictor(conditioning=conditioning), torch.randn(3, 5, 8), torch.randn(3, 4, 6)
    valid = torch.tensor([[True] * 4, [True, True, False, False], [True] * 3 + [False]])
    found = model(tokens, condition, valid)
    assert found.shape == (3, 5, 8)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(model(tokens, condition[:, order], valid[:, order]), found)
    other = condition.clone()
    other[1, 2:] = 99.0
    torch.testing.assert_close(model(tokens, other, valid), found)
    torch.testing.assert_close(model(tokens[1:2], condition[1:2, :2]), found[1:2])
    other[1, 0] += 1
    changed = model(tokens, other, valid)
    assert not torch.allclose(changed[1], found[1], atol=1e-3)
    torch.testing.assert_close(changed[[0, 2]], found[[0, 2]])


def test_a_single_vector_is_one_token() -> None:
    model, tokens, condition = predictor(), torch.randn(3, 5, 8), torch.randn(3, 6)
    torch.testing.assert_close(model(tokens, condition), model(tokens, condition.unsqueeze(1)))


def test_film_by_hand_and_at_the_start() -> None:
    model, tokens, condition = predictor(conditioning="film"), torch.randn(3, 5, 8), torch.randn(3, 2, 6)
    scale, shift = model.conditioning[0].proj(model.embed(condition).sum(1)).chunk(2, -1)
    seen: list[torch.Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(tokens, condition)
    torch.testing.assert_close(seen[0].view(3, 5, 8), tokens * (1 + scale[:, None]) + shift[:, None])
    fresh = ConditionalPredictor(ConditionalPredictorConfig(condition_dim=6, depth=1, heads=2, conditioning="film"), 8)
    torch.testing.assert_close(fresh(tokens, condition), fresh(tokens, condition + 1))


@pytest.mark.parametrize("conditioning", ["cross_attention", "film"])
def test_a_residual_predictor_changes_nothing_at_first_and_never_without_a_condition(conditioning: str) -> None:
    tokens, condition = torch.randn(3, 5, 8), torch.randn(3, 2, 6)
    valid = torch.tensor([[True, True], [False, False], [True, False]])
    config = ConditionalPredictorConfig(condition_dim=6, depth=2, heads=2, conditioning=conditioning, residual=True)  # type: ignore[arg-type]
    torch.testing.assert_close(ConditionalPredictor(config, 8)(tokens, condition, valid), tokens)
    trained = predictor(conditioning=conditioning, residual=True)
    found = trained(tokens, condition, valid)
    assert torch.equal(found[1], tokens[1])
    assert not torch.allclose(found[0], tokens[0], atol=1e-2)
    assert not torch.allclose(found[2], tokens[2], atol=1e-2)


@pytest.mark.parametrize("conditioning", ["cross_attention", "film"])
def test_no_condition_is_one_token_of_zeros(conditioning: str) -> None:
    """Whatever stands in the padding; its gradient is finite."""
    model, tokens = predictor(conditioning=conditioning), torch.randn(3, 5, 8)
    valid = torch.tensor([[True, True], [False, False], [False, False]])
    found = model(tokens, torch.randn(3, 2, 6), valid)
    torch.testing.assert_close(found[1:2], model(tokens[1:2], torch.zeros(1, 1, 6)))
    found.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
