"""What the model's own conditional predictor says of a perturbation, decoded to expression."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from anyjepa.errors import InputError
from anyjepa.nn.encoder import Encoder
from anyjepa.perturbation.methods.head import HeadConfig
from anyjepa.perturbation.methods.representations import BATCH, all_tokens, decoder
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict

Encode = Callable[[frozenset[str]], tuple[np.ndarray, np.ndarray]]
"""What is perturbed to its condition's tokens (1, P, width) and which of them are there (1, P); InputError: unknown."""


def predictor_fit(encoder: Encoder, predictor: nn.Module, encode: Encode, ridge: float = HeadConfig().ridge) -> Fit:
    """A method for the judge that learns nothing but how to read tokens: a ridge from all tokens to expression.

    The change is the mean over control cells of the predicted tokens minus that of their tokens, decoded. predictor:
    tokens (B, N, D), condition, valid -> tokens. No answer for a perturbation that `encode` refuses.
    """

    def fit(train: Effects) -> Predict:
        represent = all_tokens(encoder)
        read = decoder(represent, train, ridge)
        assert train.controls is not None, "a predictor starts from control cells"
        before = represent(train.controls)
        tokens = torch.from_numpy(before).unflatten(1, (-1, encoder.dim))
        device = next(predictor.parameters()).device

        @torch.inference_mode()
        def after(perturbed: frozenset[str]) -> np.ndarray:
            condition, valid = map(torch.from_numpy, encode(perturbed))
            moved: list[Tensor] = []
            for part in tokens.split(BATCH):
                given = (one.expand(len(part), *one.shape[1:]).to(device) for one in (condition, valid))
                moved.append(predictor.eval()(part.to(device), *given).flatten(1).cpu())
            return torch.cat(moved).numpy()

        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
            changes = np.full(control.shape, np.nan)
            for place, one in enumerate(perturbed):
                try:
                    changes[place] = (read(after(one)) - read(before)).mean(0)
                except InputError:
                    continue
            return changes

        return predict

    return fit
