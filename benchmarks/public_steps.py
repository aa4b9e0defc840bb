"""Training steps of the public codes at the size of a recipe, for `step.py`. Checkouts of:

- ECG-JEPA: https://github.com/kweimann/ECG-JEPA (504b4e5)
- I-JEPA: https://github.com/facebookresearch/ijepa (52c1ae9)
- V-JEPA: https://github.com/facebookresearch/jepa (51c59d5)
- NEPA's ECG port: the folder `nepa` of https://github.com/YasserElj/MY_ECG (d28dc90), with transformers==4.56.2

Each step collates samples in memory, draws its masks with the collator of that code, and makes the forward, backward,
optimiser and moving-average steps of its training loop. "shipped" has the settings of that loop; on CPUs it computes in
float32. "tuned" adds bf16 autocast and the fused optimiser. Attention is fused on GPUs only when tuned, because the
backward pass of the fused kernel is several times slower in bf16 on CPUs.
"""

from __future__ import annotations

import copy
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyjepa.recipes.schema import Recipe

Step = Callable[[], object]


def public_steps(checkout: Path, recipe: Recipe, device: torch.device) -> dict[str, Step]:
    """The step of the code in `checkout`, as shipped and tuned."""
    sys.path.insert(0, str(checkout))
    build = next(build for sign, build in METHODS.items() if (checkout / sign).exists())
    with warnings.catch_warnings(action="ignore"):  # old names of torch
        return {name: build(checkout, recipe, device, tuned=name == "tuned") for name in ("shipped", "tuned")}


def ecg_jepa_model(checkout: Path, size: str, device: torch.device) -> tuple[Any, Any]:
    """The public configuration and model of this size, with random weights. The checkout must be on the path."""
    plain = importlib.import_module("yaml").safe_load((checkout / f"configs/pretrain/ViT{size}_all.yaml").read_text())
    config = importlib.import_module("configs").pretrain.Config(**plain)
    made, fused = importlib.import_module("models.JEPA").JEPA, device.type == "cuda"
    return config, made(config, momentum_schedule=iter(lambda: 0.998, None), use_sdp_kernel=fused).to(device)


def ecg_jepa(checkout: Path, recipe: Recipe, device: torch.device, tuned: bool) -> Step:
    config, model = ecg_jepa_model(checkout, recipe.name.split("-")[2].upper(), device)
    optimiser = model.get_optimizer(fused=device.type == "cuda" or tuned)
    collator = importlib.import_module("data.masks").MaskCollator
    collate = collator(config.patch_size, config.min_block_size, config.min_keep_ratio, config.max_keep_ratio)
    samples = list(_noise(recipe))

    def step() -> None:
        x, context, targets = (part.to(device) for part in collate(samples))
        with _autocast(device, tuned):
            loss = model(x, context, targets)
        _update(loss, optimiser)

    return step


def nepa(checkout: Path, recipe: Recipe, device: torch.device, tuned: bool) -> Step:
    """Tuned: also without the checks for NaN in every forward."""
    models = importlib.import_module("models.vit_nepa_ecg")
    prediction_loss = importlib.import_module("models.vit_nepa_ecg.modeling_vit_nepa_ecg").prediction_loss
    config = models.ViTNepaECGConfig.from_pretrained(checkout / "configs/pretrain/nepa-small-ecg")
    model = models.ViTNepaECGForPreTraining(config).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), fused=tuned or None)
    x = _noise(recipe).to(device)

    def step() -> None:
        with _autocast(device, tuned):
            if tuned:
                made = model.vit_nepa(x, is_pretraining=True)
                loss = prediction_loss(made.input_embedding, made.last_hidden_state)
            else:
                loss = model(pixel_values=x).loss
        _update(loss, optimiser, [model])

    return step


def ijepa(checkout: Path, recipe: Recipe, device: torch.device, tuned: bool) -> Step:
    helper: Any = importlib.import_module("src.helper")
    vit: Any = importlib.import_module("src.models.vision_transformer")
    tensors, masking = importlib.import_module("src.utils.tensors"), importlib.import_module("src.masks.utils")
    objective: Any = recipe.objective
    predictor_config, masks, side = objective.predictor, objective.masks, recipe.data.size[0]
    vit.vit_sized = _sized(vit, recipe, in_chans=recipe.data.channels)
    encoder, predictor = helper.init_model(
        device,
        patch_size=objective.encoder.patch[0],
        model_name="vit_sized",
        crop_size=side,
        pred_depth=predictor_config.depth,
        pred_emb_dim=predictor_config.dim,
    )
    target = copy.deepcopy(encoder).requires_grad_(False)
    optimiser = _adamw([encoder, predictor], tuned)
    collate = importlib.import_module("src.masks.multiblock").MaskCollator(
        input_size=(side, side),
        patch_size=objective.encoder.patch[0],
        pred_mask_scale=masks.scale,
        enc_mask_scale=masks.context_scale,
        aspect_ratio=masks.aspect,
        nenc=1,
        npred=masks.targets,
        allow_overlap=False,
        min_keep=min(masks.min_keep, 4),  # the published 10 never ends on 8 x 8 tokens
    )
    samples = [(image, 0) for image in _noise(recipe)]

    def step() -> None:
        (x, _), context, hidden = collate(samples)
        x, context, hidden = x.to(device), [m.to(device) for m in context], [m.to(device) for m in hidden]
        with _autocast(device, tuned or device.type == "cuda"):
            with torch.no_grad():
                h = target(x)
                h = masking.apply_masks(F.layer_norm(h, h.shape[-1:]), hidden)
                h = tensors.repeat_interleave_batch(h, len(x), repeat=len(context))
            loss = F.smooth_l1_loss(predictor(encoder(x, context), context, hidden), h)
        _update(loss, optimiser)
        _follow(target, encoder)

    return step


