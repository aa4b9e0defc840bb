"""Masks of some training records, from `artifacts/masks.npz`: what the encoder saw and what it had to predict."""

from __future__ import annotations

from anyjepa.errors import reason
from anyjepa.report.contents import Contents
from anyjepa.report.markup import Html, note
from anyjepa.report.masks_on_pictures import on_pictures
from anyjepa.report.masks_on_signals import on_ecg, on_series

HIDING_NOTHING = {
    "next_embedding": "No tokens were hidden: the model predicts the embedding of a later token from the tokens up to "
    "each position.",
    "paired": "No tokens were hidden: the model predicts the second sample of a pair from the first.",
}


def masks(run: Contents) -> Html:
    """A picture of the masks, or a note if they are missing or cannot be drawn."""
    if run.hides_nothing:
        return note(HIDING_NOTHING[run.objective])
    if run.masks is None:
        return note("There is no picture because artifacts/masks.npz is missing or cannot be read.")
    try:
        kind = str(run.masks.get("kind", "ecg"))
        draw = {"ecg": on_ecg, "series": on_series, "images": on_pictures, "video": on_pictures}[kind]
        return draw(run.masks)
    except Exception as error:  # arrays from other programs can fail anywhere in NumPy or Matplotlib
        return note(f"The masks of artifacts/masks.npz could not be drawn: {reason(error)}")
