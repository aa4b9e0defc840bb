"""Predictions with known skill, and trivial predictors with known losses."""

from __future__ import annotations

import pytest
import torch

from anyjepa.diagnostics.prediction import Examined, cosine, prediction_signs, trivial_predictions

BATCH, TOKENS, WIDTH = 64, 8, 4


def squared(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a - b).square().sum() / a.shape[1]


def examined(predict, unchanged=None) -> Examined:
    """Targets are the sum of a position's vector and of independent noise, all of variance 1."""
    draw = torch.Generator().manual_seed(0)
    positions = torch.randn(TOKENS, WIDTH, generator=draw)
    noise = torch.randn(BATCH, TOKENS, WIDTH, generator=draw)
    tokens = positions + noise
    sample = torch.arange(BATCH).repeat_interleave(TOKENS)
    position = torch.arange(TOKENS).repeat(BATCH)
    predicted = predict(positions.expand(BATCH, -1, -1), noise)
    return Examined(predicted.flatten(0, 1), tokens.flatten(0, 1), position, sample, tokens, squared, unchanged)


def test_a_perfect_prediction_follows_input_and_position():
    signs = prediction_signs(examined(lambda positions, noise: positions + noise))
    assert signs["prediction_distance"] == 0
    assert signs["input_skill"] == pytest.approx(1, abs=1e-5)
    assert signs["position_skill"] == pytest.approx(1, abs=1e-5)


def test_a_prediction_of_positions_only_has_no_input_skill():
    signs = prediction_signs(examined(lambda positions, noise: positions))
    assert signs["input_skill"] == 0
    assert signs["position_skill"] > 0.6
    assert signs["prediction_distance"] == pytest.approx(signs["trivial_position"], rel=0.05)


def test_one_prediction_for_all_positions_has_no_position_skill():
    signs = prediction_signs(examined(lambda positions, noise: noise.mean(1, keepdim=True).expand_as(noise)))
    assert signs["position_skill"] == 0
    assert signs["input_skill"] > 0.3


def test_blocks_that_differ_do_not_count_as_positions():
    """Half of the tokens of each sample are one block, whose predictions are all equal, and half are another one."""
    half = torch.arange(TOKENS) < TOKENS // 2
    found = examined(lambda positions, noise: torch.where(half[:, None], 1.0, 3.0).expand_as(noise).contiguous())
    block = 2 * found.sample + (found.position >= TOKENS // 2)
    assert prediction_signs(found)["position_skill"] != 0
    assert prediction_signs(found._replace(block=block))["position_skill"] == 0
    alone = torch.arange(len(found.sample))  # blocks of one token each say nothing about positions
    assert "position_skill" not in prediction_signs(found._replace(block=alone))


def test_a_small_dependence_on_the_position_counts():
    """As of tubes through videos that hardly change: predictions vary by 1 % of their length."""
    signs = prediction_signs(examined(lambda positions, noise: 100 + positions + 0 * noise))
    assert signs["position_skill"] > 0.6


def test_trivial_predictors_have_the_losses_that_their_variances_say():
    signs = prediction_signs(examined(lambda positions, noise: positions))
    assert signs["trivial_position"] == pytest.approx(1, rel=0.1)  # the noise
    assert signs["trivial_mean"] == pytest.approx(1 + 1, rel=0.35)  # the noise and the positions
    assert signs["trivial_neighbour"] > signs["trivial_mean"]  # twice the noise and twice the positions


def test_trivial_predictors_do_not_see_the_sample_itself():
    tokens = torch.zeros(4, 3, 2)
    tokens[0] = 12.0
    trivial = trivial_predictions(tokens)
    assert trivial["position"][0].eq(0).all()
    assert trivial["position"][1:].eq(4).all()
    assert trivial["mean"][0].eq(0).all()


def test_the_neighbour_is_the_token_before():
    tokens = torch.arange(4.0).view(1, 4, 1).expand(2, -1, -1)
    assert trivial_predictions(tokens)["neighbour"][0, :, 0].tolist() == [1, 0, 1, 2]
    assert "neighbour" not in trivial_predictions(tokens[:, :1])
    assert trivial_predictions(tokens, tokens + 5)["neighbour"].eq(tokens + 5).all()  # of pairs, the first sample


def test_cosine_of_rows():
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cosine(a, 3 * a) == pytest.approx(1)
    assert cosine(a, a.flip(0)) == pytest.approx(0)
