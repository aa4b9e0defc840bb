"""What is served is what the command line writes for the same records."""

from __future__ import annotations

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from served_bodies import FACTS, NPZ, npz

import anyjepa
from anyjepa.data.samples import Samples
from anyjepa.runs.classifier import classifier_of
from anyjepa.runs.model import Model


def arrays_of(answer) -> dict[str, np.ndarray]:
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content)) as stored:
        return dict(stored)


def test_embeddings_are_those_of_the_command(cli, client, classifier, signals, tmp_path):
    body = npz(signals=np.stack([signal[:, :400] for signal in signals]), **FACTS)
    (tmp_path / "x.npz").write_bytes(body)
    done = cli("embed", classifier, tmp_path / "x.npz", "-o", tmp_path / "out.npz")
    assert done.code == 0, done.err
    with np.load(tmp_path / "out.npz") as written:
        expected = written["embedding"]
    answer = arrays_of(client.post("/embed", content=body, headers=NPZ | {"accept": "application/x-npz"}))
    assert answer["embedding"].dtype == np.float32
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-6)
    lists = client.post("/embed", content=body, headers=NPZ).json()["embedding"]
    np.testing.assert_array_equal(np.float32(lists), answer["embedding"])


@pytest.mark.filterwarnings("ignore:coverage 0.9. too few")
def test_predictions_are_those_of_the_command(cli, client, classifier, signals, tmp_path):
    body = npz(signals=np.stack([signal[:, :690] for signal in signals[8:]]), **FACTS)
    (tmp_path / "x.npz").write_bytes(body)
    done = cli("predict", classifier, tmp_path / "x.npz", "-o", tmp_path / "out.parquet", "--coverage", 0.9)
    assert done.code == 0, done.err
    table = pd.read_parquet(tmp_path / "out.parquet")
    answer = client.post("/predict?coverage=0.9", content=body, headers=NPZ).json()
    assert answer["classes"] == ["even", "third"]
    spelt = {(True, False): "no", (False, True): "yes"}
    for place, name in enumerate(answer["classes"]):
        for key, column in (("probabilities", "probability"), ("decisions", "decision"), ("window_s", "window_s")):
            np.testing.assert_allclose(np.array(answer[key])[:, place], table[f"{name}.{column}"], atol=1e-6)
        answers = [spelt.get(tuple(record[place]), "unsure") for record in answer["sets"]]
        assert answers == table[f"{name}.answer"].tolist()
    np.testing.assert_allclose(answer["typicality"], table["typicality"])
    assert answer["windows"] == table["windows"].tolist()
    warned = done.err.removeprefix("warning: ").splitlines()[0]
    assert any(warned == line for line in answer["warnings"])


def test_exclusive_classes_have_one_answer(serve, signals, exclusive_classifier):
    predictions = anyjepa.load(exclusive_classifier).predict_classes(signals[0], fs=100)
    with serve(exclusive_classifier) as client:
        answer = client.post("/predict?coverage=0.8", json={"signals": signals[0].tolist(), "fs": 100}).json()
    assert answer["class"] == predictions.table()["class"].tolist()
    assert answer["sets"] == predictions.sets(0.8).tolist()
    assert sum(answer["probabilities"][0]) == pytest.approx(1)


def test_other_leads_units_rates_and_gaps_are_read_as_in_python(client, classifier, signals):
    model, rows = anyjepa.load(classifier), [7, 0, 1, 6, 8, 9, 10, 11]
    signal = 1000 * signals[0][rows].astype(float)
    signal[2, 10:14] = np.nan
    leads = [FACTS["leads"][row] for row in rows]
    listed = [[None if np.isnan(value) else value for value in row] for row in signal.tolist()]
    answer = client.post("/embed", json={"signals": listed, "fs": 250, "leads": leads, "unit": "uV"}).json()
    with pytest.warns(anyjepa.DataWarning) as caught:
        expected = model.embed(signal, fs=250, leads=leads, unit="uV")
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-6)
    assert answer["warnings"] == [str(one.message) for one in caught]


def test_records_of_any_length_at_once(client, classifier, signals):
    body = {"signals": [signal.tolist() for signal in signals], "fs": 100}
    answer = client.post("/embed", json=body).json()
    expected = anyjepa.load(classifier).embed(signals, fs=100)
    np.testing.assert_allclose(answer["embedding"], expected, atol=1e-6)


def test_requests_of_a_batch_get_their_own_answers(serve, classifier, signals, monkeypatch):
    sizes, embed = [], Model.embed_samples

    def slow(model: Model, samples: Samples, batch: int) -> np.ndarray:
        sizes.append(len(samples))
        time.sleep(0.2)  # the other requests come in the meantime
        return embed(model, samples, batch)

    monkeypatch.setattr(Model, "embed_samples", slow)
    with serve(classifier, batch=64) as client, ThreadPoolExecutor(12) as threads:
        bodies = [npz(signals=signal, **FACTS) for signal in signals]
        answers = list(threads.map(lambda body: client.post("/embed", content=body, headers=NPZ).json(), bodies))
    assert sum(sizes) == 12
    assert max(sizes) > 1
    monkeypatch.undo()
    expected = anyjepa.load(classifier).embed(signals, fs=100)
    np.testing.assert_allclose([answer["embedding"][0] for answer in answers], expected, atol=1e-6)


