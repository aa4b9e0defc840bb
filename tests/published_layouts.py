"""Small published weights, one folder per layout: the file weights.pt, or a Hugging Face folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

SMALL: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 4}
OPTIONS: dict[str, dict[str, Any]] = {  # of `import_weights`, by layout
    "ecg-jepa": {},
    "ecg-jepa-kim": {"heads": 4},
    "ecg-fm": {},
    "i-jepa": {"heads": 4},
    "v-jepa": {"heads": 4},
    "nepa": {"statistics": "ptb-xl"},
    "v-jepa-2": {"heads": 2},
    "v-jepa-2.1": {"heads": 2},
    "v-jepa-2-transformers": {},
    "vit": {},
    "dinov3": {},
    "timm": {"heads": 2},
    "dinov3-official": {},
}


def write_layouts(golden: Path, home: Path) -> None:
    """golden: folder with weights of the official code, in which some of the layouts are."""
    made = (
        "ecg-jepa",
        "ecg-jepa-kim",
        "ecg-fm",
        "i-jepa",
        "v-jepa",
        "v-jepa-2",
        "v-jepa-2.1",
        "timm",
        "dinov3-official",
    )
    for name in made:
        (home / name).mkdir(parents=True)
    shutil.copyfile(golden / "ecg_jepa" / "chkpt_2.pt", home / "ecg-jepa" / "weights.pt")
    shutil.copyfile(golden / "ecg_jepa_kim" / "epoch100.pth", home / "ecg-jepa-kim" / "weights.pt")
    shutil.copyfile(golden / "ecg_fm" / "pretrained.pt", home / "ecg-fm" / "weights.pt")
    shutil.copyfile(golden / "ijepa" / "jepa-latest.pth.tar", home / "i-jepa" / "weights.pt")
    shutil.copyfile(golden / "vjepa" / "jepa-latest.pth.tar", home / "v-jepa" / "weights.pt")
    shutil.copytree(golden / "nepa_ecg", home / "nepa", ignore=shutil.ignore_patterns("*.bin", "cls"))
    torch.manual_seed(0)
    torch.save(_timm(), home / "timm" / "weights.pt")
    torch.save(_dinov3(), home / "dinov3-official" / "weights.pt")
    torch.save(_vjepa2(), home / "v-jepa-2" / "weights.pt")
    torch.save(_vjepa21(), home / "v-jepa-2.1" / "weights.pt")
    image: dict[str, Any] = SMALL | {"image_size": 8, "intermediate_size": 40}
    video: dict[str, Any] = SMALL | {"crop_size": 8, "frames_per_clip": 2, "pred_hidden_size": 24}
    video |= {"pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    for name, model in {
        "v-jepa-2-transformers": transformers.VJEPA2Model(transformers.VJEPA2Config(**video)),
        "vit": transformers.ViTModel(transformers.ViTConfig(**image)),
        "dinov3": transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**image, num_register_tokens=2)),
    }.items():
        model.save_pretrained(home / name)


def source_of(folder: Path) -> Path:
    """What to import: the file of a checkpoint, or the folder."""
    checkpoint = folder / "weights.pt"
    return checkpoint if checkpoint.is_file() else folder


def _blocks(prefix: str, depth: int = 2) -> dict[str, Tensor]:
    """At least two blocks, because one alone could do without the biases that a model may do without."""
    layers = {"norm1": (24,), "norm2": (24,), "attn.qkv": (72, 24), "attn.proj": (24, 24), "mlp.fc1": (40, 24)}
    layers |= {"mlp.fc2": (24, 40)}
    return {
        f"{prefix}.{number}.{name}.{part}": torch.randn(shape if part == "weight" else shape[:1]) * 0.1
        for number in range(depth)
        for name, shape in layers.items()
        for part in ("weight", "bias")
    }


def _linear(name: str, *shape: int) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(shape) * 0.1, f"{name}.bias": torch.randn(shape[:1])}


def _timm() -> dict[str, Tensor]:
    projection = _linear("patch_embed.proj", 24, 3, 4, 4)
    return {**_blocks("blocks"), **_linear("norm", 24), **projection, "pos_embed": torch.randn(1, 4, 24)}


def _dinov3() -> dict[str, Tensor]:
    made = _timm() | {"cls_token": torch.zeros(1, 1, 24), "rope_embed.periods": 100.0 ** (torch.arange(3) / 3)}
    del made["pos_embed"]
    return made


def _vjepa2() -> dict[str, dict[str, Tensor]]:
    projection = _linear("patch_embed.proj", 24, 3, 2, 4, 4)
    encoder = {**_blocks("blocks"), **_linear("norm", 24), **projection}
    predictor = {**_blocks("predictor_blocks"), **_linear("predictor_norm", 24)}
    predictor |= {**_linear("predictor_embed", 24, 24), **_linear("predictor_proj", 24, 24)}
    predictor |= {f"mask_tokens.{number}": torch.zeros(1, 1, 24) for number in range(10)}
    return {"encoder": encoder, "target_encoder": encoder, "predictor": predictor}  # which share their memory


def _vjepa21() -> dict[str, dict[str, Tensor]]:
    encoder = {**_blocks("blocks", 12), **_linear("patch_embed.proj", 24, 3, 2, 8, 8)}
    encoder |= _linear("patch_embed_img.proj", 24, 3, 1, 8, 8)
    for number in range(4):
        encoder |= _linear(f"norms_block.{number}", 24)
    predictor = {**_blocks("predictor_blocks"), **_linear("predictor_norm", 24), **_linear("predictor_embed.0", 24, 96)}
    predictor |= {**_linear("predictor_embed.2", 24, 24), **_linear("predictor_proj", 96, 24)}
    predictor |= {**_linear("predictor_proj_context", 96, 24), "mask_tokens.0": torch.zeros(1, 1, 24)}
    for network in (encoder, predictor):
        network |= {f"{kind}_mod_embed": torch.randn(1, 1, 24) for kind in ("img", "video")}
    return {"target_encoder": encoder, "predictor": predictor}
