"""Start a training from the weights of a model or of a checkpoint of a run."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from anyjepa.data.modalities import modality_of, read_preprocessing
from anyjepa.data.modality import Preprocessing
from anyjepa.errors import DataWarning, InputError
from anyjepa.nn.encoder import Encoder
from anyjepa.objectives.base import Objective
from anyjepa.runs.folder import find_run
from anyjepa.runs.model import load
from anyjepa.weights.folder import has_student, load_model
from anyjepa.weights.model import TrainingRecords
from anyjepa.weights.transfer import check_encoders, check_settings, transfer


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    encoders: by the name of their weights, the model's first; others: predictor and second encoder, where there are;
    preprocessing: None if unknown; records: what they were trained on, None if unknown; text: their origin.
    """

    where: str
    encoders: dict[str, Encoder]
    others: dict[str, nn.Module]
    preprocessing: Preprocessing | None
    records: TrainingRecords | None
    text: str

    def copy_to(self, objective: Objective, encoder_only: bool) -> None:
        """Initialise an objective. encoder_only: its predictor and second encoder stay random. Raises InputError."""
        first = next(iter(self.encoders.values()))
        check_encoders(self.where, first, objective.student)
        for name, encoder in objective.encoders().items():
            transfer(self.where, self.encoders.get(name, first), encoder)
        if encoder_only:
            return
        for name, part in objective.parts().items():
            if name == "encoder":
                continue
            advice = "pass --encoder-only to start without it"
            if name not in self.others:
                raise InputError(f"{self.where}: has no {name}; {advice}")
            old = self.others[name]
            try:
                check_settings(f"{self.where}: {name}", old.config.model_dump(), part.config.model_dump())  # type: ignore[union-attr]
                transfer(self.where, old, part)
            except InputError as error:
                raise InputError(f"{error}, or {advice}") from None

    def check_data(self, preprocessing: Preprocessing, patch: int) -> None:
        """Raise InputError for other channels than those of the weights. A patch of another duration is a DataWarning.

        preprocessing: of the new training data; patch: samples of a token.
        """
        if (before := self.preprocessing) is None:
            return
        if modality_of(before) is not modality_of(preprocessing):
            raise InputError(f"{self.where}: is a model of {modality_of(before).records}")
        for names in ("channel_names", "sample_names"):
            old, new = getattr(before, names), getattr(preprocessing, names)
            if old and new and old != new:
                place = next((i for i, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), len(old))
                theirs, ours = ((*all, "nothing")[min(place, len(all))] for all in (old, new))
                raise InputError(f"{self.where}: its input {place + 1} is {theirs}, here it is {ours}; use the same")
        if before.rate and preprocessing.rate and before.rate != preprocessing.rate:
            was, now = 1000 * patch / before.rate, 1000 * patch / preprocessing.rate
            text = f"{self.where}: a token was {was:g} ms at {before.rate:g} Hz, here it is {now:g} ms"
            warnings.warn(text, DataWarning, stacklevel=3)


def find_start(source: str | Path) -> Start:
    """The weights of a run, a model folder, a Hugging Face id, or a checkpoint in a run's `checkpoints`. InputError."""
    path = Path(source)
    if path.suffix == ".ckpt":
        return _of_checkpoint(path)
    loaded = load(source).loaded
    encoders = {loaded.weights: loaded.encoder.cpu()}
    if has_student(loaded.folder):
        encoders["student"] = load_model(loaded.folder, "student").encoder
    others = {name: part for name in ("predictor", "second") if (part := getattr(loaded, name)) is not None}
    made = loaded.provenance
    steps = "an unknown number of" if made.steps is None else f"{made.steps:,}"
    preprocessing = read_preprocessing(loaded.preprocessing, str(loaded.folder / "preprocessing.json"))
    text = f"{made.recipe or made.origin or loaded.folder.name}, {steps} steps on {made.data}"
    return Start(str(source), encoders, others, preprocessing, loaded.records, text)


def _of_checkpoint(path: Path) -> Start:
    from anyjepa.runs.checkpointed import load_checkpoint  # imports Lightning, which takes seconds

    run = find_run(path.parent.parent)
    if run is None:
        raise InputError(
            f"{path}: is not in the checkpoints of a run; import published ones with anyjepa weights import"
        )
    objective = load_checkpoint(run, path)
    parts = objective.parts()
    parts.pop("encoder")
    finished = load(run.folder).loaded if run.model.is_dir() else None
    preprocessing = finished and read_preprocessing(finished.preprocessing, str(run.model))
    text = f"{run.recipe.name}, {path.stem.replace('-', ' ')}"
    encoders = {str(name): encoder for name, encoder in objective.encoders().items()}
    return Start(str(path), encoders, parts, preprocessing, finished and finished.records, text)
