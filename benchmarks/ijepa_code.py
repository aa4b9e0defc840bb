"""The public I-JEPA code's own training loop, on batches that this project makes; for other scripts here.

git clone https://github.com/facebookresearch/ijepa PATH
"""

from __future__ import annotations

import logging
import sys
import types
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from anyjepa.recipes.schema import Recipe


def train_public_code(
    checkout: Path,
    recipe: Recipe,
    loader: Callable[[Callable[..., Any]], Any],
    folder: Path,
    *,
    epochs: int = 1,
    warmup: float = 0.0,
    start_lr: float = 1e-3,
) -> Path:
    """The network, masks and batch size of the recipe in the loop of the checkout, as shipped; its last checkpoint.

    That is bf16 autocast (CUDA's: on a CPU it computes in float32), DDP of one process, layer-normed targets, smooth
    L1. `loader` is given the collator and stands for the data loader: a length, an iterator, `sampler.set_epoch`; so
    torchvision is not needed.
    """
    sys.path.insert(0, str(checkout))
    transforms, data = types.ModuleType("src.transforms"), types.ModuleType("src.datasets.imagenet1k")
    transforms.make_transforms = lambda **_: None  # type: ignore[attr-defined]

    def make_imagenet1k(collator: Callable[..., Any], **_: Any) -> tuple[None, Any, Any]:
        made = loader(collator)
        return None, made, made.sampler

    data.make_imagenet1k = make_imagenet1k  # type: ignore[attr-defined]
    sys.modules |= {"src.transforms": transforms, "src.datasets.imagenet1k": data}
    with warnings.catch_warnings(action="ignore"):  # old names of torch
        from src.models import vision_transformer  # type: ignore[import-not-found]

        from src import train  # type: ignore[import-not-found]

        objective: Any = recipe.objective
        encoder, predictor, masks = objective.encoder, objective.predictor, objective.masks
        vision_transformer.vit_cifar10 = partial(
            vision_transformer.VisionTransformer,
            embed_dim=encoder.dim,
            depth=encoder.depth,
            num_heads=encoder.heads,
            mlp_ratio=4,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        )
        logging.disable(logging.INFO)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rendezvous").unlink(missing_ok=True)
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        where = f"file://{(folder / 'rendezvous').resolve()}"
        torch.distributed.init_process_group(backend, init_method=where, rank=0, world_size=1)
        train.main(
            {
                "meta": {
                    "use_bfloat16": True,
                    "model_name": "vit_cifar10",
                    "load_checkpoint": False,
                    "read_checkpoint": None,
                    "copy_data": False,
                    "pred_depth": predictor.depth,
                    "pred_emb_dim": predictor.dim,
                },
                "data": {
                    "use_gaussian_blur": False,
                    "use_horizontal_flip": False,
                    "use_color_distortion": False,
                    "color_jitter_strength": 0.0,
                    "batch_size": recipe.training.batch_size,
                    "pin_mem": False,
                    "num_workers": 0,
                    "root_path": "",
                    "image_folder": "",
                    "crop_size": recipe.data.size[0],
                    "crop_scale": [1.0, 1.0],
                },
                "mask": {
                    "allow_overlap": False,
                    "patch_size": encoder.patch[0],
                    "num_enc_masks": 1,
                    "min_keep": masks.min_keep,
                    "enc_mask_scale": masks.context_scale,
                    "num_pred_masks": masks.targets,
                    "pred_mask_scale": masks.scale,
                    "aspect_ratio": masks.aspect,
                },
                "optimization": {
                    "ema": [0.996, 1.0],
                    "ipe_scale": 1.0,
                    "weight_decay": 0.05,
                    "final_weight_decay": 0.05,
                    "epochs": epochs,
                    "warmup": warmup,
                    "start_lr": start_lr,
                    "lr": 1e-3,
                    "final_lr": 1e-5,
                },
                "logging": {"folder": str(folder), "write_tag": "ijepa"},
            }
        )
        torch.distributed.destroy_process_group()
    return folder / "ijepa-latest.pth.tar"
