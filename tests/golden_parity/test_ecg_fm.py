"""Numbers of fairseq-signals' encoder of ECGs, matched by the rule of tests/golden/ecg_fm/README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from golden_vectors import Vectors

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.nn.wav2vec2 import Wav2Vec2, Wav2Vec2Config
from anyjepa.weights.ecg_fm import NAMES
from anyjepa.weights.foreign import joined, renamed
from anyjepa.weights.importers import import_weights


class Golden(Vectors):
    def __init__(self, folder: Path):
        self.vectors = dict(np.load(folder / "vectors.npz"))


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Golden:
    return Golden(golden / "ecg_fm")


def imported(golden: Path, name: str, folder: Path) -> Any:
    return anyjepa.load(import_weights(golden / "ecg_fm" / f"{name}.pt", folder / "model"), device="cpu")


@pytest.mark.parametrize("name", ["pretrained", "prenorm", "finetuned"])
@torch.no_grad()
def test_tokens(name: str, vectors: Golden, golden: Path, tmp_path: Path):
    vectors.match(name, imported(golden, name, tmp_path).encoder(vectors.tensor("x").float()).padded())


@pytest.mark.filterwarnings("ignore:2 records. leads are flat")
@torch.no_grad()
def test_embedding_is_the_published_one(vectors: Golden, golden: Path, tmp_path: Path):
    """The mean token of a record whose leads are standardised. A full input is not cut to whole tokens."""
    model, leads = imported(golden, "finetuned", tmp_path), list(LEADS)
    x = vectors.tensor("x").float()
    vectors.match("embedding", model.encoder(x).padded().mean(1))
    x[:, 2:6] = torch.stack(
        [x[:, 1] - x[:, 0], -(x[:, 0] + x[:, 1]) / 2, x[:, 0] - x[:, 1] / 2, x[:, 1] - x[:, 0] / 2], 1
    )
    x[:, 7] = 0.0
    ours = model.embed((0.3 * x + 0.2).numpy(), fs=500, leads=leads, unit="mV")
    x = (x - x.mean(2, keepdim=True)) / x.std(2, keepdim=True, correction=0)
    x[:, 7] = 0.0
    torch.testing.assert_close(torch.from_numpy(ours), model.encoder(x).padded().mean(1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_equals_wav2vec2_of_transformers():
    """Its networks differ in names only: features, projection, positions, norms, blocks."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
    }
    sizes |= {
        "conv_dim": (16, 16, 16),
        "conv_kernel": (2, 3, 2),
        "conv_stride": (2, 3, 2),
        "num_feat_extract_layers": 3,
    }
    sizes |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4}
    theirs = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes)).eval()
    for parameter in theirs.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3)
    config = Wav2Vec2Config(
        widths=(16, 16, 16),
        strides=(2, 3, 2),
        dim=24,
        depth=2,
        heads=4,
        position_kernel=8,
        position_groups=4,
        block=Wav2Vec2Config().block.model_copy(update={"mlp_ratio": 40 / 24}),
    )
    ours = Wav2Vec2(config, 1, (1000,)).eval()
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name != "masked_spec_embed"}
    names = (
        (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"convolutions.\1."),
        (r"^feature_extractor\.conv_layers\.0\.layer_norm\.", "over_time."),
        (r"^feature_projection\.layer_norm\.", "token_norm."),
        (r"^feature_projection\.projection\.", "project."),
        (r"^encoder\.pos_conv_embed\.conv\.", "conv_pos.pos_conv.0."),
        (r"\.attention\.", ".self_attn."),
        (r"^(encoder\.layers\.\d+\.)layer_norm\.", r"\1self_attn_layer_norm."),
        (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
        (r"\.feed_forward\.output_dense\.", ".fc2."),
    )
    tensors = joined("here", renamed("here", renamed("here", state, names), NAMES))
    size, direction = (tensors.pop(f"positions.{part}") for part in ("size", "direction"))
    tensors["positions.weight"] = size * direction / direction.norm(dim=(0, 1), keepdim=True)
    ours.load_state_dict(tensors)
    x = torch.randn(3, 1, 1000)
    torch.testing.assert_close(ours(x).padded(), theirs(x[:, 0])[0], rtol=1e-5, atol=1e-5)
