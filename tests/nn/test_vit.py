"""The encoder: kept tokens, prefix tokens, causality, positions, published sizes."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anyjepa.nn.encoder import Encoder
from anyjepa.nn.positions import AnyPositions, AxialRotaryConfig, LearnedConfig, RotaryConfig, SinCosConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViT, ViTConfig

BLOCKS = st.builds(
    BlockConfig,
    mlp=st.sampled_from(["gelu", "swiglu"]),
    bias=st.booleans(),
    qk_norm=st.sampled_from(["off", "plain", "affine"]),
    layer_scale=st.sampled_from([None, 0.5]),
)
CONFIGS = st.builds(
    ViTConfig,
    patch=st.just((5,)),
    dim=st.just(16),
    depth=st.just(2),
    heads=st.just(2),
    positions=st.sampled_from([SinCosConfig(), LearnedConfig(), RotaryConfig(), AxialRotaryConfig()]),
    block=BLOCKS,
    registers=st.integers(0, 2),
    cls=st.booleans(),
    causal=st.booleans(),
)


def absent_encoder() -> Encoder:
    torch.manual_seed(0)
    config = ViTConfig(patch=(5,), dim=16, depth=2, heads=2, absent=True)
    return ViT(config, 3, (20,))


def test_an_absent_channel_is_a_learned_vector_not_a_flat_line() -> None:
    encoder, x = absent_encoder(), torch.randn(2, 3, 20)
    flat = x.clone()
    flat[0, 1] = 0
    missing = x.clone()
    missing[0, 1] = float("nan")
    assert torch.equal(encoder(missing).values, encoder(flat).values)  # the vector starts at zero
    nn.init.normal_(encoder.absent)
    told, silent = encoder(missing).padded(), encoder(flat).padded()
    assert not torch.allclose(told[0], silent[0])
    assert torch.allclose(told[1], silent[1], atol=1e-6)
    told.sum().backward()
    assert encoder.absent.grad[1].abs().sum() > 0
    assert encoder.absent.grad[[0, 2]].abs().sum() == 0


def test_a_nan_gap_is_not_an_absent_channel() -> None:
    x = torch.randn(1, 3, 20)
    x[0, 1, 3] = float("nan")
    assert absent_encoder()(x).values.isnan().any()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def encoder(tokens: int = 10, channels: int = 3, patch: int = 5, seed: int = 0, **settings_: object) -> Encoder:
    config = ViTConfig(**{"patch": (patch,), "dim": 16, "depth": 2, "heads": 2, **settings_})
    return noisy(config, channels, (tokens * patch,), seed)


def noisy(config: ViTConfig, channels: int, size: tuple[int, ...], seed: int = 0) -> Encoder:
    """Larger random weights than at the start, so that attention matters."""
    torch.manual_seed(seed)
    model = ViT(config, channels, size)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def random_keep(seed: int, batch: int = 4, tokens: int = 10) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Sorted token numbers (B, K), their validity, and each sample's own numbers."""
    draw = torch.Generator().manual_seed(seed)
    own = [
        torch.randperm(tokens, generator=draw)[: 1 + int(torch.randint(tokens, (1,), generator=draw))].sort().values
        for _ in range(batch)
    ]
    width = max(len(rows) for rows in own)
    keep = torch.randint(tokens, (batch, width), generator=draw)  # padding: any number
    valid = torch.zeros(batch, width, dtype=torch.bool)
    for b, rows in enumerate(own):
        keep[b, : len(rows)], valid[b, : len(rows)] = rows, True
    return keep, valid, own


