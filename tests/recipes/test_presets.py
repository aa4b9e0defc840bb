"""The published protocols, value by value: the table of the ECG-JEPA code's three evaluation configs."""

from __future__ import annotations

import pytest

from anyjepa.errors import InputError
from anyjepa.evaluation.fitting import FitConfig
from anyjepa.evaluation.protocol import EvaluationConfig
from anyjepa.recipes.presets import load_preset, preset_names
from anyjepa.recipes.schema import merge

# protocol: head, dropout, steps, lr, last lr, warm-up, weight decay, second beta, clip, patience
PUBLISHED = {
    "ecg-linear": ("attentive", 0.0, 5000, 1e-3, 1e-3, 0, 0.1, 0.999, 1.0, 5000),
    "ecg-finetune": ("register", 0.05, 10_000, 1e-3, 1e-5, 200, 0.01, 0.99, None, 2000),
    "ecg-finetune-after-linear": ("attentive", 0.1, 5000, 1e-4, 1e-6, 200, 0.0, 0.999, 1.0, 2000),
}


def config(name: str, fs: float = 500, patch: int = 25) -> EvaluationConfig:
    plain = merge(EvaluationConfig().model_dump(), load_preset(name).settings(fs, patch))
    return EvaluationConfig.model_validate(plain)


def test_they_are_all_there():
    assert preset_names() == sorted(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_value(name):
    head, dropout, steps, lr, final_lr, warmup, weight_decay, beta, clip, patience = PUBLISHED[name]
    found = config(name)
    assert found.preset == name
    windows = found.windows
    assert (windows.length, windows.stride, windows.tail) == (1250, 625, "drop")  # 2.5 s every 1.25 s
    assert windows.starts(5000) == [0, 625, 1250, 1875, 2500, 3125, 3750]
    if name == "ecg-linear":
        assert (found.protocol, found.attentive.crops) == ("attentive", "random")
        fit = found.attentive.fit
    else:
        assert found.protocol == "finetune"
        assert (found.finetune.head.kind, found.finetune.head.bias, found.finetune.head.standardise) == (
            head, False, False,
        )  # fmt: skip
        assert (found.finetune.dropout, found.finetune.after) == (
            dropout, "attentive" if name == "ecg-finetune-after-linear" else None,
        )  # fmt: skip
        fit = found.finetune.fit
    assert fit == FitConfig(
        steps=steps, batch=128, drop_last=True, lr=lr, final_lr=final_lr, warmup=warmup, weight_decay=weight_decay,
        betas=(0.9, beta), eps=1e-8, clip=clip, validate_every=100, patience=patience,
        layer_decay=1, pos_weight=None, ema=None,
    )  # fmt: skip


def test_the_second_stage_begins_where_the_first_ended():
    assert config("ecg-finetune-after-linear").attentive == config("ecg-linear").attentive


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_changes_nothing_of_them(name):
    """They say every key of the training, so that no other value is left from below."""
    plain = load_preset(name).evaluation
    for part in ("attentive", "finetune"):
        if part in plain:
            assert set(plain[part]["fit"]) == set(FitConfig.model_fields) - {"precision"}


def test_windows_are_seconds():
    assert config("ecg-linear", fs=100, patch=10).windows.length == 250
    with pytest.raises(
        InputError, match=r"ecg-linear: 2\.5 s every 1\.25 s are 640 and 320 samples at 256 Hz; windows"
    ):
        config("ecg-linear", fs=256, patch=25)
