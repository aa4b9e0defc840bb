"""Evaluation during training: it changes nothing that is trained, and keeps the best checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import anyjepa
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.tasks import TaskTables
from anyjepa.errors import InputError
from anyjepa.runs.checkpointed import save_checkpointed
from anyjepa.runs.online import online_scores
from anyjepa.training.checkpoints import best_checkpoints, step_of
from anyjepa.training.config import OnlineConfig
from anyjepa.training.logs import read_metrics

ONLINE = {"training.online": {"every": 2, "records": 24}}
LOGGED = {"training.loggers": ["tensorboard"]}


@pytest.fixture(scope="module")
def runs(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("online")
    anyjepa.pretrain(tiny_recipe, output=folder / "without")
    anyjepa.pretrain(tiny_recipe, output=folder / "with", edits={**ONLINE, **LOGGED})
    return folder / "without", folder / "with"


def test_the_same_weights_are_trained_bit_by_bit(runs: tuple[Path, Path]) -> None:
    one, other = (load_file(run / "model" / "model.safetensors") for run in runs)
    assert all(one[name].equal(other[name]) for name in one)
    losses = [[row["loss"] for row in read_metrics(run / "metrics.csv")] for run in runs]
    assert losses[0] == losses[1]


def test_scores_are_logged_at_the_first_step_and_regularly(runs: tuple[Path, Path]) -> None:
    rows = read_metrics(runs[1] / "metrics.csv")
    assert [row["step"] for row in rows if "online_probe" in row] == [1, 2, 4]
    assert all(0 <= row["online_knn"] <= 1 for row in rows if "online_knn" in row)


def test_the_best_checkpoint_is_kept_and_can_be_exported(runs: tuple[Path, Path], tmp_path: Path) -> None:
    (best,) = best_checkpoints(runs[1] / "checkpoints")
    scores = {
        row["step"]: row["online_probe"] for row in read_metrics(runs[1] / "metrics.csv") if "online_probe" in row
    }
    assert scores[step_of(best)] == max(scores.values())
    model = save_checkpointed(runs[1], step_of(best), tmp_path / "best")
    assert anyjepa.load(model).loaded.provenance.steps == step_of(best)
    assert not best_checkpoints(runs[0] / "checkpoints")


def test_tensorboard_gets_scores_signs_and_the_recipe(runs: tuple[Path, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(runs[1].glob("tensorboard/**/events*")).parent))
    events.Reload()
    assert {"loss", "online_probe", "online_knn", "teacher_spread", "input_skill"} <= set(events.Tags()["scalars"])
    (written,) = runs[1].glob("tensorboard/**/hparams.yaml")
    assert "objective.encoder.dim: 16" in written.read_text()


def test_records_in_memory_need_labels(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    short = {"training.steps": 2, "training.batch_size": 8, "training.optimiser.warmup": 1, **ONLINE}
    with pytest.raises(InputError, match=r"training\.online: the data have no labels"):
        anyjepa.pretrain("ijepa-demo", images, tmp_path / "run", edits=short)
    assert not (tmp_path / "run").exists()
    run = anyjepa.pretrain("ijepa-demo", images, tmp_path / "run", edits=short, labels=["cat", "dog"] * 20)
    assert "online_probe" in read_metrics(run.folder / "metrics.csv")[0]


SINUS, BRADYCARDIA = "426783006", "426177001"


@pytest.fixture(scope="module")
def ecgs() -> EcgDataset:
    """60 ECGs: the loud ones have sinus rhythm, the quiet ones bradycardia, and the first 20 both: no single rhythm."""
    recordings, quiet = [], np.random.default_rng(0).integers(0, 2, 60)  # no pattern that a shift would keep
    for number in range(60):
        statements = {SINUS, BRADYCARDIA} if number < 20 else {(SINUS, BRADYCARDIA)[quiet[number]]}
        signal = np.random.default_rng(number).normal(0, 2 / 20 ** quiet[number], (12, 400)).astype(np.float32)
        recordings.append(Recording(str(number), signal, 100, LEADS, statements=frozenset(statements), source="any"))
    return EcgDataset.from_recordings(
        recordings, EcgPreprocessing(fs=100, samples=400, mean=(0.0,) * 12, std=(1.0,) * 12)
    )


@pytest.mark.parametrize("passed", [False, True])
def test_every_record_keeps_its_label_where_some_have_none(ecgs: EcgDataset, tiny_run: Path, passed: bool) -> None:
    """passed: a table in another order than the data."""
    table = ecgs.tables["rhythm"]
    assert len(table) == 40
    backwards = table.rows(np.arange(40)[::-1]) if passed else None
    scores = online_scores(ecgs, OnlineConfig(records=30, task="rhythm"), backwards)
    assert scores(anyjepa.load(tiny_run, device="cpu").encoder) == {"online_probe": 1.0, "online_knn": 1.0}


def test_the_labels_of_a_store_are_not_read(ecgs: EcgDataset) -> None:
    class Stored(EcgDataset):
        @property
        def tasks(self) -> tuple[str, ...]:
            return ("rhythm",)

    stored = Stored(**{**vars(ecgs), "tables": TaskTables(())})
    with pytest.raises(InputError, match=r"^training\.online: the labels of a store are not read in training; set "):
        online_scores(stored, OnlineConfig())
