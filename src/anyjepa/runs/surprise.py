"""Tables of what a next-embedding model expects and of how surprising each patch is; surprise drawn over an ECG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.errors import InputError
from anyjepa.evaluation.samples import Samples
from anyjepa.evaluation.surprise import continuation, surprise
from anyjepa.torch_defaults import torch_defaults

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from anyjepa.runs.model import Model

SHOWN_S = 10.0  # of a drawing


def check_predicts(model: Model) -> None:
    """InputError for a model that does not predict the next patch of an ECG."""
    where, config = model.loaded.folder, model.loaded.config
    if config.objective.kind != "next_embedding":
        raise InputError(f"{where}: is a model of {config.objective.kind} prediction; surprise needs next_embedding")
    if config.objective.horizon != 1 or not model.encoder.config.causal:
        raise InputError(f"{where}: does not predict the next patch (objective.horizon 1, causal); surprise needs that")
    if not isinstance(model.preprocessing, EcgPreprocessing):
        raise InputError(f"{where}: is a model of {model.preprocessing.kind}; surprise is for ECGs")


@torch_defaults()
def surprise_table(model: Model, samples: Samples, horizon: int = 1) -> pd.DataFrame:
    """One row a patch: id, token (its number), start_s, surprise. Raises InputError, see `check_predicts`."""
    import pandas as pd

    check_predicts(model)
    if not len(samples):
        raise InputError("there are no records whose surprise could be computed")
    found = surprise(model.encoder, samples, horizon)
    return pd.DataFrame(
        {
            "id": np.array(samples.ids, object)[found.record],
            "token": found.token,
            "start_s": found.token * _token_s(model),
            "surprise": found.values,
        }
    )


@torch_defaults()
def continuation_table(model: Model, samples: Samples, horizon: int) -> pd.DataFrame:
    """One row an expected patch: id, token, start_s, z0 ... Raises InputError, see `check_predicts`."""
    import pandas as pd

    check_predicts(model)
    vectors = continuation(model.encoder, samples, horizon)  # (N, horizon, D)
    patch = model.encoder.config.patch[0]
    token = np.array([samples[i].shape[1] // patch for i in range(len(samples))])[:, None] + np.arange(horizon)
    names = {"id": np.repeat(np.array(samples.ids, object), horizon), "token": token.ravel()}
    columns = pd.DataFrame(vectors.reshape(-1, model.dim), columns=[f"z{i}" for i in range(model.dim)])
    return pd.concat([pd.DataFrame({**names, "start_s": token.ravel() * _token_s(model)}), columns], axis=1)


def draw_surprise(model: Model, samples: Samples, table: pd.DataFrame) -> Figure:
    """The 10 s around the most surprising patch on ECG paper; the darker a patch's ground, the more surprising.

    table: of `surprise_table`. White is the median of the record's patches, full blue its largest. Voltages are those
    that the model sees: where it clips them, they are clipped.
    """
    from anyjepa.data.ecg.paper import MARGIN_MM, SPEED_MM_S, draw_ecg

    constants, token_s = model.preprocessing, _token_s(model)
    top = table.loc[table["surprise"].idxmax()]
    own: Any = table[table["id"] == top["id"]]
    standardised = samples[samples.ids.index(top["id"])]
    signal = standardised * np.array(constants.std)[:, None] + np.array(constants.mean)[:, None]
    last = max(0.0, signal.shape[1] / constants.fs - SHOWN_S)
    start_s = np.floor(min(max(float(top["start_s"]) - SHOWN_S / 2, 0.0), last) / token_s) * token_s
    middle = own["surprise"].median()
    title = f"{top['id']} from {start_s:.2f} s; surprise: {middle:.2f} (white) to {top['surprise']:.2f} (blue)"
    if (np.abs(standardised) >= constants.clip).any():
        title += f"; clipped at {constants.clip:g} standard deviations, as the model sees it"
    shown = signal[:, round(start_s * constants.fs) :]
    figure = draw_ecg(shown, constants.fs, constants.leads, layout="rows", duration_s=SHOWN_S, title=title)
    for _, patch in own[own["start_s"].between(start_s - 1e-9, start_s + SHOWN_S - token_s + 1e-9)].iterrows():
        strength = (patch["surprise"] - middle) / max(top["surprise"] - middle, 1e-9)
        if strength > 0:
            x = MARGIN_MM + (patch["start_s"] - start_s) * SPEED_MM_S
            figure.axes[0].axvspan(
                x, x + token_s * SPEED_MM_S, color="#1050d0", alpha=0.6 * strength, linewidth=0, zorder=0.5
            )
    return figure


def _token_s(model: Model) -> float:
    return model.encoder.config.patch[0] / model.preprocessing.fs
