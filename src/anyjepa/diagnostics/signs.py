"""What each sign means, with its unit and its source."""

from __future__ import annotations

from typing import NamedTuple


class Sign(NamedTuple):
    """One measured quantity. of_encoder: its column starts with the name of the representation, such as teacher_."""

    meaning: str  # with its unit
    source: str = ""
    of_encoder: bool = False


SIGNS = {
    "std": Sign("Deviation of a dimension over samples, mean over dimensions; 0 if all inputs look alike.", "", True),
    "spread": Sign(
        "Deviation between samples at the same position, as a share of the vectors' length; 0 if inputs look alike.",
        "",
        True,
    ),
    "between": Sign(
        "Share of the deviation of tokens that is between samples; near 0 if tokens say only where they are.", "", True
    ),
    "dead": Sign("Share of dimensions that hardly vary over samples.", "", True),
    "rank": Sign("Effective number of directions of the mean tokens (RankMe).", "Garrido et al. 2023", True),
    "token_rank": Sign("The same of all tokens, without the means of each position.", "Garrido et al. 2023", True),
    "alpha": Sign(
        "Exponent of the decay of the eigenvalues (alpha-ReQ); large if few directions dominate.",
        "Agrawal et al. 2022",
        True,
    ),
    "lidar": Sign(
        "Directions that tell samples apart better than two views of a sample (LiDAR).", "Thilak et al. 2024", True
    ),
    "uniformity": Sign(
        "Log of the mean similarity on the unit sphere: 0 if all are equal, else negative.",
        "Wang and Isola 2020",
        True,
    ),
    "teacher_cosine": Sign("Cosine of the teacher's and the student's tokens; 1 if they are equal."),
    "prediction": Sign("Distance of predictions and targets, in units of the loss, on the samples of the other signs."),
    "trivial_mean": Sign("The same if the mean of all targets is predicted."),
    "trivial_position": Sign("The same if the mean target of each position is predicted."),
    "trivial_neighbour": Sign("The same if the token before is repeated, or of pairs the first sample."),
    "input_skill": Sign(
        "Correlation of predictions and targets over samples at the same position; 0 if the input is ignored."
    ),
    "position_skill": Sign(
        "Correlation of predictions and targets over positions of a sample; 0 if the position is ignored."
    ),
    "attention_entropy": Sign(
        "Entropy of attention, share of the largest; 0: one token gets all, 1: all tokens get the same."
    ),
    "grad_norm": Sign("Length of the gradient before clipping."),
    "update": Sign("Length of an optimiser step, as a share of the length of the weights."),
    "teacher_update": Sign("The same of the teacher."),
    "input_mean": Sign("Mean of the prepared inputs."),
    "input_std": Sign("Deviation of the prepared inputs."),
    "input_between": Sign("Share of the inputs' deviation that is between samples; 0 if all are equal."),
    "zero_weights": Sign("Share of the encoder's weight matrices that are zero throughout."),
}


def sign_of(column: str) -> Sign | None:
    """The sign that a column of metrics.csv holds; None for other columns."""
    if column in SIGNS and not SIGNS[column].of_encoder:
        return SIGNS[column]
    _, _, name = column.partition("_")
    return SIGNS[name] if name in SIGNS and SIGNS[name].of_encoder else None
