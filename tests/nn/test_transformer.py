"""The transformer on packed tokens: its arithmetic, dropout, initialisation."""

from __future__ import annotations

from math import erf, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from anyjepa.nn.packing import Layout
from anyjepa.nn.positions import rotate
from anyjepa.nn.transformer import MLP, Attention, Block, BlockConfig, Transformer, initialise

BLOCKS = st.builds(
    BlockConfig,
    mlp=st.sampled_from(["gelu", "relu", "swiglu"]),
    norm=st.sampled_from(["layer", "batch"]),
    bias=st.booleans(),
    qkv_bias=st.booleans(),
    qk_norm=st.sampled_from(["off", "plain", "affine"]),
    layer_scale=st.sampled_from([None, 0.5]),
    mlp_ratio=st.sampled_from([1.5, 4.0]),
)


def noise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random, so that a forgotten one shows."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=draw) + (0.7 if parameter.ndim == 1 else 0)
    return module.eval()


@given(config=BLOCKS, causal=st.booleans(), rotary=st.booleans(), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=50)
def test_a_ragged_batch_is_each_sample_alone(config: BlockConfig, causal: bool, rotary: bool, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    model = noise(Transformer(config, 8, 2, 2), seed)
    valid = torch.rand(4, 6, generator=draw) < 0.6
    valid[:, seed % 6] = True
    layout = Layout(4, 6, valid)
    x = torch.randn(4, 6, 8, generator=draw)
    angles = torch.randn(4, 1, 6, 2, generator=draw).repeat(1, 1, 1, 2) if rotary else None
    together = layout.pad(model(layout.pack(x), layout, angles, causal))
    for b in range(4):
        rows = valid[b]
        own = None if angles is None else angles[b : b + 1, :, rows]
        alone = model(x[b, rows], Layout(1, int(rows.sum())), own, causal)
        torch.testing.assert_close(together[b, rows], alone, rtol=1e-4, atol=1e-5)


def test_batch_norm_is_over_all_tokens_of_all_samples() -> None:
    block = Block(BlockConfig(norm="batch"), 8, 2, 0.0).train()
    seen: list[Tensor] = []
    block.norm1.register_forward_hook(lambda _, __, out: seen.append(out))
    x, valid = 3 + 2 * torch.randn(10, 8), torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    block(x, Layout(2, 6, valid))
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[0].var(0, correction=0), torch.ones(8), atol=1e-4, rtol=0)
    block.eval()(x, Layout(2, 6, valid))
    assert seen[1].mean() > 1  # running statistics have only begun to move


def test_relu() -> None:
    mlp, x = noise(MLP(BlockConfig(mlp="relu"), 8)), torch.randn(5, 8)
    torch.testing.assert_close(mlp(x), (x @ mlp.fc1.weight.T).clamp(min=0) @ mlp.fc2.weight.T)


def by_hand(block: Block, x: Tensor, angles: Tensor) -> Tensor:
    """One pre-norm block on one sample (N, D), every flag on, written out."""
    a, heads = block.attn, block.attn.heads
    qkv = block.norm1(x) @ a.qkv.weight.T + a.qkv.bias
    out = torch.zeros_like(x)
    size = x.shape[1] // heads
    for h in range(heads):
        q, k, v = (qkv[:, part * x.shape[1] + h * size :][:, :size] for part in range(3))
        q, k = rotate(a.q_norm(q), angles), rotate(a.k_norm(k), angles)
        out[:, h * size : (h + 1) * size] = (q @ k.T / sqrt(size)).softmax(-1) @ v
    x = x + block.scale1 * (out @ a.proj.weight.T + a.proj.bias)
    gate, up = (block.norm2(x) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias).chunk(2, dim=-1)
    return x + block.scale2 * ((gate * gate.sigmoid() * up) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias)


def test_a_block_by_hand() -> None:
    config = BlockConfig(mlp="swiglu", bias=True, qkv_bias=True, qk_norm="affine", layer_scale=0.5)
    block = noise(Block(config, 8, 2, drop_path=0.0))
    x, angles = torch.randn(5, 8), torch.randn(5, 2).repeat(1, 2)
    torch.testing.assert_close(block(x, Layout(1, 5), angles[None, None]), by_hand(block, x, angles))


def test_gelu_is_exact() -> None:
    mlp = MLP(BlockConfig(mlp_ratio=1), 4)
    mlp.fc1.weight.data, mlp.fc2.weight.data = torch.eye(4), torch.eye(4)
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0])
    expected = torch.tensor([value * (1 + erf(value / sqrt(2))) / 2 for value in x.tolist()])
    torch.testing.assert_close(mlp(x), expected, rtol=0, atol=1e-6)


def test_normalised_queries_have_length_sqrt_of_head_dim() -> None:
    attention = Attention(BlockConfig(qk_norm="plain", norm_eps=1e-12), 32, 4)
    assert not list(attention.q_norm.parameters())
    length = attention.q_norm(torch.randn(50, 8)).norm(dim=-1)
    torch.testing.assert_close(length, torch.full_like(length, sqrt(8)))