def vjepa(checkout: Path, recipe: Recipe, device: torch.device, tuned: bool) -> Step:
    utils: Any = importlib.import_module("app.vjepa.utils")
    vit: Any = importlib.import_module("src.models.vision_transformer")
    apply_masks = importlib.import_module("src.masks.utils").apply_masks
    objective: Any = recipe.objective
    frames, side, _ = recipe.data.size
    tube, patch, _ = objective.encoder.patch
    vit.vit_sized = _sized(vit, recipe)
    encoder, predictor = utils.init_video_model(
        device,
        patch_size=patch,
        num_frames=frames,
        tubelet_size=tube,
        model_name="vit_sized",
        crop_size=side,
        pred_depth=objective.predictor.depth,
        pred_embed_dim=objective.predictor.dim,
        uniform_power=True,
        use_mask_tokens=True,
        num_mask_tokens=objective.predictor.mask_tokens,
        use_sdpa=not tuned or device.type == "cuda",
    )
    target = copy.deepcopy(encoder).requires_grad_(False)
    optimiser = _adamw([encoder, predictor], tuned)
    groups = [
        {
            "spatial_scale": group.scale,
            "temporal_scale": (1.0, 1.0),
            "aspect_ratio": group.aspect,
            "num_blocks": group.blocks,
        }
        for group in objective.masks.groups
    ]
    collator = importlib.import_module("src.masks.multiblock3d").MaskCollator
    collate = collator(groups, side, frames, patch, tube)
    samples = list(_noise(recipe))

    def step() -> None:
        x, context, hidden = collate(samples)
        x, context, hidden = x.to(device), [m.to(device) for m in context], [m.to(device) for m in hidden]
        with _autocast(device, tuned or device.type == "cuda"):
            with torch.no_grad():
                h = target(x)
                h = apply_masks(F.layer_norm(h, h.shape[-1:]), hidden, concat=False)
            z = predictor(encoder(x, context), h, context, hidden)
            loss = torch.stack([F.l1_loss(a, b) for a, b in zip(z, h, strict=True)]).mean()
        _update(loss, optimiser, [encoder, predictor], 10.0)
        _follow(target, encoder)

    return step


METHODS = {
    "models/JEPA.py": ecg_jepa,
    "models/vit_nepa_ecg": nepa,
    "src/masks/multiblock3d.py": vjepa,
    "src/masks/multiblock.py": ijepa,
}


def _noise(recipe: Recipe) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(recipe.training.batch_size, recipe.data.channels, *recipe.data.size, generator=generator)


def _sized(vit: Any, recipe: Recipe, **others: Any) -> Any:
    encoder: Any = recipe.objective.encoder
    return partial(
        vit.VisionTransformer,
        embed_dim=encoder.dim,
        depth=encoder.depth,
        num_heads=encoder.heads,
        mlp_ratio=encoder.block.mlp_ratio,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        **others,
    )


def _autocast(device: torch.device, enabled: bool) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _adamw(modules: Iterable[nn.Module], tuned: bool) -> torch.optim.AdamW:
    weights = [p for module in modules for p in module.parameters() if p.requires_grad]
    matrices, rest = [p for p in weights if p.ndim > 1], [p for p in weights if p.ndim == 1]
    return torch.optim.AdamW([{"params": matrices}, {"params": rest, "weight_decay": 0.0}], fused=tuned or None)


def _update(loss: Tensor, optimiser: torch.optim.Optimizer, clipped: Iterable[nn.Module] = (), norm: float = 1) -> None:
    loss.backward()
    for module in clipped:
        nn.utils.clip_grad_norm_(module.parameters(), norm)
    optimiser.step()
    optimiser.zero_grad()
    loss.item()  # waits for the device


@torch.no_grad()
def _follow(target: nn.Module, encoder: nn.Module, momentum: float = 0.998) -> None:
    for old, new in zip(target.parameters(), encoder.parameters(), strict=True):
        old.mul_(momentum).add_(new, alpha=1 - momentum)
