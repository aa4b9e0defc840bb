"""The published protocols, value by value: the ECG-JEPA code's three evaluation configs, and V-JEPA's probe."""

from __future__ import annotations

import pytest

from anyjepa.errors import InputError
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.protocol import EvaluationConfig
from anyjepa.nn.pooling import HeadConfig
from anyjepa.recipes.plain import merge
from anyjepa.recipes.presets import load_preset, preset_names

# protocol: head, dropout, steps, lr, last lr, warm-up, weight decay, second beta, clip, patience
PUBLISHED = {
    "ecg-linear": ("attentive", 0.0, 5000, 1e-3, 1e-3, 0, 0.1, 0.999, 1.0, 5000),
    "ecg-finetune": ("register", 0.05, 10_000, 1e-3, 1e-5, 200, 0.01, 0.99, None, 2000),
    "ecg-finetune-after-linear": ("attentive", 0.1, 5000, 1e-4, 1e-6, 200, 0.0, 0.999, 1.0, 2000),
}


def config(name: str, fs: float | None = 500, patch: int = 25) -> EvaluationConfig:
    plain = merge(EvaluationConfig().model_dump(), load_preset(name).settings(fs, patch))
    return EvaluationConfig.model_validate(plain)


def test_they_are_all_there():
    assert preset_names() == sorted([*PUBLISHED, "vjepa-attentive"])


def test_every_published_value_of_vjepa():
    """16 frames are the model's own; 8 clips a video, one query over all of them, 20 epochs of batch 256."""
    found = config("vjepa-attentive", fs=None, patch=2)
    assert (found.preset, found.protocol) == ("vjepa-attentive", "attentive")
    windows = found.windows.model_copy(update={"length": 16})
    assert (windows.count, windows.stride, windows.starts(86)) == (8, None, [0, 10, 20, 30, 40, 50, 60, 70])
    probe = found.attentive
    assert (probe.crops, probe.head, probe.joint) == ("windows", "attentive-block", True)
    assert probe.settings == HeadConfig(kind="attentive-block", bias=True, norm=None, standardise=False)
    assert probe.fit == FitConfig(
        steps=None, epochs=20, batch=256, drop_last=False, lr=1e-3, final_lr=0, warmup=0, weight_decay=0.01,
        betas=(0.9, 0.999), eps=1e-8, clip=None, validate_every=100, patience=None,
        layer_decay=1, pos_weight=None, ema=None,
    )  # fmt: skip
    assert probe.fit.steps_for(2560) == 200
    assert probe.fit.steps_for(100) == 20  # less than a batch
    assert probe.fit.model_copy(update={"drop_last": True}).steps_for(300) == 20


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


@pytest.mark.parametrize("name", [*PUBLISHED, "vjepa-attentive"])
def test_a_recipe_changes_nothing_of_them(name):
    """They say every key of the training, so that no other value is left from below."""
    plain = load_preset(name).evaluation
    for part in ("attentive", "finetune"):
        if part in plain:
            assert set(plain[part]["fit"]) == set(FitConfig.model_fields) - {"precision"}


def test_windows_are_seconds():
    assert config("ecg-linear", fs=100, patch=10).windows.length == 250
    with pytest.raises(
        InputError, match=r"ecg-linear: windows of 2\.5 s every 1\.25 s are 640 and 320 samples at 256 Hz; windows"
    ):
        config("ecg-linear", fs=256, patch=25)
    with pytest.raises(InputError, match="protocol ecg-linear is for ECGs: its windows are in seconds"):
        config("ecg-linear", fs=None)


def test_training_lasts_steps_or_epochs():
    for wrong in ({"epochs": 3}, {"steps": None}):
        with pytest.raises(ValueError, match="set one of steps and epochs, and set the other to null"):
            FitConfig(**wrong)
