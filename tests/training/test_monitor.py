"""Watching changes nothing, and every objective is watched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from test_module import Noise, config, fit, objective

from anyjepa.data.pair import Pair
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.next_embedding import NextEmbeddingConfig
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.randomness import generator
from anyjepa.training.logs import read_metrics
from anyjepa.training.module import CollapsedError
from anyjepa.training.monitor import StepSizes, first_samples, monitor


@pytest.mark.parametrize("regulariser", [None, "sigreg"])
def test_watching_every_step_changes_no_bit(tmp_path: Path, regulariser: str | None) -> None:
    models = [objective(regulariser=regulariser) for _ in range(2)]
    for model, every in zip(models, (1, 1000), strict=True):
        fit(model, config(monitor_every=every, log_every=every), Noise(), tmp_path / str(every), progress=False)
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)
    rows = read_metrics(tmp_path / "1" / "metrics.csv")
    assert all(
        {"grad_norm", "update", "input_skill", "attention_entropy", "trivial_mean"} <= row.keys() for row in rows
    )


def test_step_sizes_are_those_of_the_optimiser(tmp_path: Path) -> None:
    """The teacher of this objective moves half of its way to the student, before the next step."""
    fit(objective(), config(monitor_every=1, steps=2), Noise(), tmp_path, progress=False)
    first, second = read_metrics(tmp_path / "metrics.csv")
    assert first["teacher_update"] == 0  # teacher and student were equal
    assert 0 < second["teacher_update"] < first["update"]
    model = objective()
    sizes = StepSizes(model)
    sizes.start()
    with torch.no_grad():
        for parameter in sizes.trained:
            parameter *= 1.25
    model.target.update(model.student, 0.0)
    signs = sizes.finish()
    assert signs["update"] == pytest.approx(0.25, rel=1e-5)
    assert sizes.finish() == {}


def test_the_prediction_of_the_monitor_is_the_loss() -> None:
    model = objective().eval()
    x = torch.randn(8, 2, 100, generator=torch.Generator().manual_seed(0))
    batch = Batch.whole(x, SpanConfig(min_span=2).draw((20,), 8, generator(0, "masks", 0)))
    assert monitor(model, batch)["prediction_distance"] == pytest.approx(model(batch).total().item(), rel=1e-5)
    few = first_samples(batch, 3)
    assert monitor(model, few)["prediction_distance"] == pytest.approx(model(few).total().item(), rel=1e-5)


def test_next_embedding_and_pairs_are_examined() -> None:
    torch.manual_seed(0)
    encoder = {"patch": (5,), "dim": 16, "depth": 1, "heads": 2}
    x, other = torch.randn(2, 8, 2, 100, generator=torch.Generator().manual_seed(0))
    causal = ViTConfig(**encoder, cls=True, causal=True, positions={"kind": "rotary"})  # type: ignore[arg-type]
    model = NextEmbeddingConfig(encoder=causal, horizon=2).build(2, (100,)).eval()
    signs, losses = monitor(model, batch := Batch.whole(x)), model(batch)
    assert signs["prediction_distance"] == pytest.approx(1 + losses.total().item(), rel=1e-5)
    assert "teacher_cosine" not in signs
    pairs = PairedPredictionConfig(encoder=ViTConfig(**encoder), target={"kind": "teacher"}, regulariser=None)
    paired = pairs.build(2, (100,)).eval()
    batch = Batch.whole(x, pair=Pair(other))
    signs = monitor(paired, batch)
    assert signs["prediction_distance"] == pytest.approx(paired(batch).total().item(), rel=1e-5)
    assert signs["teacher_cosine"] == pytest.approx(1)


class Equal(Noise):
    """Records without any difference."""

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((len(indices), 2, 100), np.float32), np.zeros(len(indices))


@pytest.mark.parametrize("stops", [False, True])
def test_a_collapse_is_shown_once_and_stops_a_run_that_asks_for_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], stops: bool
) -> None:
    settings = config(steps=8, monitor_every=1, stop_when_collapsed=stops)
    with pytest.raises(CollapsedError, match="constant input since step 1") if stops else nullcontext():
        fit(objective(), settings, Equal(), tmp_path, progress=not stops)
    assert len(read_metrics(tmp_path / "metrics.csv")) == (3 if stops else 8)
    shown = " ".join(capfd.readouterr().err.split())
    assert shown.count("constant input since step 1") == (0 if stops else 1)
