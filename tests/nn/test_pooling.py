"""Heads that read an encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyjepa.nn.pooling import AttentiveBlock, AttentivePool, HeadConfig, TokenHead, summarise


def head(kind: str, bias: bool = False) -> TokenHead:
    torch.manual_seed(0)
    return TokenHead(HeadConfig(kind=kind, bias=bias), dim=8, heads=2, outputs=3)


def test_mean_of_patches() -> None:
    prefix, patches, model = torch.randn(2, 1, 8), torch.randn(2, 5, 8), head("mean")
    torch.testing.assert_close(model(prefix, patches), patches.mean(1) @ model.read.weight.T)


@pytest.mark.parametrize("length", [1, 6, 20])
def test_mean_and_autocorrelation_by_hand(length: int) -> None:
    patches, model = torch.randn(2, length, 8, dtype=torch.float64), head("dynamics")
    expected = np.zeros((2, 6, 8))
    for b, x in enumerate(patches.numpy()):
        expected[b, 0] = x.mean(0)
        for place, lag in enumerate((1, 2, 4, 8, 16)):
            for d in range(8):
                z = x[:, d] - x[:, d].mean()
                products = [z[t] * z[t + lag] for t in range(length - lag)]
                expected[b, 1 + place, d] = sum(products) / (sum(z**2) + 1e-6 * length)
    summary = summarise(patches, "dynamics")
    np.testing.assert_allclose(summary.numpy(), expected.reshape(2, 48), atol=1e-12)
    torch.testing.assert_close(model(torch.empty(2, 0, 8), patches.float()), summary.float() @ model.read.weight.T)


def test_the_middle_of_a_window_by_hand() -> None:
    patches, model = torch.randn(2, 9, 8), head("middle")
    expected = torch.cat([patches.mean(1), patches[:, 2:7].flatten(1), patches[:, :5].mean(1)], 1)
    torch.testing.assert_close(model(torch.empty(2, 0, 8), patches), expected @ model.read.weight.T)
    short, none = patches[:, :2], torch.zeros(2, 8)
    expected = torch.cat([short.mean(1), none, short[:, 0], short[:, 1], none, none, short[:, 0]], 1)
    torch.testing.assert_close(summarise(short, "middle"), expected)


def test_first_prefix_token() -> None:
    prefix, patches, model = torch.randn(2, 2, 8), torch.randn(2, 5, 8), head("register")
    torch.testing.assert_close(model(prefix, patches), prefix[:, 0] @ model.read.weight.T)
    with pytest.raises(ValueError, match="register or CLS"):
        model(prefix[:, :0], patches)


@pytest.mark.parametrize("bias", [False, True])
def test_attentive_by_hand(bias: bool) -> None:
    prefix, patches, model = torch.randn(2, 1, 8), torch.randn(2, 5, 8), head("attentive", bias)
    pool = model.read
    assert isinstance(pool, AttentivePool)
    for parameter in pool.parameters():
        parameter.data = torch.randn_like(parameter)
    tokens, q = torch.cat([prefix, patches], 1), pool.q(pool.query)
    k, v = pool.kv(tokens).split(8, dim=-1)
    read = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        weights = (k[..., part] @ q[part] / 2).softmax(-1)  # sqrt of 4 dims a head
        read.append((weights[..., None] * v[..., part]).sum(1))
    torch.testing.assert_close(model(prefix, patches), pool.proj(torch.cat(read, -1)))


def test_attentive_block_by_hand() -> None:
    prefix, patches, model = torch.randn(2, 1, 8), torch.randn(2, 5, 8), head("attentive-block", bias=True)
    pool = model.read
    assert isinstance(pool, AttentiveBlock)
    for parameter in pool.parameters():
        parameter.data = torch.randn_like(parameter)
    tokens, q = pool.norm1(torch.cat([prefix, patches], 1)), pool.q(pool.query)
    k, v = pool.kv(tokens).split(8, dim=-1)
    read = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        weights = (k[..., part] @ q[part] / 2).softmax(-1)
        read.append((weights[..., None] * v[..., part]).sum(1))
    x = pool.query + torch.cat(read, -1)  # no projection
    x = x + pool.mlp.fc2(torch.nn.functional.gelu(pool.mlp.fc1(pool.norm2(x))))
    torch.testing.assert_close(model(prefix, patches), pool.proj(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dim", [8, 16])
def test_attentive_block_has_the_published_parts(dim: int) -> None:
    model = TokenHead(HeadConfig(kind="attentive-block", bias=True), dim, 2, outputs=3)
    query, norms, attention, mlp, output = dim, 4 * dim, 3 * dim * (dim + 1), 8 * dim**2 + 5 * dim, 3 * (dim + 1)
    assert sum(p.numel() for p in model.parameters()) == query + norms + attention + mlp + output
    assert torch.equal(model.read.norm1.weight, torch.ones(dim))
    assert model.read.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.15)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("kind", ["attentive", "attentive-block"])
def test_windows_read_jointly_are_one_long_window(kind: str, standardise: bool) -> None:
    torch.manual_seed(0)
    model = TokenHead(HeadConfig(kind=kind, standardise=standardise), dim=8, heads=2, outputs=3)
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter)
    prefix, patches = torch.randn(2, 3, 1, 8), torch.randn(2, 3, 5, 8)
    valid = torch.tensor([[True, True, True], [True, True, False]])
    found = model(prefix, patches, valid)
    torch.testing.assert_close(found[0], model(prefix[:1].flatten(1, 2), patches[:1].flatten(1, 2))[0])
    torch.testing.assert_close(found[1], model(prefix[1:, :2].flatten(1, 2), patches[1:, :2].flatten(1, 2))[0])
    prefix[1, 2] = patches[1, 2] = 100.0  # what stands in for a window that is not there
    torch.testing.assert_close(model(prefix, patches, valid), found)


def test_attentive_reads_tokens_as_a_set() -> None:
    prefix, patches, model = torch.randn(2, 0, 8), torch.randn(2, 5, 8), head("attentive")
    torch.testing.assert_close(model(prefix, patches), model(prefix, patches[:, [3, 1, 0, 4, 2]]))


@pytest.mark.parametrize(("size", "parameters"), [((192, 4), 124_416), ((384, 6), 470_016), ((768, 12), 1_824_768)])
def test_published_attentive_probes(size: tuple[int, int], parameters: int) -> None:
    model = TokenHead(HeadConfig(kind="attentive"), *size, outputs=71)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert all(p.std().item() == pytest.approx(0.02, rel=0.15) for p in model.parameters())


def test_biases_start_at_zero() -> None:
    biases = [p for kind in ("mean", "attentive") for n, p in head(kind, True).named_parameters() if "bias" in n]
    assert len(biases) == 4
    assert not any(bias.any() for bias in biases)


def test_bfloat16_autocast() -> None:
    prefix, patches, model = torch.randn(2, 1, 8), torch.randn(2, 5, 8), head("attentive", bias=True)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(prefix, patches)
    torch.testing.assert_close(rounded.float(), model(prefix, patches), rtol=0.05, atol=0.01)
