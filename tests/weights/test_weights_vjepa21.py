"""V-JEPA 2.1 in the official layout, against its definition written out for one input.

The import was also compared with the official code; docs/weights.md says how closely.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import anyjepa
from anyjepa.errors import InputError
from anyjepa.masks.base import Masks
from anyjepa.nn.packing import Layout, Packed
from anyjepa.nn.tokens import token_grid
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.weights.folder import LoadedModel, load_model
from anyjepa.weights.importers import import_weights

DIM, HEADS, WIDTH, PATCH, DEPTH = 56, 2, 28, 8, 12  # heads of 28 dims: four pairs per axis, and two pairs left over
LEVELS = (2, 5, 8, 11)
CLIP, IMAGE = (4, 40, 24), (40, 24)
TEACHER = 40  # width of the network from which a model was distilled


def linear(name: str, out: int, *inputs: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(out, *inputs) * 0.1, f"{name}.bias": torch.randn(out) * 0.3}


def norm(name: str, dim: int) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + torch.randn(dim) * 0.2, f"{name}.bias": torch.randn(dim) * 0.2}


def blocks(prefix: str, dim: int, depth: int) -> dict[str, Tensor]:
    made: dict[str, Tensor] = {}
    for one in (f"{prefix}.{number}" for number in range(depth)):
        made |= norm(f"{one}.norm1", dim) | norm(f"{one}.norm2", dim)
        made |= linear(f"{one}.attn.qkv", 3 * dim, dim) | linear(f"{one}.attn.proj", dim, dim)
        made |= linear(f"{one}.mlp.fc1", 2 * dim, dim) | linear(f"{one}.mlp.fc2", dim, 2 * dim)
    return made


def modality(dim: int) -> dict[str, Tensor]:
    return {f"{name}_mod_embed": torch.randn(1, 1, dim) for name in ("img", "video")}


def checkpoint(distilled: bool = False) -> dict[str, Any]:
    torch.manual_seed(1)
    encoder = blocks("blocks", DIM, DEPTH) | modality(DIM)
    encoder |= linear("patch_embed.proj", DIM, 3, 2, PATCH, PATCH)
    encoder |= linear("patch_embed_img.proj", DIM, 3, 1, PATCH, PATCH)
    for number in range(len(LEVELS)):
        encoder |= norm(f"norms_block.{number}", DIM)
    predictor = blocks("predictor_blocks", WIDTH, 2) | modality(WIDTH) | norm("predictor_norm", WIDTH)
    predictor |= {f"mask_tokens.{number}": torch.randn(1, 1, WIDTH) for number in range(3)}
    out = TEACHER if distilled else 4 * DIM
    predictor |= linear("predictor_proj", out, WIDTH) | linear("predictor_proj_context", out, WIDTH)
    if distilled:
        predictor |= linear("predictor_embed", WIDTH, DIM)
    else:
        predictor |= linear("predictor_embed.0", DIM, 4 * DIM) | linear("predictor_embed.2", WIDTH, DIM)
    other = {"blocks.0.norm1.weight": torch.ones(3)}  # what a distilled model's file says of another network
    networks = {"ema_encoder": encoder, "target_encoder": other} if distilled else {"target_encoder": encoder}
    student = {name: tensor + 1 for name, tensor in encoder.items()}
    networks |= {"encoder": student, "predictor": predictor}
    return {k: {f"module.backbone.{n}": t for n, t in network.items()} for k, network in networks.items()}


class Definition:
    """The published networks for one input, with the names of the checkpoint."""

    def __init__(self, content: dict[str, Any], teacher: str = "target_encoder"):
        self.encoder = {n.removeprefix("module.backbone."): t for n, t in content[teacher].items()}
        self.predictor = {n.removeprefix("module.backbone."): t for n, t in content["predictor"].items()}

    def encode(self, x: Tensor, keep: Tensor | None = None) -> list[Tensor]:
        """x: (3, T, H, W), an image if T is 1 -> the four normalised outputs, (K, D) each."""
        name, kind = ("patch_embed_img", "img") if x.shape[1] == 1 else ("patch_embed", "video")
        weight = self.encoder[f"{name}.proj.weight"]
        tokens = F.conv3d(x, weight, self.encoder[f"{name}.proj.bias"], stride=weight.shape[2:]).flatten(1).T
        tokens = tokens + self.encoder[f"{kind}_mod_embed"][0]
        places = places_of(x, weight.shape[2])
        if keep is not None:
            tokens, places = tokens[keep], places[keep]
        outputs = transformed(self.encoder, "blocks", tokens, places)
        norms = [f"norms_block.{number}" for number in range(len(LEVELS))]
        return [normed(self.encoder, norm, outputs[level]) for norm, level in zip(norms, LEVELS, strict=True)]

    def predict(self, context: Tensor, x: Tensor, seen: Tensor, hidden: Tensor, mask: int) -> Tensor:
        """context: (K, values) of the tokens `seen` of x -> predictions of the tokens `hidden`."""
        kind, time = ("img", 1) if x.shape[1] == 1 else ("video", 2)
        if "predictor_embed.0.weight" in self.predictor:
            inner = F.gelu(projected(self.predictor, "predictor_embed.0", context))
            tokens = projected(self.predictor, "predictor_embed.2", inner)
        else:
            tokens = projected(self.predictor, "predictor_embed", context)
        tokens = torch.cat([tokens, self.predictor[f"mask_tokens.{mask}"][0].expand(len(hidden), -1)])
        tokens = tokens + self.predictor[f"{kind}_mod_embed"][0]
        places = places_of(x, time)[torch.cat([seen, hidden])]
        last = transformed(self.predictor, "predictor_blocks", tokens, places)[-1][len(seen) :]
        return projected(self.predictor, "predictor_proj", normed(self.predictor, "predictor_norm", last))


def places_of(x: Tensor, tube: int) -> Tensor:
    """Frame, row and column of each token; rows and columns go from 0 to 15, whatever their number."""
    frames, rows, columns = x.shape[1] // tube, x.shape[2] // PATCH, x.shape[3] // PATCH
    axes = torch.arange(frames).float(), torch.linspace(0, 15, rows), torch.linspace(0, 15, columns)
    return torch.cartesian_prod(*axes)


def transformed(tensors: dict[str, Tensor], prefix: str, x: Tensor, places: Tensor) -> list[Tensor]:
    outputs = []
    depth = sum(name.startswith(f"{prefix}.") and name.endswith("norm1.weight") for name in tensors)
    for one in (f"{prefix}.{number}" for number in range(depth)):
        qkv = projected(tensors, f"{one}.attn.qkv", normed(tensors, f"{one}.norm1", x))
        q, k, v = qkv.unflatten(1, (3, HEADS, -1)).permute(1, 2, 0, 3)  # (H, N, d)
        attended = F.scaled_dot_product_attention(turned(q, places), turned(k, places), v)
        x = x + projected(tensors, f"{one}.attn.proj", attended.transpose(0, 1).flatten(1))
        inner = F.gelu(projected(tensors, f"{one}.mlp.fc1", normed(tensors, f"{one}.norm2", x)))
        x = x + projected(tensors, f"{one}.mlp.fc2", inner)
        outputs.append(x)
    return outputs


def turned(x: Tensor, places: Tensor) -> Tensor:
    """Neighbours (2 i, 2 i + 1) of a head are a complex number, turned by one frequency of one axis."""
    pairs = x.shape[-1] // 6
    angles = (places[:, :, None] * 10000 ** (-torch.arange(pairs) / pairs)).flatten(1)
    turns = F.pad(torch.polar(torch.ones_like(angles), angles), (0, x.shape[-1] // 2 - 3 * pairs), value=1)
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turns).flatten(-2)


def projected(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def normed(tensors: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6)


@pytest.fixture(scope="module", params=["video", "images"])
def images(request: pytest.FixtureRequest) -> bool:
    return request.param == "images"


@pytest.fixture(scope="module", params=["own", "distilled"])
def distilled(request: pytest.FixtureRequest) -> bool:
    return request.param == "distilled"


@pytest.fixture(scope="module")
def theirs(distilled: bool) -> Definition:
    return Definition(checkpoint(distilled), "ema_encoder" if distilled else "target_encoder")


@pytest.fixture(scope="module")
def ours(distilled: bool, images: bool, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    home = tmp_path_factory.mktemp("vjepa21")
    torch.save(checkpoint(distilled), home / "vjepa2_1_vitb.pt")
    return load_model(import_weights(home / "vjepa2_1_vitb.pt", home / "ours", heads=HEADS, images=images))


@pytest.fixture
def x(images: bool) -> Tensor:
    """(3, T, H, W), T is 1 for images; rows and columns differ in number."""
    return torch.randn(3, *((1, *IMAGE) if images else CLIP), generator=torch.Generator().manual_seed(2))


def for_us(x: Tensor) -> Tensor:
    return x.transpose(0, 1) if x.shape[1] == 1 else x[None]


@torch.inference_mode()
def test_the_encoder_computes_the_same(theirs: Definition, ours: LoadedModel, x: Tensor, images: bool):
    expected = theirs.encode(x)[-1]
    assert (ours.encoder.features(for_us(x))[1][0] - expected).abs().max() < 1e-5
    assert ours.encoder.size == ((384, 384) if images else (64, 384, 384))
    assert ours.preprocessing["side"] == 384


@torch.inference_mode()
def test_context_and_predictions_are_the_same(theirs: Definition, ours: LoadedModel, x: Tensor, distilled: bool):
    grid = token_grid(for_us(x).shape[2:], ours.encoder.config.patch)
    order = torch.randperm(prod(grid), generator=torch.Generator().manual_seed(3))
    seen, hidden = order[:6], order[6:15]
    outputs = theirs.encode(x, seen)
    context = outputs[-1] if distilled else torch.cat(outputs, dim=-1)
    packed = ours.encoder(for_us(x), keep=seen[None])
    assert (packed.values - context).abs().max() < 1e-5
    assert ours.predictor is not None
    predicted = ours.predictor(Packed(context, Layout(1, 6)), seen[None], hidden[None, None], None, grid, group=1)
    assert (predicted - theirs.predict(context, x, seen, hidden, mask=1)).abs().max() < 1e-5


def test_the_student_comes_along(ours: LoadedModel):
    student, teacher = load_model(ours.folder, "student").encoder.state_dict(), ours.encoder.state_dict()
    assert torch.equal(student["norm.bias"], teacher["norm.bias"] + 1)


def test_objectives_predict_all_levels_each_normalised_by_itself(tmp_path: Path):
    """As published; embeddings have the last level only."""
    torch.save(content := checkpoint(), tmp_path / "w.pt")
    model = load_model(import_weights(tmp_path / "w.pt", tmp_path / "ours", heads=HEADS))
    config = model.config.objective
    assert isinstance(config, MaskedPredictionConfig)
    objective = MaskedPrediction(config, 3, CLIP)
    assert objective.teacher is not None
    objective.teacher.encoder.load_state_dict(model.encoder.state_dict())
    x = torch.randn(3, *CLIP)
    targets = objective.teacher(x[None])[0]
    expected = [F.layer_norm(level, (DIM,)) for level in Definition(content).encode(x)]
    assert (targets - torch.cat(expected, dim=-1)).abs().max() < 1e-5
    masks = [Masks(torch.arange(6)[None], torch.arange(10, 15)[None, None])]
    losses = objective(Batch.whole(x[None], masks))
    losses.total().backward()
    gradient = objective.get_parameter("student.level_norms.0.weight").grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("levels", [(1, 0), (0, 0), (2,), (5,)])
def test_levels_are_earlier_blocks_in_order(levels: tuple[int, ...]):
    with pytest.raises(ValueError, match="levels must be numbers of blocks in order, from 0 to 1"):
        ViTConfig(patch=(4,), dim=8, depth=3, heads=2, levels=levels)


def test_a_predictor_of_other_tokens_cannot_train(tmp_path: Path):
    torch.save(checkpoint(distilled=True), tmp_path / "w.pt")
    model = load_model(import_weights(tmp_path / "w.pt", tmp_path / "ours", heads=HEADS))
    with pytest.raises(ValueError, match=r"predictor\.out is 40, but the tokens to predict have 56 values"):
        model.config.objective.build(3, CLIP)


def test_it_embeds_and_is_exported(ours: LoadedModel, images: bool, tmp_path: Path, cli: Any):
    edits = ["side=32"] if images else ["side=32", "frames=4", "stride=2"]
    words = [word for edit in edits for word in ("--set", edit)]
    assert cli("weights", "resize", ours.folder, *words, "-o", tmp_path / "small").code == 0
    model = anyjepa.load(tmp_path / "small")
    shape = (40, 50, 3) if images else (10, 40, 50, 3)
    record = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).numpy().astype("uint8")
    assert model.embed([record]).shape == (1, DIM)
    done = cli("export", tmp_path / "small", "-o", tmp_path / "model.onnx")  # compares outputs with onnxruntime
    assert done.code == 0, done.err
    refused = cli("weights", "export", tmp_path / "small", "-o", tmp_path / "theirs")
    assert refused.code == 2
    assert "encoder.positions" in refused.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, p: e.pop("video_mod_embed"), "tensor 'video_mod_embed' is missing"),
        (lambda e, p: e.pop("patch_embed_img.proj.bias"), "tensor 'patch_embed_img.proj.bias' is missing"),
        (lambda e, p: e.pop("blocks.3.attn.qkv.bias"), "blocks.3.attn.qkv.bias' is missing"),
        (lambda e, p: e.pop("norms_block.2.weight"), "tensor 'norms_block.2.weight' is missing"),
        (
            lambda e, p: [e.pop(n) for n in [*e] if n.startswith("blocks.11.")],
            "has 11 blocks; published encoders have 12, 24",
        ),
        (lambda e, p: e.update({"gate.weight": torch.ones(2)}), "gate.weight' does not belong"),
        (lambda e, p: p.pop("predictor_proj_context.weight"), "tensor 'predictor_proj_context.weight' is missing"),
        (lambda e, p: p.update({"gate.weight": torch.ones(2)}), "gate.weight' does not belong"),
        (
            lambda e, p: p.update({f"mask_tokens.{number}": torch.ones(1, 1, 1) for number in range(3)}),
            "do not have the shapes of V-JEPA 2.1",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, change: Any, message: str):
    content = checkpoint()
    plain = [
        {n.removeprefix("module.backbone."): t for n, t in content[k].items()} for k in ("target_encoder", "predictor")
    ]
    change(*plain)
    torch.save({"target_encoder": plain[0], "predictor": plain[1]}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=message) as error:
        import_weights(tmp_path / "w.pt", tmp_path / "ours", heads=HEADS)
    assert "\n" not in str(error.value)


def test_patches_of_images_are_those_of_their_own_projection(tmp_path: Path):
    content = checkpoint()
    weight = torch.randn(DIM, 3, 1, PATCH // 2, 2 * PATCH)  # as many values as in a square patch
    for network in ("target_encoder", "encoder"):
        content[network]["module.backbone.patch_embed_img.proj.weight"] = weight
    torch.save(content, tmp_path / "w.pt")
    ours = load_model(import_weights(tmp_path / "w.pt", tmp_path / "ours", heads=HEADS, images=True))
    assert ours.encoder.config.patch == (PATCH // 2, 2 * PATCH)


def test_other_layouts_have_no_images(golden: Path, tmp_path: Path):
    with pytest.raises(InputError, match="is in the layout of V-JEPA, which does not need --images; omit it"):
        import_weights(golden / "vjepa" / "jepa-latest.pth.tar", tmp_path / "ours", heads=4, images=True)
