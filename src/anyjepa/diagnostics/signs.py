"""What each sign means, with its unit and its source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Sign(NamedTuple):
    """One measured quantity. of_encoder: its column starts with the name of the representation, such as teacher_."""

    meaning: str  # with its unit
    source: str = ""
    of_encoder: bool = False


SIGNS = {
    "std": Sign("Standard deviation over samples, averaged over dimensions; 0 if all inputs look alike.", "", True),
    "spread": Sign(
        "Standard deviation between samples at a position, as a share of the vectors' length; 0 if they look alike.",
        "",
        True,
    ),
    "between": Sign(
        "Share of the tokens' deviation that lies between samples; near 0 if tokens say only where they are.", "", True
    ),
    "dead": Sign("Share of dimensions that hardly vary over samples.", "", True),
    "rank": Sign("Effective rank of the mean tokens (RankMe).", "Garrido et al. 2023", True),
    "token_rank": Sign("The same for all tokens, without the mean of each position.", "Garrido et al. 2023", True),
    "alpha": Sign(
        "Exponent of the decay of the covariance's eigenvalues (alpha-ReQ); large if few directions dominate.",
        "Agrawal et al. 2022",
        True,
    ),
    "lidar": Sign(
        "Effective rank of the directions that separate samples rather than views (LiDAR).", "Thilak et al. 2024", True
    ),
    "uniformity": Sign(
        "Logarithm of the mean similarity on the unit sphere: 0 if all are equal, else negative.",
        "Wang and Isola 2020",
        True,
    ),
    "teacher_cosine": Sign("Cosine similarity of the teacher's and the student's tokens; 1 if they are equal."),
    "prediction_distance": Sign(
        "Distance between predictions and targets, in units of the loss, on the samples of the other signs."
    ),
    "trivial_mean": Sign("The same if the mean of all targets is predicted."),
    "trivial_position": Sign("The same if the mean target of each position is predicted."),
    "trivial_neighbour": Sign("The same if the previous token is repeated; for pairs, the first sample."),
    "input_skill": Sign(
        "Correlation of predictions and targets over samples at the same position; 0 if the input is ignored."
    ),
    "position_skill": Sign(
        "Correlation of predictions and targets over positions of a sample; 0 if the position is ignored."
    ),
    "attention_entropy": Sign(
        "Entropy of attention, as a share of the largest; 0: one token gets all, 1: all tokens get the same."
    ),
    "grad_norm": Sign("Norm of the gradient before clipping."),
    "update": Sign("Norm of an optimiser step, as a share of the norm of the weights."),
    "teacher_update": Sign("The same for the teacher."),
    "input_mean": Sign("Mean of the prepared inputs."),
    "input_std": Sign("Standard deviation of the prepared inputs."),
    "input_between": Sign("Share of the inputs' deviation that lies between samples; 0 if all are equal."),
    "zero_weights": Sign("Share of the encoder's weight matrices that contain only zeros."),
}


def sign_of(column: str) -> Sign | None:
    """The sign that a column of metrics.csv holds; None for other columns."""
    if column in SIGNS and not SIGNS[column].of_encoder:
        return SIGNS[column]
    _, _, name = column.partition("_")
    return SIGNS[name] if name in SIGNS and SIGNS[name].of_encoder else None


def main_columns(columns: Iterable[str]) -> list[str]:
    """The columns of metrics.csv to show side by side: loss, scores during training, and the most telling signs."""
    columns = list(columns)
    scores = [name for name in columns if name.startswith("online_")]
    signs = [name for name in columns if name.endswith(("_spread", "_token_rank", "input_skill"))]
    return [*(["loss"] if "loss" in columns else []), *scores, *signs]