def test_a_wrong_unit_is_a_warning(client, signals):
    answer = client.post("/embed", json={"signals": (1000 * signals[0]).tolist(), "fs": 100}).json()
    assert any("wrong unit or gain" in line for line in answer["warnings"])


def test_a_dicom_file_is_read_as_by_the_command(cli, client, classifier, tmp_path):
    from pydicom.data import get_testdata_file

    content = Path(str(get_testdata_file("waveform_ecg.dcm", download=False))).read_bytes()
    (tmp_path / "x.dcm").write_bytes(content)
    done = cli("embed", classifier, tmp_path / "x.dcm", "-o", tmp_path / "out.npz")
    assert done.code == 0, done.err
    answer = client.post("/embed", content=content, headers={"content-type": "application/dicom"})
    with np.load(tmp_path / "out.npz") as written:
        np.testing.assert_allclose(answer.json()["embedding"], written["embedding"], atol=1e-6)


def test_metadata_say_what_a_client_must_know(client, classifier):
    about, config = client.get("/metadata").json(), classifier_of(anyjepa.load(classifier).loaded)
    assert about["model"] == "two-classes"
    assert about["input"]["channels"] == FACTS["leads"]
    assert (about["input"]["fs"], about["input"]["unit"], about["input"]["size"]) == (100, "mV", [12, 400])
    assert about["classes"] == ["even", "third"]
    assert about["thresholds"] == list(config.thresholds or ())
    assert about["coverage"] is about["typicality"] is True
    assert about["versions"]["anyjepa"] == anyjepa.__version__
    assert about["licence"] is None
    assert any("without a validation of your own" in line for line in about["intended_use"])
    assert "It is not a medical device." in about["limits_of_use"]
    assert "secret place" not in json.dumps(about)
    assert client.get("/health").json() == {"status": "ok"}


def test_the_schema_needs_no_other_server(client):
    schema = client.get("/openapi.json")
    body = schema.json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"]["required"] == ["signals"]
    assert set(body) == {"application/json", "application/x-npz", "application/dicom"}
    assert "http://" not in schema.text.replace("https://", "http://")
    assert client.get("/docs").status_code == 404


def test_a_model_without_a_classifier_embeds_only(serve, signals):
    with serve("ecg-sim-xs") as client:
        about = client.get("/metadata").json()
        assert about["classes"] == []
        assert about["licence"] == "Apache-2.0, as the package."
        assert about["intended_use"]
        body = {"signals": signals[0].tolist(), "fs": 100}
        assert len(client.post("/embed", json=body).json()["embedding"][0]) == about["embedding"] == 96
        refused = client.post("/predict", json=body)
        assert (refused.status_code, refused.json()["detail"]) == (404, "this model has no classifier; use /embed")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::anyjepa.errors.DataWarning")  # noise is not data
@pytest.mark.parametrize(
    ("recipe", "key"),
    [("ijepa-demo", "images"), ("vjepa-demo", "videos"), ("series-jepa-demo", "series"), ("perturb-demo", "cells")],
)
def test_every_modality_gives_what_embed_gives(recipe, key, serve, tmp_path):
    edits = {"training.steps": 2} | ({"data.hidden.steps": 2} if recipe == "perturb-demo" else {})
    run = anyjepa.pretrain(recipe, output=tmp_path / "run", edits=edits)
    model, rng = anyjepa.load(run.folder), np.random.default_rng(0)
    of = model.preprocessing
    raw = {
        "images": lambda: rng.integers(0, 256, (2, 40, 50, 3), np.uint8),
        "videos": lambda: rng.integers(0, 256, (1, of.size[0] * 3, 24, 30, 3), np.uint8),
        "series": lambda: rng.normal(size=(2, of.channels, of.size[0])),
        "cells": lambda: np.log1p(rng.poisson(1, (2, *of.size)).astype(float)),
    }[key]()
    expected = model.embed(raw)
    with serve(run.folder) as client:
        for answer in (
            client.post("/embed", content=npz(**{key: raw}), headers=NPZ),
            client.post("/embed", json={key: raw.tolist()}),
        ):
            assert answer.status_code == 200, answer.text
            np.testing.assert_allclose(answer.json()["embedding"], expected, atol=1e-5)
        if key == "images":
            file = io.BytesIO()
            Image.fromarray(raw[0]).save(file, "PNG")
            answer = client.post("/embed", content=file.getvalue(), headers={"content-type": "image/png"}).json()
            np.testing.assert_allclose(answer["embedding"], expected[:1], atol=1e-5)
            floats = client.post("/embed", json={key: (raw[0] / 255).tolist()})
            assert floats.json()["detail"] == "images: pixels must be whole numbers from 0 to 255"
        if key == "cells":
            counts = rng.poisson(2, (2, len(of.genes)))
            named = client.post(
                "/embed", json={"cells": counts[:, ::-1].tolist(), "genes": list(of.genes[::-1])}
            ).json()
            total = counts / counts.sum(1, keepdims=True)
            np.testing.assert_allclose(named["embedding"], model.embed(np.log1p(1e4 * total)), atol=1e-5)
