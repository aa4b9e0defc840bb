"""The gene encoder: the design's sizes, a cell by hand, hidden genes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from anyjepa.nn.genes import GeneConfig, GeneEncoder
from anyjepa.nn.packing import Layout
from anyjepa.objectives.paired import PairedPrediction, PairedPredictionConfig

DESIGN = GeneConfig(hidden=(2048, 1024), tokens=64, dim=256, depth=4, heads=8)
SMALL = GeneConfig(hidden=(12, 8), tokens=3, dim=4, depth=1, heads=2, dropout=0.5)


def parameters(part: torch.nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def test_the_design_has_the_stated_parameters_and_its_depth_counts() -> None:
    """63,035,904 of the encoder, 69,390,080 with a conditional predictor of four blocks; a block has 789,760."""
    predictor = {"condition_dim": 128, "depth": 4, "heads": 8}
    with torch.device("meta"):
        model = PairedPrediction(PairedPredictionConfig(encoder=DESIGN, predictor=predictor), 1, (20_000,))  # type: ignore[arg-type]
        deeper = DESIGN.model_copy(update={"depth": 6}).build(1, (20_000,))
    assert (parameters(model.student), parameters(model)) == (63_035_904, 69_390_080)
    assert parameters(deeper) == 63_035_904 + 2 * 789_760


def test_the_default_spends_little_on_reading_genes() -> None:
    with torch.device("meta"):
        model = GeneConfig().build(1, (2000,))
    assert isinstance(model, GeneEncoder)
    assert parameters(model.projection) == 2016 * 128  # 32 groups of 63
    assert parameters(model.projection) < 0.25 * parameters(model) < 300_000


def test_without_hidden_layers_a_token_reads_its_own_genes_only() -> None:
    torch.manual_seed(0)
    model = GeneConfig(tokens=3, dim=4, depth=1, heads=2).build(1, (7,))
    assert isinstance(model, GeneEncoder)
    x = torch.randn(5, 7)
    tokens = model.projection(x)
    assert tokens.shape == (5, 3, 4)
    for place, genes in enumerate([[0, 1, 2], [3, 4, 5], [6]]):
        weight = model.projection.weight[place, : len(genes)]
        torch.testing.assert_close(tokens[:, place], x[:, genes] @ weight)
    with pytest.raises(ValueError, match="7 inputs in groups of 1 fill 7 tokens, not 8; use 7"):
        GeneConfig(tokens=8).build(1, (7,))
    with pytest.raises(
        ValueError, match="50 inputs in groups of 2 fill 25 tokens, not 40; use 25"
    ):  # 15 would read none
        GeneConfig(tokens=40).build(1, (50,))


def test_a_cell_by_hand() -> None:
    torch.manual_seed(0)
    model, x = SMALL.build(1, (7,)).eval(), torch.randn(5, 1, 7)
    assert isinstance(model, GeneEncoder)
    hidden = x[:, 0]
    for linear, norm in ((model.projection[0], model.projection[1]), (model.projection[4], model.projection[5])):
        hidden = F.gelu(norm(linear(hidden)))
    tokens = model.projection[-2](hidden).view(5, 3, 4) + model.tokens
    expected = model.norm(model.transformer(tokens.flatten(0, 1), Layout(5, 3))).view(5, 3, 4)
    torch.testing.assert_close(model(x).padded(), expected)
    torch.testing.assert_close(model.features(x)[1], expected)
    assert not torch.allclose(model.train()(x).padded(), expected)  # dropout
    assert model.grid == (3,)


def test_hidden_genes_change_nothing() -> None:
    torch.manual_seed(0)
    model, x = SMALL.build(1, (7,)).eval(), torch.randn(5, 1, 7)
    shown = torch.ones(5, 7)
    shown[:, 2:4] = 0
    changed = x.clone()
    changed[:, :, 2:4] += 3
    torch.testing.assert_close(model(changed, shown=shown).values, model(x, shown=shown).values)
    assert not torch.allclose(model(changed).values, model(x).values)


def test_what_does_not_fit_is_refused() -> None:
    model = SMALL.build(1, (7,))
    with pytest.raises(ValueError, match=r"built for \(1, 7\)"):
        model(torch.randn(2, 1, 8))
    with pytest.raises(ValueError, match="one value per gene"):
        SMALL.build(2, (7,))
