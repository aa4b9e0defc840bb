"""The log says when a fault begins and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_module import Noise, config, fit, objective


class EqualAtFirst(Noise):
    """Records without any difference in the first four batches."""

    batches = 0

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        x, starts = super().crops(indices, rngs)
        self.batches += 1
        return (np.ones_like(x) if self.batches <= 4 else x), starts


def test_the_log_says_when_a_fault_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data: Any = EqualAtFirst()
    fit(objective(), config(steps=12, monitor_every=1), data, tmp_path, progress=True)
    shown = " ".join(capfd.readouterr().err.split())
    assert shown.count("constant input since step 1") == 1
    assert shown.count("step 5: no sign of constant input any more") == 1
