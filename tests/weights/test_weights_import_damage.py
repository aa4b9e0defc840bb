"""Damaged weights of every layout: one line, and no model folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published_layouts import OPTIONS, source_of, write_layouts
from safetensors.torch import load_file, save_file

from anyjepa.errors import InputError
from anyjepa.weights.ecg_fm import UNUSED
from anyjepa.weights.importers import IMPORTERS, import_weights, recognised
from anyjepa.weights.source import find_source


@pytest.fixture(scope="module")
def layouts(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    write_layouts(golden, home := tmp_path_factory.mktemp("layouts"))
    return home


def import_copy(layouts: Path, name: str, folder: Path, change: Any) -> Path:
    """Import a copy of a layout after `change(copy, file of the weights)`."""
    copy = Path(shutil.copytree(layouts / name, folder / "copy"))
    change(copy, next(path for path in copy.iterdir() if path.suffix in (".pt", ".safetensors")))
    return import_weights(source_of(copy), folder / "model", **OPTIONS[name])


def read(weights: Path) -> dict[str, Any]:
    return load_file(weights) if weights.suffix == ".safetensors" else torch.load(weights, weights_only=True)


def write(weights: Path, content: dict[str, Any]) -> None:
    save_file(content, weights) if weights.suffix == ".safetensors" else torch.save(content, weights)


def tensors_of(content: dict[str, Any]) -> dict[str, Any]:
    """The dictionary that holds a network which the model keeps."""
    return next((content[key] for key in ("target_encoder", "model", "encoder") if key in content), content)


def test_the_undamaged_ones_are_imported(layouts: Path, tmp_path: Path):
    found = {recognised(find_source(source_of(layouts / name))).name for name in OPTIONS}
    assert found == {importer.name for importer in IMPORTERS}
    for name in OPTIONS:
        assert import_copy(layouts, name, tmp_path / name, lambda *_: None).is_dir()


@given(data=st.data(), name=st.sampled_from(list(OPTIONS)))
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
            if name == "ecg-fm":
                used = [name for name in used if not UNUSED.match(name)]
            if name == "v-jepa-2.1":  # the model is for videos
                used = [name for name in used if not name.startswith(("img_", "patch_embed_img."))]
            if name == "dinov3-official":
                used = [name for name in used if name not in ("cls_token", "rope_embed.periods")]
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


@given(data=st.data(), name=st.sampled_from(["nepa", "v-jepa-2-transformers", "vit", "dinov3"]))
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
