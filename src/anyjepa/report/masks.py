"""What the student saw of training records and what it had to predict, by what `artifacts/masks.npz` holds."""

from __future__ import annotations

from anyjepa.errors import reason
from anyjepa.report.contents import Contents
from anyjepa.report.markup import Html, note
from anyjepa.report.masks_on_pictures import on_pictures
from anyjepa.report.masks_on_signals import on_ecg, on_series

HIDING_NOTHING = {
    "next_embedding": "Nothing was hidden: of every token the embedding of a later one is predicted, from all before "
    "it.",
    "paired": "No token was hidden: of a pair the second is predicted from the first.",
}


def masks(run: Contents) -> Html:
    """A picture of the masks; a note where there are none, or none that can be drawn."""
    if run.hides_nothing:
        return note(HIDING_NOTHING[run.objective])
    if run.masks is None:
        return note("Not drawn: artifacts/masks.npz is missing or not readable.")
    try:
        kind = str(run.masks.get("kind", "ecg"))
        draw = {"ecg": on_ecg, "series": on_series, "images": on_pictures, "video": on_pictures}[kind]
        return draw(run.masks)
    except Exception as error:  # arrays of someone else's can fail anywhere in NumPy or Matplotlib
        return note(f"Not drawn: artifacts/masks.npz does not fit: {reason(error)}")
