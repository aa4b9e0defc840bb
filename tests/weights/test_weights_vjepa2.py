"""V-JEPA 2 in both published layouts, against the forward pass of `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import VJEPA2Config, VJEPA2ForVideoClassification, VJEPA2Model

import anyjepa
from anyjepa.errors import InputError
from anyjepa.nn.packing import Layout, Packed
from anyjepa.weights.folder import LoadedModel, load_model
from anyjepa.weights.importers import import_weights

GRID = (2, 3, 3)
SETTINGS: dict[str, Any] = {  # heads of 20 and 16 dimensions: a third has three or two pairs, and some are left over
    "hidden_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "crop_size": 24,
    "patch_size": 8,
    "frames_per_clip": 4,
    "mlp_ratio": 48 / 11,
    "layer_norm_eps": 1e-5,
    "pred_hidden_size": 48,
    "pred_num_attention_heads": 3,
    "pred_num_hidden_layers": 2,
    "pred_num_mask_tokens": 3,
}


@pytest.fixture(scope="module")
def theirs() -> VJEPA2Model:
    return drawn(VJEPA2Model(VJEPA2Config(**SETTINGS)))


@pytest.fixture(scope="module")
def folder(theirs: VJEPA2Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    theirs.save_pretrained(path := tmp_path_factory.mktemp("vjepa2") / "theirs")
    return path


@pytest.fixture(scope="module")
def ours(folder: Path) -> LoadedModel:
    return load_model(import_weights(folder, folder.parent / "ours"))


def drawn(model: Any) -> Any:
    """The model with random values in every tensor, so that no forgotten one stays unseen."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.randn(tensor.shape) * 0.2 + ("norm" in name and name.endswith("weight")))
    return model.eval()


def clips(frames: int = 4, side: int = 24) -> Tensor:
    return torch.randn(2, 3, frames, side, side, generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def difference(theirs: VJEPA2Model, ours: LoadedModel, x: Tensor) -> float:
    expected = theirs(x.transpose(1, 2), skip_predictor=True).last_hidden_state
    return (ours.encoder.features(x)[1] - expected).abs().max().item()


def test_the_encoder_computes_the_same(theirs: VJEPA2Model, ours: LoadedModel):
    assert difference(theirs, ours, clips()) < 1e-5
    assert (ours.weights, ours.config.size, ours.encoder.grid) == ("teacher", (4, 24, 24), GRID)


def test_so_it_does_for_longer_clips(theirs: VJEPA2Model, ours: LoadedModel):
    """Of another size, not: transformers counts tokens on the grid of its config, unlike the official code."""
    assert difference(theirs, ours, clips(frames=10)) < 1e-5


@torch.inference_mode()
def test_the_predictor_computes_the_same(theirs: VJEPA2Model, ours: LoadedModel):
    """With the second mask token, which is the one that transformers takes."""
    x = clips()
    order = torch.stack([torch.randperm(18, generator=torch.Generator().manual_seed(row)) for row in (3, 4)])
    context, targets = order[:, :7], order[:, 7:12]
    expected = theirs(x.transpose(1, 2), context_mask=[context], target_mask=[targets])
    seen = ours.encoder.features(x)[1].gather(1, context.unsqueeze(-1).expand(-1, -1, 40))
    packed = Packed(seen.flatten(0, 1), Layout(2, 7))
    assert ours.predictor is not None
    predicted = ours.predictor(packed, context, targets.unsqueeze(1), None, GRID, group=1).view(2, 5, 40)
    assert (predicted - expected.predictor_output.last_hidden_state).abs().max() < 1e-5
    blocks = torch.stack([targets, order[:, 12:17]], dim=1)  # two blocks at once, as two calls
    both = ours.predictor(packed, context, blocks, None, GRID, group=1).view(2, 2, 5, 40)
    assert torch.allclose(both[:, 0], predicted, atol=1e-6)
    assert not torch.allclose(both[:, 1], predicted, atol=1e-2)


def official(model: VJEPA2Model) -> dict[str, Any]:
    """A checkpoint of the official code with the weights of `model` as teacher, and random ones as student."""
    names = {
        "embeddings.patch_embeddings": "patch_embed",
        "layer.": "blocks.",
        "attention": "attn",
        "layernorm": "norm",
    }
    state = dict(model.encoder.state_dict())
    teacher = _official(state, names, "")
    names["embeddings.predictor_embeddings"] = "embed"
    state = dict(model.predictor.state_dict())
    tokens = state.pop("embeddings.mask_tokens")
    predictor = _official(state, names, "predictor_")
    predictor |= {f"module.backbone.mask_tokens.{number}": token for number, token in enumerate(tokens)}
    student = {name: torch.randn_like(tensor) for name, tensor in teacher.items()}
    table = {"module.backbone.pos_embed": torch.zeros(1, 18, 40)}
    return {"encoder": student | table, "predictor": predictor, "target_encoder": teacher | table, "epoch": 5}


def _official(state: dict[str, Tensor], names: dict[str, str], prefix: str) -> dict[str, Tensor]:
    made: dict[str, Tensor] = {}
    for name in [name for name in state if ".key." not in name and ".value." not in name]:
        whole = torch.cat([state[name.replace("query", part)] for part in ("query", "key", "value")])
        new = name.replace("query", "qkv")
        for before, after in names.items():
            new = new.replace(before, after)
        made[f"module.backbone.{prefix}{new}"] = whole if ".query." in name else state[name]
    return made


def test_the_official_layout(theirs: VJEPA2Model, ours: LoadedModel, tmp_path: Path, cli: Any):
    torch.save(official(theirs), tmp_path / "vitl.pt")
    with pytest.raises(InputError, match="no published model has the width 40; pass the number of heads with --heads"):
        import_weights(tmp_path / "vitl.pt", tmp_path / "ours")
    model = load_model(import_weights(tmp_path / "vitl.pt", tmp_path / "ours", heads=2))
    assert (model.config.size, model.preprocessing["frames"]) == ((64, 256, 256), 64)
    state = model.encoder.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in ours.encoder.state_dict().items())
    student = load_model(tmp_path / "ours", "student").encoder
    assert not torch.equal(student.state_dict()["norm.weight"], state["norm.weight"])
    edits = [word for edit in ("side=24", "frames=4", "stride=2") for word in ("--set", edit)]
    assert cli("weights", "resize", tmp_path / "ours", *edits, "-o", tmp_path / "small").code == 0
    assert load_model(tmp_path / "small").preprocessing["stride"] == 2
    assert difference(theirs, load_model(tmp_path / "small"), clips()) < 1e-5


