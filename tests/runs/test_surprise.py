"""Surprise of a next-embedding model: what is predicted from what, long records, tables, drawings, refusals."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import anyjepa
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, SourceConstants
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.samples import ArraySamples
from anyjepa.errors import InputError
from anyjepa.evaluation.surprise import continuation, predictions, surprise, window_starts
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.positions import RotaryConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction
from anyjepa.runs.applying import ApplyOptions
from anyjepa.runs.predict import surprise_files
from anyjepa.runs.surprise import draw_surprise
from anyjepa.weights.folder import save_pretrained
from anyjepa.weights.model import Provenance


@pytest.fixture(scope="module")
def objective() -> NextEmbeddingPrediction:
    torch.manual_seed(0)
    block = BlockConfig(bias=True, qkv_bias=True, qk_norm="plain", layer_scale=0.5)
    config = ViTConfig(
        patch=(10,), dim=16, depth=2, heads=2, positions=RotaryConfig(), block=block, cls=True, causal=True
    )
    return NextEmbeddingPrediction(NextEmbeddingConfig(encoder=config), 12, (100,)).eval()  # 10 patches, 1 s


@pytest.fixture(scope="module")
def encoder(objective: NextEmbeddingPrediction) -> Encoder:
    return objective.student


@pytest.fixture(scope="module")
def folder(objective: NextEmbeddingPrediction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    constants = EcgPreprocessing(fs=100, samples=100, mean=(0.0,) * 12, std=(1.0,) * 12, absolute_time=True)
    place = tmp_path_factory.mktemp("nepa") / "model"
    return save_pretrained(place, objective, constants.model_dump(mode="json"), Provenance(data="nothing", steps=0))


def signal(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(12, samples)).astype(np.float32)


def one(samples: int, seed: int = 0) -> ArraySamples:
    return ArraySamples(("a",), [signal(samples, seed)])


def test_the_mean_surprise_of_an_input_is_one_plus_its_loss(objective, encoder) -> None:
    """The loss counts the first patch, too, which CLS predicts from nothing."""
    found, x = surprise(encoder, one(100)), torch.tensor(signal(100))[None]
    assert found.token.tolist() == list(range(1, 10))
    first = F.cosine_similarity(encoder.features(x)[0][:, 0], encoder.embed(x)[:, 0]).item()
    assert (found.values.sum() + 1 - first) / 10 == pytest.approx(
        1 + objective(Batch.whole(x)).total().item(), abs=1e-5
    )


@torch.no_grad()
def test_a_longer_horizon_feeds_predictions_back(encoder) -> None:
    """By hand: patch 6 from patches 0 to 3, with two predictions between."""
    window = encoder.embed(torch.tensor(signal(100))[None])  # (1, 10, D)
    tokens = window[:, :4]
    length = tokens.norm(dim=-1).mean()
    for _ in range(2):
        tokens = torch.cat([tokens, F.normalize(encoder.read(tokens, (10,))[:, -1:], dim=-1) * length], 1)
    expected = encoder.read(tokens, (10,))[:, -1]
    found = predictions(encoder, window, 3)  # of patches 3 to 9
    assert found.shape == (1, 7, 16)
    torch.testing.assert_close(found[:, 3], expected)


def test_a_prediction_does_not_see_what_comes(encoder) -> None:
    changed = signal(100)
    changed[:, 60:] += 1
    for horizon in (1, 3):
        before = surprise(encoder, one(100), horizon)
        after = surprise(encoder, ArraySamples(("a",), [changed]), horizon)
        same = before.token < 6
        assert np.array_equal(before.values[same], after.values[same])
        assert not np.allclose(before.values[~same], after.values[~same])


@pytest.mark.parametrize("samples", [50, 100, 109, 150, 237, 400])
@pytest.mark.parametrize("horizon", [1, 4])
def test_every_whole_patch_of_a_record_of_any_length_is_scored_once(encoder, samples: int, horizon: int) -> None:
    found = surprise(encoder, one(samples), horizon)
    assert found.token.tolist() == list(range(horizon, samples // 10))
    assert np.isfinite(found.values).all()
    assert (found.values >= -1e-6).all()


def test_patches_of_a_long_record_know_at_least_half_an_input(encoder) -> None:
    assert window_starts(25, 10) == [0, 5, 10, 15]
    assert window_starts(23, 10) == [0, 5, 10, 13]
    record = signal(200)
    found, window = surprise(encoder, one(200)), surprise(encoder, ArraySamples(("w",), [record[:, 50:150]]))
    np.testing.assert_allclose(found.values[9:14], window.values[4:], atol=1e-6)  # scored by the second input


def test_continuing_is_the_same_as_predicting_what_is_cut_off(encoder) -> None:
    found = continuation(encoder, ArraySamples(("a",), [signal(100)[:, :70]]), 3)
    assert found.shape == (1, 3, 16)
    window = encoder.embed(torch.tensor(signal(100))[None])
    with torch.no_grad():
        first = encoder.read(window[:, :7], (10,))[:, -1]
    assert F.cosine_similarity(torch.tensor(found[:, 0]), first).item() == pytest.approx(1, abs=1e-5)
    long = continuation(encoder, one(1000), 3)  # the last 7 patches are read
    short = continuation(encoder, ArraySamples(("a",), [signal(1000)[:, -70:]]), 3)
    np.testing.assert_allclose(long, short, atol=1e-5)


def test_from_python(folder: Path) -> None:
    model = anyjepa.load(folder)
    (record,) = simulate(SimulatorConfig(patients=1, fs=100, duration_s=5))
    table = model.surprise(record.signal[:, :237], fs=100, leads=LEADS, unit="mV")
    assert list(table.columns) == ["id", "token", "start_s", "surprise"]
    assert len(table) == 22
    assert table["start_s"].iloc[-1] == pytest.approx(2.2)


def test_files(folder: Path, tmp_path: Path) -> None:
    records = simulate(SimulatorConfig(patients=2, fs=100, duration_s=12))
    np.savez(tmp_path / "ecgs.npz", signals=np.stack([r.signal for r in records]), fs=100, leads=np.array(LEADS))
    outputs = {name: tmp_path / name for name in ("found.parquet", "next.csv", "picture.png")}
    count, skipped = surprise_files(
        folder, [tmp_path / "ecgs.npz"], outputs["found.parquet"], 2, ApplyOptions(unit="mV"),
        continued=outputs["next.csv"], draw=outputs["picture.png"],
    )  # fmt: skip
    assert (count, skipped) == (2, {})
    found, expected = pd.read_parquet(outputs["found.parquet"]), pd.read_csv(outputs["next.csv"])
    assert found.groupby("id").size().tolist() == [118, 118]
    assert expected["token"].tolist() == [120, 121] * 2
    assert expected["start_s"].iloc[0] == pytest.approx(12)
    assert "z15" in expected
    assert outputs["picture.png"].read_bytes()[:4] == b"\x89PNG"


def test_records_with_constants_of_their_own_are_drawn_in_mv() -> None:
    (record,) = simulate(SimulatorConfig(patients=1, fs=100, duration_s=5))
    own = SourceConstants(mean=(0.3,) * 12, std=(2.0,) * 12, highpass_hz=None)
    constants = EcgPreprocessing(
        fs=100, samples=100, mean=(0.0,) * 12, std=(1.0,) * 12, clip=None, per_source={record.source: own}
    )
    table = pd.DataFrame({"id": record.id, "token": [1, 2], "start_s": [0.1, 0.2], "surprise": [0.5, 1.0]})
    figure = draw_surprise(constants, 0.1, EcgDataset.from_recordings([record], constants), table)
    drawn = np.asarray(figure.axes[0].lines[0].get_ydata())  # lead I, 10 mm per mV
    assert np.ptp(drawn) == pytest.approx(10 * np.ptp(record.signal[0]), rel=1e-4)


def test_refusals(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"horizon 6: must be from 1 to 5, half of the model's input"):
        surprise(encoder, one(100), 6)
    with pytest.raises(InputError, match="record 'a' has 2 whole patches; horizon 4 needs more"):
        surprise(encoder, one(29), 4)
    with pytest.raises(InputError, match="surprise is written as"):
        surprise_files(folder, [tmp_path], tmp_path / "out.npz", 1)


def test_a_masked_model_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a model of masked prediction; surprise needs a model of next_embedding"):
        surprise_files(tiny_run, [tmp_path], tmp_path / "out.csv", 1)


def test_damaged_weights_are_one_line(encoder) -> None:
    damaged = deepcopy(encoder)
    with torch.no_grad():
        damaged.transformer.blocks[0].mlp.fc1.weight[0] = 3e38
    for read in (surprise, continuation):
        with pytest.raises(
            InputError, match=r"record 'a': the model's output is NaN .* has a value of magnitude 3e\+38"
        ):
            read(damaged, one(100), 1)
