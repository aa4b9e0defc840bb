"""Tables of the predictions of a next-embedding model and of the surprise at each patch; surprise drawn on an ECG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.modality import Preprocessing
from anyjepa.data.samples import Samples
from anyjepa.errors import InputError
from anyjepa.evaluation.surprise import BATCH, continuation, surprise
from anyjepa.nn.vit import ViT
from anyjepa.objectives.next_embedding import NextEmbeddingConfig
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.folder import LoadedModel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN_S = 10.0  # duration that is drawn


def check_predicts(loaded: LoadedModel, preprocessing: Preprocessing) -> tuple[ViT, EcgPreprocessing]:
    """Encoder and preprocessing of a model that predicts the next patch of an ECG. Raises InputError for others."""
    where, config = loaded.folder, loaded.config.objective
    if not isinstance(config, NextEmbeddingConfig):
        raise InputError(f"{where}: is a model of {config.kind} prediction; surprise needs a model of next_embedding")
    if config.horizon != 1 or not isinstance(loaded.encoder, ViT) or not loaded.encoder.config.causal:
        raise InputError(f"{where}: does not predict the next patch (objective.horizon 1, causal); surprise needs that")
    if not isinstance(preprocessing, EcgPreprocessing):
        raise InputError(f"{where}: is not a model of ECGs; surprise is computed for ECGs only")
    return loaded.encoder, preprocessing


@torch_defaults()
def surprise_table(
    loaded: LoadedModel, preprocessing: Preprocessing, samples: Samples, horizon: int = 1, batch: int = BATCH
) -> pd.DataFrame:
    """One row per patch: id, token (its number), start_s, surprise.

    samples: prepared by `preprocessing`. batch: windows that are encoded together. Raises InputError, see
    `check_predicts`.
    """
    import pandas as pd

    encoder, own = check_predicts(loaded, preprocessing)
    if not len(samples):
        raise InputError("there are no records whose surprise could be computed")
    scores = surprise(encoder, samples, horizon, batch)
    return pd.DataFrame(
        {
            "id": np.array(samples.ids, object)[scores.record],
            "token": scores.token,
            "start_s": scores.token * (encoder.config.patch[0] / own.fs),
            "surprise": scores.values,
        }
    )


@torch_defaults()
def continuation_table(
    loaded: LoadedModel, preprocessing: Preprocessing, samples: Samples, horizon: int
) -> pd.DataFrame:
    """One row per expected patch: id, token, start_s, z0 ... Raises InputError, see `check_predicts`."""
    import pandas as pd

    encoder, own = check_predicts(loaded, preprocessing)
    fs, patch = own.fs, encoder.config.patch[0]
    vectors = continuation(encoder, samples, horizon)  # (N, horizon, D)
    token = np.array([samples[i].shape[1] // patch for i in range(len(samples))])[:, None] + np.arange(horizon)
    names = {"id": np.repeat(np.array(samples.ids, object), horizon), "token": token.ravel()}
    columns = pd.DataFrame(vectors.reshape(-1, vectors.shape[-1]), columns=[f"z{i}" for i in range(vectors.shape[-1])])
    return pd.concat([pd.DataFrame({**names, "start_s": token.ravel() * (patch / fs)}), columns], axis=1)


def draw_surprise(preprocessing: EcgPreprocessing, token_s: float, samples: Dataset, table: pd.DataFrame) -> Figure:
    """Draw the 10 s around the most surprising patch on ECG paper, with a darker background for more surprise.

    token_s: duration of a patch, s. table: from `surprise_table`. White is the median over the patches of the record,
    and full blue is the maximum. Voltages are those that the model sees, including clipping.
    """
    from anyjepa.data.ecg.paper import MARGIN_MM, SPEED_MM_S, draw_ecg

    top = table.loc[table["surprise"].idxmax()]
    own: Any = table[table["id"] == top["id"]]
    place = samples.ids.index(top["id"])
    standardised = samples[place]
    signal = preprocessing.restore(standardised, samples.source[place])
    last = max(0.0, signal.shape[1] / preprocessing.fs - SHOWN_S)
    start_s = np.floor(min(max(float(top["start_s"]) - SHOWN_S / 2, 0.0), last) / token_s) * token_s
    middle = own["surprise"].median()
    title = f"{top['id']} from {start_s:.2f} s; surprise: {middle:.2f} (white) to {top['surprise']:.2f} (blue)"
    if preprocessing.clip is not None and (np.abs(standardised) >= preprocessing.clip).any():
        title += f"; clipped at {preprocessing.clip:g} standard deviations, as the model sees it"
    shown = signal[:, round(start_s * preprocessing.fs) :]
    figure = draw_ecg(shown, preprocessing.fs, preprocessing.leads, layout="rows", duration_s=SHOWN_S, title=title)
    for _, patch in own[own["start_s"].between(start_s - 1e-9, start_s + SHOWN_S - token_s + 1e-9)].iterrows():
        strength = (patch["surprise"] - middle) / max(top["surprise"] - middle, 1e-9)
        if strength > 0:
            x = MARGIN_MM + (patch["start_s"] - start_s) * SPEED_MM_S
            figure.axes[0].axvspan(
                x, x + token_s * SPEED_MM_S, color="#1050d0", alpha=0.6 * strength, linewidth=0, zorder=0.5
            )
    return figure
