"""Judge how well a model of two modalities tells a cell's proteins from its expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA

from anyjepa.data.cells.splits import ByCell
from anyjepa.errors import InputError
from anyjepa.evaluation.controls import random_encoder
from anyjepa.evaluation.proteins.judge import Measured, judge_proteins
from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.objectives.base import Weights
from anyjepa.perturbation.methods.representations import BATCH, all_tokens
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model
from anyjepa.runs.screens import asked, keep_answer, keep_map, parts_of
from anyjepa.torch_defaults import torch_defaults

COMPONENTS = 100  # of expression, for the ridge beside


@torch_defaults()
def evaluate_proteins(
    model: str | Path | Run | Model,
    data: Sequence[Path | str] | Path | str = (),
    *,
    weights: Weights | None = None,
    file: Sequence[str] = (),
    resamples: int = 1000,
    progress: Callable[[str], None] = lambda row: None,
) -> ProteinResult:
    """A ridge on the predicted latents of proteins, on the encoder's own tokens, PCA, random weights and expression.

    A run without data, or on what it was trained on, is judged on what its training held out; other data are split by
    cell. A run keeps the result in `proteins/<name>.json`. file: 'key=value' edits of how the file is read. Raises
    InputError for a model without proteins, and if it was trained on tested cells.
    """
    question = asked(model, data, weights, file, "evaluate")
    loaded, run = question.model, question.run
    if loaded.loaded.second is None or loaded.loaded.predictor is None:
        raise InputError(
            f"evaluate: {loaded.loaded.folder} does not predict proteins; --protocol perturbation judges it"
        )
    (done,), other = parts_of(question, ByCell(), 1)
    screen = loaded.preprocessing.fit(question.screen)
    assert screen.proteins is not None, "a model of proteins asks for them"
    train, everyone = np.sort(np.r_[done.train, done.validation]), np.arange(len(screen))
    measured = Measured(
        screen.proteins.names,
        screen.proteins.levels(everyone),
        train,
        done.test,
        donor=None if screen.donor is None else screen.donor.codes,
        cell_type=None if screen.cell_type is None else screen.cell_type.codes,
    )
    notices = other
    if screen.donor is not None and np.intersect1d(screen.donor.codes[train], screen.donor.codes[done.test]).size:
        notices += ("KNOWN DONORS: the ridge was trained on other cells of the tested donors; new donors differ more.",)
    progress("proteins")
    cells = screen.rows(everyone)
    predicted = predict_latents(loaded, cells)
    result = judge_proteins(
        measured,
        {"predicted latents of the proteins": predicted, **_representations(loaded, cells, train)},
        (predicted[done.test], all_tokens(loaded.loaded.second)(measured.levels[done.test])),
        ", ".join(map(str, question.paths)) or "the embedded set",
        resamples,
    ).model_copy(update={"notices": notices})
    if run:
        keep_answer(run.proteins, question, bool(other), result)
        keep_map(run, loaded, screen)
    return result


@torch.inference_mode()
def predict_latents(model: Model, cells: np.ndarray) -> np.ndarray:
    """Expression (n, G) to the predicted tokens of the cells' proteins in a row, (n, tokens * D)."""
    predictor = model.loaded.predictor
    assert predictor is not None
    device = next(model.encoder.parameters()).device
    tokens = torch.from_numpy(all_tokens(model.encoder)(cells)).unflatten(1, (-1, model.dim))
    predictor.to(device).eval()
    return torch.cat([predictor(part.to(device)).flatten(1).cpu() for part in tokens.split(BATCH)]).numpy()


def _representations(model: Model, cells: np.ndarray, train: np.ndarray) -> Mapping[str, np.ndarray]:
    """What stands beside, by name."""
    fitted = PCA(min(COMPONENTS, *cells[train].shape), svd_solver="randomized", random_state=0).fit(cells[train])
    return {
        f"tokens of expression ({model.loaded.weights})": all_tokens(model.encoder)(cells),
        f"PCA of expression ({fitted.n_components_})": fitted.transform(cells),
        "tokens of random weights": all_tokens(random_encoder(model.encoder, 0))(cells),
        "expression itself": cells,
    }
