"""Bodies of requests for the tests of serving."""

from __future__ import annotations

import io

import numpy as np

from anyjepa.data.ecg.leads import LEADS

NPZ = {"content-type": "application/x-npz"}
FACTS = {"fs": 100, "leads": list(LEADS), "unit": "mV"}


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
