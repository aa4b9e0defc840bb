"""The settings of the wav2vec 2.0 encoder; tests/golden_parity/test_ecg_fm.py compares what it computes."""

from __future__ import annotations

from typing import Any

import pytest

from anyjepa.nn.wav2vec2 import Wav2Vec2Config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": (2, 2, 2)}, "4 widths, but 3 strides"),
        ({"position_groups": 5}, "width 768 is not a multiple of 5 position_groups"),
        ({"heads": 5}, "width 768 is not a multiple of 5 heads"),
    ],
)
def test_settings_that_do_not_fit_together_are_named(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Wav2Vec2Config(depth=1, **settings).build(12, (2500,))
