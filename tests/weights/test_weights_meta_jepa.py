"""Import of official I-JEPA and V-JEPA checkpoints; that the numbers are theirs is in tests/golden_parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.errors import InputError
from anyjepa.weights.folder import load_model
from anyjepa.weights.foreign import read_foreign
from anyjepa.weights.importers import import_weights
from anyjepa.weights.inspection import inspect_weights
from anyjepa.weights.meta_jepa import TITLES, convert
from anyjepa.weights.model import fit_parts


@pytest.fixture
def ijepa(golden: Path) -> dict:
    return read_foreign(golden / "ijepa" / "jepa-latest.pth.tar")


@pytest.fixture
def vjepa(golden: Path) -> dict:
    return read_foreign(golden / "vjepa" / "jepa-latest.pth.tar")


def test_images(golden: Path, tmp_path: Path):
    model = load_model(import_weights(golden / "ijepa" / "jepa-latest.pth.tar", tmp_path / "model", heads=4))
    objective = model.config.objective
    assert (model.config.size, model.config.channels, model.weights) == ((32, 32), 3, "teacher")
    assert (objective.encoder.patch, objective.encoder.dim, objective.predictor.dim) == ((4, 4), 48, 24)
    assert (objective.masks.kind, objective.target.update, objective.distance.kind) == ("blocks", "after", "smooth_l1")
    preprocessing = ImagePreprocessing.model_validate(model.preprocessing)
    assert (preprocessing.size, preprocessing.channels) == ((32, 32), 3)
    assert (preprocessing.mean, preprocessing.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_video(golden: Path, tmp_path: Path):
    model = load_model(import_weights(golden / "vjepa" / "jepa-latest.pth.tar", tmp_path / "model", heads=4))
    objective = model.config.objective
    assert (model.config.size, objective.encoder.patch) == ((8, 32, 32), (2, 8, 8))
    assert (objective.encoder.positions.axes, objective.predictor.mask_tokens) == ("even", 2)
    assert (objective.masks.kind, objective.distance.kind) == ("tubes", "l1")
    assert (model.preprocessing["kind"], model.preprocessing["frames"]) == ("video", 8)


def test_heads_are_those_of_the_published_size(ijepa: dict):
    with pytest.raises(InputError, match=r"no published model has the width 48; .* --heads"):
        convert("file", ijepa)
    made = convert("file", ijepa, heads=5)
    with pytest.raises(InputError, match="width 48 is not a multiple of 5 heads"):
        fit_parts("file", made.config, made.tensors)


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("target_encoder", "module.pos_embed", None, "tensor 'pos_embed' is missing"),
        (
            "target_encoder",
            "module.pos_embed",
            torch.zeros(1, 64, 48),
            "its 64 positions are not",
        ),
        (
            "target_encoder",
            "module.pos_embed",
            torch.zeros(1, 63, 48),
            "its 63 positions are not",
        ),
        ("target_encoder", "module.pos_embed", torch.zeros(3), "do not have the shapes of I-JEPA"),
        ("target_encoder", "module.norm.weight", "text", "'module.norm.weight' is a str; it must be a tensor"),
        ("target_encoder", "module.norm.weight", None, "norm.weight"),
        ("target_encoder", "module.norm.weight", torch.ones(48).to_sparse(), "'module.norm.weight' is sparse"),
        ("target_encoder", "module.norm.weight", torch.ones(48, device="meta"), "'module.norm.weight' is sparse"),
        (
            "target_encoder",
            "module.patch_embed.proj.weight",
            torch.ones(0, 3, 4, 4),
            "do not have the shapes of I-JEPA",
        ),
        ("target_encoder", "norm.weight", torch.ones(48), "tensor 'norm.weight' occurs twice"),
        ("target_encoder", 5, torch.ones(48), "5 is not the name of a tensor"),
        ("predictor", "module.mask_token", None, "tensor 'mask_tokens' is missing"),
        ("predictor", "module.mask_token", torch.zeros(()), "do not have the shapes of I-JEPA"),
        ("encoder", "module.more.weight", torch.zeros(3), "more.weight"),
    ],
)
def test_what_does_not_fit_is_one_line(ijepa: dict, tmp_path: Path, part: str, name: str | int, value, message: str):
    if value is None:
        del ijepa[part][name]
    else:
        ijepa[part][name] = value
    torch.save(ijepa, tmp_path / "broken.pth.tar")
    with pytest.raises(InputError, match=message) as error:
        import_weights(tmp_path / "broken.pth.tar", tmp_path / "model", heads=4)
    assert "\n" not in str(error.value)


def test_inspection_names_the_importer(golden: Path):
    for layout in ("ijepa", "vjepa"):
        found = inspect_weights(golden / layout / "jepa-latest.pth.tar")
        assert (found["importer"], found["fits"]) == (TITLES[layout], False)
        assert "--heads" in str(found["problem"])  # these small ones are of no published size