@pytest.mark.parametrize("key", ["dropout", "attention_dropout", "drop_path"])
def test_dropout_in_training_only(key: str) -> None:
    model = Transformer(BlockConfig(**{key: 0.5}), 16, 2, 2)
    plain = Transformer(BlockConfig(), 16, 2, 2)
    plain.load_state_dict(model.state_dict())
    x, layout = torch.randn(40, 16), Layout(4, 10)
    assert torch.equal(model.eval()(x, layout), plain(x, layout))
    model.train()
    assert not torch.equal(model(x, layout), model(x, layout))
    torch.manual_seed(3)
    first = model(x, layout)
    torch.manual_seed(3)
    assert torch.equal(model(x, layout), first)


def test_dropout_inside_the_mlp() -> None:
    mlp, x = MLP(BlockConfig(dropout=0.5), 16).train(), torch.randn(10, 16)
    assert not torch.equal(mlp(x), mlp(x))
    assert torch.equal(mlp.eval()(x), mlp(x))


def test_drop_path_skips_whole_branches_of_whole_samples() -> None:
    """A sample's branch is either absent or scaled by 1 / (1 - rate), whatever its number of tokens."""
    torch.manual_seed(0)
    block = noise(Block(BlockConfig(), 8, 2, drop_path=0.25)).train()
    valid = torch.rand(400, 5) < 0.7
    layout = Layout(400, 5, valid)
    branch = torch.ones(int(valid.sum()), 8)
    kept = layout.pad(block._branch(branch, None, layout, None)).amax(dim=-1)  # (B, L)
    per_sample = kept.amax(dim=1)
    assert torch.equal(kept, per_sample[:, None] * valid)
    assert set(per_sample.tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((per_sample[valid.any(1)] > 0).float().mean().item() - 0.75) < 0.07


def test_drop_path_grows_linearly_with_depth() -> None:
    blocks = Transformer(BlockConfig(drop_path=0.3), 8, 4, 2).blocks
    assert [block.drop_path for block in blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="less than 1"):
        BlockConfig(drop_path=1)


@pytest.mark.parametrize("residual_depth", [None, 8])
def test_initialisation(residual_depth: int | None) -> None:
    torch.manual_seed(0)
    model = Transformer(BlockConfig(bias=True, qkv_bias=True, qk_norm="affine", layer_scale=1e-5), 192, 2, 4)
    initialise(model, residual_depth)
    last = 0.02 if residual_depth is None else 0.02 / sqrt(2 * residual_depth)
    for name, parameter in model.named_parameters():
        if "scale" in name:
            assert (parameter == 1e-5).all()
        elif "bias" in name:
            assert (parameter == 0).all()
        elif "norm" in name:
            assert (parameter == 1).all()
        else:
            expected = last if name.endswith(("attn.proj.weight", "fc2.weight")) else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.02)
            assert abs(parameter.mean().item()) < 3 * expected / sqrt(parameter.numel())


def test_biases_only_where_they_are_asked_for() -> None:
    def biases(**flags: bool) -> set[str]:
        names = Transformer(BlockConfig(**flags), 8, 1, 2).state_dict()
        return {name.removeprefix("blocks.0.") for name in names if name.endswith("bias")}

    assert biases() == set()
    assert biases(qkv_bias=True) == {"attn.qkv.bias"}
    assert biases(bias=True) == {"norm1.bias", "attn.proj.bias", "norm2.bias", "mlp.fc1.bias", "mlp.fc2.bias"}


def test_width_must_divide_into_heads() -> None:
    with pytest.raises(ValueError, match="10 is not a multiple of 4 heads"):
        Transformer(BlockConfig(), 10, 1, 4)


@pytest.mark.parametrize("norm", ["layer", "batch"])
@pytest.mark.parametrize("ragged", [False, True])
def test_what_is_read_is_what_all_tokens_would_have_been(norm: str, ragged: bool) -> None:
    """The last block may leave out what nobody reads: outputs and gradients stay the same."""
    torch.manual_seed(0)
    stack = noise(Transformer(BlockConfig(norm=norm, layer_scale=0.5), 8, 2, 2)).eval()
    layout = Layout(6, 5, torch.rand(6, 5) < 0.7 if ragged else None)
    x = torch.randn(len(layout.pack(torch.zeros(6, 5))), 8, requires_grad=True)
    read = torch.tensor([0, 3, 7, 8, 11])
    whole, part = stack(x, layout)[read], stack(x, layout, read=read)
    torch.testing.assert_close(part, whole, atol=1e-6, rtol=1e-5)
    slopes = [torch.autograd.grad(y.square().sum(), [x, *stack.parameters()]) for y in (whole, part)]
    for found, expected in zip(*slopes, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
