"""A model for inputs of another size or rate, to fine-tune it there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from anyjepa.config import validated
from anyjepa.data.modalities import read_preprocessing
from anyjepa.errors import DataWarning, InputError
from anyjepa.recipes.plain import apply_edit
from anyjepa.runs.model import load
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import has_student, load_model, save_model
from anyjepa.weights.model import ModelConfig, Parts
from anyjepa.weights.transfer import transfer


@torch_defaults()
def resize(model: str | Path, edits: Sequence[str], output: Path) -> Path:
    """Write a model with another input: `edits` change its preprocessing, such as 'side=64' or 'fs=250'.

    Weights stay, and learned positions are resampled. Another rate gives a DataWarning. Raises InputError if neither
    size nor rate changes, if the patches do not fit, and for a classifier, whose head read another input.
    """
    loaded = load(model, device="cpu").loaded
    if loaded.config.classifier is not None:
        raise InputError(f"{model}: has a classifier; resize the model that it was trained on, and train it again")
    before = read_preprocessing(loaded.preprocessing, str(loaded.folder / "preprocessing.json"))
    plain = dict(loaded.preprocessing)
    for edit in edits:
        apply_edit(plain, edit)
    preprocessing = read_preprocessing(plain, "--set")
    if (before.size, before.rate) == (preprocessing.size, preprocessing.rate):
        raise InputError(
            f"weights resize: {', '.join(edits) or 'nothing'} changes neither the size nor the rate of inputs"
        )
    if before.rate and preprocessing.rate and before.rate != preprocessing.rate:
        text = (
            f"{model}: was trained at {before.rate:g} Hz; train it further before you use it at {preprocessing.rate:g}"
        )
        warnings.warn(text, DataWarning, stacklevel=3)
    note = f"Resized from inputs of {before.size} by {', '.join(edits)}; not trained since."
    made = loaded.provenance.model_copy(update={"notes": (*loaded.provenance.notes, note)})
    changed = {"size": preprocessing.size, "channels": preprocessing.channels, "provenance": made.model_dump()}
    config = validated(ModelConfig, loaded.config.model_dump() | changed, "weights resize")
    parts = Parts(config)
    for name, part in parts.named_children():
        transfer(str(model), getattr(loaded, name), part)
    student = None
    if has_student(loaded.folder):
        network = Parts(config).encoder
        transfer(str(model), load_model(loaded.folder, "student").encoder, network)
        student = nn.ModuleDict({"encoder": network}).state_dict()
    tensors = parts.state_dict()
    return save_model(output, config, tensors, preprocessing.model_dump(mode="json"), student, loaded.records)