def test_a_classifier_gives_its_encoder(theirs: VJEPA2Model, ours: LoadedModel, tmp_path: Path):
    three: dict[str, Any] = {"num_labels": 3}
    classifier = VJEPA2ForVideoClassification(VJEPA2Config(**SETTINGS, **three))
    classifier.vjepa2.load_state_dict(theirs.state_dict())
    classifier.save_pretrained(tmp_path / "theirs")
    model = load_model(import_weights(tmp_path / "theirs", tmp_path / "ours"))
    assert torch.equal(model.encoder.state_dict()["norm.weight"], ours.encoder.state_dict()["norm.weight"])


def test_it_embeds_videos(folder: Path, ours: LoadedModel):
    model = anyjepa.load(ours.folder)
    video = torch.randint(0, 256, (40, 30, 24, 3), generator=torch.Generator().manual_seed(1)).numpy().astype("uint8")
    assert model.embed(video).shape == (1, 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, t: c.update(num_attention_heads=3), "width 40 is not a multiple of 3 heads|do not have the shapes"),
        (lambda c, t: c.update(num_attention_heads=20), "need an even number, 6 or more, of dims per head"),
        (lambda c, t: c.update(hidden_act="relu"), "hidden_act is 'relu'; 'gelu' is supported"),
        (lambda c, t: c.update(layer_norm_eps="x"), "config.json: layer_norm_eps"),
        (lambda c, t: t.pop("encoder.layer.1.attention.key.bias"), "1.attn.key.bias' is missing"),
        (lambda c, t: t.pop("encoder.layer.0.norm1.bias"), "blocks.0.norm1.bias' is missing"),
        (lambda c, t: t.pop("predictor.embeddings.mask_tokens"), "'mask_tokens' is missing"),
        (lambda c, t: t.update({"encoder.gate.weight": torch.ones(2)}), "encoder.gate.weight' does not belong"),
        (lambda c, t: t.update({"decoder.weight": torch.ones(2)}), "'decoder.weight' does not belong to V-JEPA 2"),
    ],
)
def test_what_does_not_fit_is_one_line(folder: Path, tmp_path: Path, change: Any, message: str):
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    change(config, tensors)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=message) as error:
        import_weights(tmp_path, tmp_path / "model")
    assert "\n" not in str(error.value)
