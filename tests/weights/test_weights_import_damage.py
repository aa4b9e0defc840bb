"""Damaged weights of every layout: one line, and no model folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from anyjepa.errors import InputError
from anyjepa.weights.importers import IMPORTERS, import_weights, recognised
from anyjepa.weights.source import find_source

SMALL: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 4}
OPTIONS: dict[str, dict[str, Any]] = {
    "nepa": {"statistics": "ptb-xl"},
    "i-jepa": {"heads": 4},
    "v-jepa": {"heads": 4},
    "v-jepa 2": {"heads": 2},
    "timm": {"heads": 2},
}
LAYOUTS = ("ecg-jepa", "i-jepa", "v-jepa", "nepa", "v-jepa 2", "v-jepa 2 folder", "vit", "dinov3", "timm")


@pytest.fixture(scope="module")
def layouts(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file or folder of every layout."""
    home = tmp_path_factory.mktemp("layouts")
    for name, file in (("ecg-jepa", "ecg_jepa/chkpt_2.pt"), ("i-jepa", "ijepa/jepa-latest.pth.tar")):
        shutil.copy(golden / file, home / name)
    shutil.copy(golden / "vjepa" / "jepa-latest.pth.tar", home / "v-jepa")
    shutil.copytree(golden / "nepa_ecg", home / "nepa", ignore=shutil.ignore_patterns("*.bin", "cls"))
    video = transformers.VJEPA2Config(
        **SMALL,
        crop_size=8,
        frames_per_clip=2,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )
    transformers.VJEPA2Model(video).save_pretrained(home / "v-jepa 2 folder")
    image: dict[str, Any] = SMALL | {"image_size": 8, "intermediate_size": 40}
    transformers.ViTModel(transformers.ViTConfig(**image)).save_pretrained(home / "vit")
    transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**image, num_register_tokens=2)).save_pretrained(
        home / "dinov3"
    )
    blocks = {"norm1": (24,), "norm2": (24,), "attn.proj": (24, 24), "mlp.fc1": (40, 24), "mlp.fc2": (24, 40)}
    blocks |= {"attn.qkv": (72, 24)}
    weights = {
        f"blocks.{number}.{name}.{part}": shape[: 1 if part == "bias" else 2]
        for number in range(2)  # one alone could do without the biases that a model may do without
        for name, shape in blocks.items()
        for part in ("weight", "bias")
    }
    weights |= {"norm.weight": (24,), "norm.bias": (24,), "patch_embed.proj.bias": (24,)}
    plain = {name: torch.zeros(shape) for name, shape in weights.items()}
    torch.save(
        plain | {"patch_embed.proj.weight": torch.zeros(24, 3, 4, 4), "pos_embed": torch.ones(1, 4, 24)}, home / "timm"
    )
    clips = {**plain, "patch_embed.proj.weight": torch.zeros(24, 3, 2, 4, 4)}
    names = {"blocks.": "predictor_blocks.", "norm.": "predictor_norm."}
    predictor = {name: tensor for name, tensor in plain.items() if name.startswith("blocks")}
    predictor = {name.replace("blocks.", names["blocks."], 1): tensor for name, tensor in predictor.items()}
    predictor |= {"predictor_embed.weight": torch.zeros(24, 24), "predictor_embed.bias": torch.zeros(24)}
    predictor |= {"predictor_proj.weight": torch.zeros(24, 24), "predictor_proj.bias": torch.zeros(24)}
    predictor |= {"predictor_norm.weight": torch.zeros(24), "predictor_norm.bias": torch.zeros(24)}
    predictor |= {f"mask_tokens.{number}": torch.zeros(1, 1, 24) for number in range(10)}
    torch.save({"encoder": clips, "target_encoder": clips, "predictor": predictor}, home / "v-jepa 2")
    return home


def import_copy(layouts: Path, name: str, folder: Path, change: Any) -> Path:
    """Import a copy of a layout after `change(path, file of the weights)`."""
    copy = folder / "copy"
    if (layouts / name).is_dir():
        shutil.copytree(layouts / name, copy, dirs_exist_ok=True)
    else:
        copy.mkdir(parents=True, exist_ok=True)
        shutil.copy(layouts / name, copy / "weights.pt")
    weights = next(path for path in copy.iterdir() if path.suffix in (".pt", ".safetensors"))
    change(copy, weights)
    source = copy if weights.suffix == ".safetensors" else weights
    return import_weights(source, folder / "model", **OPTIONS.get(name, {}))


def read(weights: Path) -> dict[str, Any]:
    return load_file(weights) if weights.suffix == ".safetensors" else torch.load(weights, weights_only=True)


def write(weights: Path, content: dict[str, Any]) -> None:
    save_file(content, weights) if weights.suffix == ".safetensors" else torch.save(content, weights)


def tensors_of(content: dict[str, Any]) -> dict[str, Any]:
    """The dictionary that holds a network which the model keeps."""
    return next((content[key] for key in ("target_encoder", "model") if key in content), content)


def test_the_undamaged_ones_are_imported(layouts: Path, tmp_path: Path):
    found = {recognised(find_source(layouts / name)).name for name in LAYOUTS}
    assert found == {importer.name for importer in IMPORTERS}
    for name in LAYOUTS:
        assert import_copy(layouts, name, tmp_path / name, lambda *_: None).is_dir()


@given(data=st.data(), name=st.sampled_from(LAYOUTS))
@settings(deadline=None, max_examples=60)
def test_damage_is_one_line(layouts: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str):
    folder = tmp_path_factory.mktemp("damage")
    damage = data.draw(st.sampled_from(["noise", "truncated", "missing", "shape", "type", "nan", "text", "more"]))

    def change(copy: Path, weights: Path) -> None:
        raw = weights.read_bytes()
        if damage == "noise":
            weights.write_bytes(data.draw(st.binary(max_size=200)))
        elif damage == "truncated":
            weights.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
        else:
            content = read(weights)
            tensors = tensors_of(content)
            used = sorted(
                n for n in tensors if "mask_token" not in n and "pooler" not in n and not n.endswith("pos_embed")
            )
            victim = data.draw(st.sampled_from(used))
            if weights.suffix == ".safetensors" and damage == "text":
                tensors[victim] = torch.tensor([116, 101], dtype=torch.uint8)
            elif damage == "missing":
                del tensors[victim]
            elif damage == "more":
                tensors[f"{victim}.more"] = torch.ones(2)
            else:
                tensors[victim] = {
                    "shape": torch.zeros(data.draw(st.lists(st.integers(0, 3), max_size=5))),
                    "type": torch.zeros(tensors[victim].shape, dtype=torch.int64),
                    "nan": torch.full(tensors[victim].shape, torch.nan),
                    "text": "text",
                }[damage]
            write(weights, content)

    with pytest.raises(InputError) as error:
        import_copy(layouts, name, folder, change)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1200
    assert not (folder / "model").exists()


VALUES = st.sampled_from([None, -1, 0, 1, 7, 10**30, 0.5, "x", [], {}, True])


@given(data=st.data(), name=st.sampled_from(["nepa", "v-jepa 2 folder", "vit", "dinov3"]))
@settings(deadline=None, max_examples=40)
def test_any_value_in_a_config_is_one_line_or_fits(
    layouts: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
):
    def change(copy: Path, weights: Path) -> None:
        config = json.loads((copy / "config.json").read_text())
        config[data.draw(st.sampled_from(sorted(config)))] = data.draw(VALUES)
        (copy / "config.json").write_text(json.dumps(config))

    try:
        assert import_copy(layouts, name, tmp_path_factory.mktemp("config"), change).is_dir()
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
