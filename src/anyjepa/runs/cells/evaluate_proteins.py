"""Evaluate how well a model of two modalities predicts a cell's proteins from its expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA

from anyjepa.data.cells.splits import ByCell
from anyjepa.errors import InputError
from anyjepa.evaluation.controls import random_encoder
from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.evaluation.proteins.scores import MeasuredProteins, score_proteins
from anyjepa.objectives.base import Weights
from anyjepa.perturbation.methods.representations import BATCH, all_tokens
from anyjepa.progress import reported, stage
from anyjepa.runs.cells.inputs import open_screen, save_map, save_result, test_splits
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model
from anyjepa.torch_defaults import torch_defaults

COMPONENTS = 100  # of expression, for the ridge on PCA


@torch_defaults()
def evaluate_proteins(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str = (),
    *,
    weights: Weights | None = None,
    file: Sequence[str] = (),
    resamples: int = 1000,
    progress: Callable[[str], object] | None = None,
) -> ProteinResult:
    """Score a ridge on the predicted latents of proteins, next to one on tokens, PCA, random weights and expression.

    A run without data, or with its own training data, is evaluated on the cells that training held out; other data are
    split by cell. A run saves the result in `proteins/<name>.json`. file: 'key=value' settings for reading the file.
    Raises InputError for a model without proteins, and if the model was trained on test cells.
    """
    inputs = open_screen(model, data, weights, file, "evaluate")
    loaded, run = inputs.model, inputs.run
    if loaded.loaded.second is None or loaded.loaded.predictor is None:
        raise InputError(f"evaluate: {loaded.loaded.folder} does not predict proteins; use --protocol perturbation")
    (split,), other = test_splits(inputs, ByCell(), 1)
    screen = loaded.preprocessing.fit(inputs.screen)
    assert screen.proteins is not None, "find_screen reads proteins for a model of proteins"
    train, everyone = np.sort(np.r_[split.train, split.validation]), np.arange(len(screen))
    measured = MeasuredProteins(
        screen.proteins.names,
        screen.proteins.levels(everyone),
        train,
        split.test,
        donor=None if screen.donor is None else screen.donor.codes,
        cell_type=None if screen.cell_type is None else screen.cell_type.codes,
    )
    notices = other
    if screen.donor is not None and np.intersect1d(screen.donor.codes[train], screen.donor.codes[split.test]).size:
        notices += ("KNOWN DONORS: the ridge was trained on other cells of the test donors; new donors differ more.",)
    with reported(progress), stage("proteins"):
        cells = screen.rows(everyone)
        predicted = predict_latents(loaded, cells)
        result = score_proteins(
            measured,
            {"predicted latents of the proteins": predicted, **_representations(loaded, cells, train)},
            (predicted[split.test], all_tokens(loaded.loaded.second)(measured.levels[split.test])),
            ", ".join(map(str, inputs.paths)) or "the embedded set",
            resamples,
        ).model_copy(update={"notices": notices})
    if run:
        save_result(run.proteins, inputs, bool(other), result)
        save_map(run, loaded, screen)
    return result


@torch.inference_mode()
def predict_latents(model: Model, cells: np.ndarray) -> np.ndarray:
    """Predict the tokens of the cells' proteins from expression (n, G), concatenated per cell: (n, tokens * D)."""
    predictor = model.loaded.predictor
    assert predictor is not None
    device = next(model.encoder.parameters()).device
    tokens = torch.from_numpy(all_tokens(model.encoder)(cells)).unflatten(1, (-1, model.dim))
    predictor.to(device).eval()
    return torch.cat([predictor(part.to(device)).flatten(1).cpu() for part in tokens.split(BATCH)]).numpy()


def _representations(model: Model, cells: np.ndarray, train: np.ndarray) -> Mapping[str, np.ndarray]:
    """The representations that the predicted latents are compared with, by name."""
    fitted = PCA(min(COMPONENTS, *cells[train].shape), svd_solver="randomized", random_state=0).fit(cells[train])
    return {
        f"tokens of expression ({model.loaded.weights})": all_tokens(model.encoder)(cells),
        f"PCA of expression ({fitted.n_components_})": fitted.transform(cells),
        "tokens of random weights": all_tokens(random_encoder(model.encoder, 0))(cells),
        "expression itself": cells,
    }