@given(config=CONFIGS, seed=st.integers(0, 9999), shifted=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_ragged_batch_is_each_sample_alone(config: ViTConfig, seed: int, shifted: bool) -> None:
    model = noisy(config, 3, (50,), seed)
    keep, valid, own = random_keep(seed)
    x = torch.randn(4, 3, 50)
    start = torch.tensor([0.0, 3.0, 7.5, 1.0]) if shifted and config.positions.kind != "learned" else None
    values, layout = model(x, keep, valid, start)
    assert values.shape == (int(valid.sum()), 16)
    together = layout.pad(values)
    for b, rows in enumerate(own):
        alone = model(x[b : b + 1], rows[None], None, None if start is None else start[b : b + 1]).values
        torch.testing.assert_close(together[b, : len(rows)], alone, rtol=1e-4, atol=1e-5)


@given(config=CONFIGS, seed=st.integers(0, 9999))
@settings(deadline=None, max_examples=30)
def test_what_is_not_kept_or_only_fills_up_changes_nothing(config: ViTConfig, seed: int) -> None:
    model = noisy(config, 3, (50,), seed)
    keep, valid, own = random_keep(seed)
    x = torch.randn(4, 3, 50)
    before = model(x, keep, valid).values
    other = torch.where(valid, keep, (keep + 1) % 10)
    changed = torch.randn(4, 3, 10, 5)
    for b, rows in enumerate(own):
        changed[b, :, rows] = x[b].view(3, 10, 5)[:, rows]
    assert torch.equal(model(changed.flatten(2), other, valid).values, before)


@pytest.mark.parametrize("positions", [SinCosConfig(), LearnedConfig(), RotaryConfig(), AxialRotaryConfig()])
def test_without_attention_keeping_is_gathering(positions: AnyPositions) -> None:
    model = encoder(positions=positions, registers=1)
    for block in model.transformer.blocks:
        block.attn.proj.weight.data.zero_()
    x, (keep, valid, _) = torch.randn(4, 3, 50), random_keep(1)
    full = model(x).padded()
    gathered = full.gather(1, keep[..., None].expand(-1, -1, 16))[valid]
    torch.testing.assert_close(model(x, keep, valid).values, gathered)


def test_keeping_all_is_keeping_nothing_away() -> None:
    model, x = encoder(registers=2, cls=True), torch.randn(2, 3, 50)
    everything = torch.arange(10).expand(2, -1)
    prefix, patches = model.features(x)
    assert prefix.shape == (2, 3, 16)
    torch.testing.assert_close(model(x).padded(), patches)
    torch.testing.assert_close(model(x, everything).padded(), patches)
    torch.testing.assert_close(model(x, everything, torch.ones(2, 10, dtype=torch.bool)).padded(), patches)


@given(config=CONFIGS, seed=st.integers(0, 999), place=st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_causality(config: ViTConfig, seed: int, place: int) -> None:
    """Changing one patch changes it and later tokens if causal, else every token."""
    model = noisy(config, 3, (50,), seed)
    x = torch.randn(1, 3, 50)
    other = x.clone()
    other[:, :, 5 * place : 5 * place + 5] += 1
    (prefix, patches), (prefix2, patches2) = model.features(x), model.features(other)
    moved = (patches != patches2).any(-1)[0]
    assert moved[place:].any()
    if config.causal:
        assert not moved[:place].any()
        assert torch.equal(prefix, prefix2)  # also: a causal CLS is the same for every record
    else:
        assert moved[:place].all()


def test_prefix_tokens_are_not_turned_and_have_no_position() -> None:
    model = encoder(registers=1, cls=True, positions=RotaryConfig())
    angles = model._angles((10,), torch.tensor([3.0, 4.0]), None)
    assert angles is not None
    assert angles.shape == (2, 1, 12, 8)
    assert (angles[:, :, :2] == 0).all()
    assert (angles[:, :, 2:] != 0).any()
    added = encoder(registers=1)
    for block in added.transformer.blocks:  # no attention and no MLP: tokens stay what they were
        block.attn.proj.weight.data.zero_()
        block.mlp.fc2.weight.data.zero_()
    prefix, _ = added.features(torch.randn(2, 3, 50), start=torch.tensor([5.0, 0.0]))
    torch.testing.assert_close(prefix, added.norm(added.prefix).expand(2, 1, 16))


@pytest.mark.parametrize("positions", [SinCosConfig(), LearnedConfig(), RotaryConfig(), AxialRotaryConfig()])
def test_a_shorter_input_is_the_beginning_of_a_full_one(positions: AnyPositions) -> None:
    model, x = encoder(positions=positions, registers=1), torch.randn(2, 3, 50)
    beginning = model(x, torch.arange(4).expand(2, -1)).padded()
    torch.testing.assert_close(model(x[:, :, :20]).padded(), beginning)


@pytest.mark.parametrize("positions", [SinCosConfig(), RotaryConfig(), AxialRotaryConfig()])
def test_a_crop_with_its_start_is_that_part_of_its_record(positions: AnyPositions) -> None:
    model, x = encoder(positions=positions, registers=1), torch.randn(2, 3, 50)
    part = model(x, torch.arange(6, 10).expand(2, -1)).padded()
    torch.testing.assert_close(model(x[:, :, 30:], start=torch.full((2,), 6.0)).padded(), part)
    from_zero = model(x[:, :, 30:]).padded()
    torch.testing.assert_close(model(x[:, :, 30:], start=torch.zeros(2)).padded(), from_zero)
    # Rotary positions are relative: a shift shows only against the register, which is not turned.
    assert not torch.allclose(from_zero, part, atol=1e-3)


def test_a_table_made_while_inferring_can_be_trained_with() -> None:
    model, x = encoder(positions=SinCosConfig()).train(), torch.randn(2, 3, 35)
    with torch.inference_mode():
        model(x, start=torch.ones(2))
        model(x)
    model(x).values.sum().backward()


@pytest.mark.parametrize(("patch", "size"), [((4, 4), (8, 12)), ((2, 4, 4), (4, 8, 12))])
def test_images_and_video(patch: tuple, size: tuple) -> None:
    for positions in (SinCosConfig(layout="halves"), LearnedConfig(), RotaryConfig()):
        config = ViTConfig(patch=patch, dim=24, depth=1, heads=2, positions=positions)
        model, x = noisy(config, 3, size), torch.randn(2, 3, *size)
        keep = torch.tensor([[0, 5], [2, 3]])
        assert model(x).padded().shape == (2, 6 if len(patch) == 2 else 12, 24)
        assert model(x, keep).padded().shape == (2, 2, 24)


@pytest.mark.parametrize("positions", [SinCosConfig(), RotaryConfig(), AxialRotaryConfig()])
def test_bfloat16_autocast(positions: AnyPositions) -> None:
    model = encoder(registers=1, positions=positions).train()
    x, (keep, valid, _) = torch.randn(4, 3, 50), random_keep(2)
    exact = model(x, keep, valid).values
    streams = []
    model.transformer.blocks[1].register_forward_pre_hook(lambda _, inputs: streams.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(x, keep, valid).values
    assert streams == [torch.float32]
    torch.testing.assert_close(rounded.float(), exact, rtol=0.1, atol=0.1)
    rounded.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_other_channels_or_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="input has 2 channels, the encoder was built for 3"):
        encoder()(torch.randn(1, 2, 50))
    with pytest.raises(ValueError, match="multiple of the patch"):
        encoder()(torch.randn(1, 3, 49))


@pytest.mark.parametrize(("init", "last"), [("scaled", 0.02 / sqrt(16)), ("plain", 0.02)])
def test_initialisation(init: str, last: float) -> None:
    torch.manual_seed(0)
    model = ViT(ViTConfig(patch=(25,), dim=192, depth=8, heads=4, registers=40, init=init), 12, (5000,))
    std = {name: parameter.std().item() for name, parameter in model.named_parameters() if parameter.ndim == 2}
    residual = {name: value for name, value in std.items() if name.endswith(("attn.proj.weight", "fc2.weight"))}
    assert len(residual) == 16
    assert all(value == pytest.approx(last, rel=0.02) for value in residual.values())
    assert all(value == pytest.approx(0.02, rel=0.03) for name, value in std.items() if name not in residual)


PUBLISHED = {"xs": (192, 8, 4, 3_600_000), "s": (384, 8, 6, 14_277_888), "b": (768, 12, 12, 85_185_024)}


@pytest.mark.parametrize("size", PUBLISHED)
def test_ecg_jepa_sizes(size: str) -> None:
    dim, depth, heads, parameters = PUBLISHED[size]
    with torch.device("meta"):
        model = ViT(ViTConfig(patch=(25,), dim=dim, depth=depth, heads=heads, registers=1), 12, (5000,))
    assert count(model) == parameters


def test_other_published_sizes() -> None:
    biased = BlockConfig(bias=True, qkv_bias=True)
    nepa = BlockConfig(bias=True, qkv_bias=True, qk_norm="plain", layer_scale=1e-5, norm_eps=1e-12)
    with torch.device("meta"):
        cifar = ViT(
            ViTConfig(patch=(4, 4), dim=192, depth=6, heads=6, positions=LearnedConfig(), block=biased), 3, (32, 32)
        )
        small = ViT(
            ViTConfig(
                patch=(25,), dim=384, depth=8, heads=6, positions=RotaryConfig(), block=nepa, cls=True, causal=True
            ),
            12,
            (5000,),
        )
    assert count(cifar) == 2_691_264
    assert count(small) == 14_318_592
