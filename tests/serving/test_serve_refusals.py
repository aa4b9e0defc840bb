"""Whatever a client sends, it gets a status below 500 and one line that names no place of the server."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import pickle
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_bodies import FACTS, NPZ, npz

from anyjepa.runs.model import Model
from anyjepa.serving import app
from anyjepa.serving.hosts import LocalHosts

FLAT = [[0.0] * 400] * 12


def refused(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert detail.isprintable()
    assert "/tmp" not in detail
    assert "Traceback" not in detail
    return detail


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        (b"", 400, "the body is not JSON (EOF while parsing a value at line 1 column 0); write null"),
        (b'{"signals": [[NaN]]}', 400, "the body is not JSON (expected value at line 1 column 15); write null for an"),
        (b"[" * 5000, 400, "the body is not JSON (recursion limit exceeded"),
        (b"[1]", 400, "the body is a JSON list; it must be an object with signals, fs, leads, unit"),
        ({"signal": FLAT, "fs": 100}, 400, "the body: unknown key 'signal'; did you mean 'signals'?"),
        ({"fs": 100}, 400, "the body: 'signals' is missing; it contains the values"),
        ({"signals": [["1", "2"]], "fs": 100}, 400, "signals: must be nested lists of numbers"),
        ({"signals": [[1, 2], [1]], "fs": 100}, 400, "signals: must be nested lists of numbers, whose rows have"),
        ({"signals": FLAT}, 422, "fs: pass the sampling rate of the ECGs in Hz, such as fs=500"),
        ({"signals": FLAT, "fs": 1e9}, 422, "signals: the sampling rate is 1e+09 Hz; an ECG has 25 to 50000 Hz"),
        ({"signals": FLAT, "fs": [1]}, 422, "signals: sampling rate '[1]' is not a number in Hz"),
        ({"signals": FLAT[:3], "fs": 100}, 422, "signals: shape (3, 400) does not match the 12 leads"),
        ({"signals": FLAT[:2], "fs": 100, "leads": ["I", "VX"]}, 422, "record '0': lead 'II' is missing"),
        ({"signals": FLAT[:2], "fs": 100, "leads": ["I", "i"]}, 422, "record '0': lead 'I' occurs more than once"),
        ({"signals": FLAT, "fs": 100, "leads": "I"}, 422, "signals: leads are 'I'; they must be a list of names"),
        ({"signals": FLAT, "fs": 100, "unit": "kg"}, 422, "signals: unit 'kg' is not a voltage"),
        ({"signals": [[None] * 400] * 12, "fs": 100}, 422, "record '0': lead 'I' has no valid samples"),
        ({"signals": [[10**400, 1]], "fs": 100}, 400, "signals: has a number that is too large"),
        ({"signals": [], "fs": 100}, 422, "signals: shape (0,) must be (records, leads, samples)"),
        ({"signals": [[1e30] * 400] * 12, "fs": 100}, 422, "record '0': lead 'I' has values that are infinite"),
        ({"signals": [[1.0] * 3] * 12, "fs": 100}, 422, "record '0': 0.03 s long, one token is 0.1 s"),
    ],
)
def test_json_that_does_not_fit(client, body, status, line):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    detail = refused(client.post("/predict", content=content, headers={"content-type": "application/json"}), status)
    assert detail.startswith(line)


def lying() -> bytes:
    """The header says 4 TB."""
    header, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (12, 10**11)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("signals.npy", header.getvalue() + bytes(72))
    return file.getvalue()


def bomb() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, signals=np.zeros((12, 2_000_000), np.float32), fs=100)
    assert file.tell() < 500_000
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"PK\3\4", "the body: cannot be read as NumPy arrays (File is not a zip file)"),
        (
            npz(signals=np.array([{}], object)),
            "the body: cannot be read as NumPy arrays (Object arrays cannot be",
        ),
        (pickle.dumps(1), "the body: cannot be read as NumPy arrays"),
        (npz(signals=np.zeros((12, 400)), patients=["Doe"], **FACTS), "the body: unknown key 'patients'"),
        (lying(), "the body: cannot be read as NumPy arrays ('signals' of shape (12, 100000000000) takes"),
        (bomb(), "the body: 'signals' needs 192 MB, more than the limit of 128 MB"),
        (npz(fs=100), "the body: 'signals' is missing"),
    ],
)
def test_arrays_that_are_not_read(client, body, line):
    detail = refused(client.post("/embed", content=body, headers=NPZ), 400)
    assert detail.startswith(line)
    assert "ANYJEPA_LIMIT" not in detail


def test_resampling_is_limited(client):
    body = npz(signals=np.zeros((12, 600_000), np.float16), fs=25, leads=FACTS["leads"], unit="mV")
    detail = refused(client.post("/embed", content=body, headers=NPZ), 422)
    assert detail == "a record at 25 Hz resampled to 100 Hz needs 230 MB, more than the limit of 128 MB"
    body = npz(signals=np.zeros((4, 12, 200_000), np.int8), fs=25, leads=FACTS["leads"], unit="mV")
    detail = refused(client.post("/embed", content=body, headers=NPZ), 422)
    assert detail == "preparing the records needs 154 MB, more than the limit of 128 MB"


def test_nested_texts_and_many_records_are_refused_before_they_take_memory(client):
    texts = {"signals": ["a" * 4000, *[""] * 1_000_000], "fs": 100}  # 16 GB as one array
    assert refused(client.post("/embed", json=texts), 400) == "signals: must be nested lists of numbers"
    body = npz(signals=np.zeros((600, 12, 100), np.int8), **FACTS)
    assert refused(client.post("/embed", content=body, headers=NPZ), 413) == "600 records, more than 512; send fewer"


@pytest.mark.parametrize(
    ("headers", "status", "line"),
    [
        ({"content-type": "text/csv"}, 415, "media type 'text/csv': send application/json, application/x-npz"),
        ({}, 415, "media type 'none': send"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415, "the body: is compressed"),
        ({"content-type": "application/json", "accept": "text/html"}, 406, "answers are application/json or"),
        ({"content-type": "application/dicom"}, 400, "the body: is not a DICOM file"),
        ({"content-type": "image/png"}, 415, "media type 'image/png': send"),
    ],
)
def test_headers_that_do_not_fit(client, headers, status, line):
    assert refused(client.post("/embed", content=b"x", headers=headers), status).startswith(line)


def test_addresses_and_options_that_do_not_fit(client, serve, tiny_run, signals):
    assert refused(client.get("/etc/passwd"), 404) == "Not Found"
    assert refused(client.get("/embed"), 405) == "Method Not Allowed"
    for value in ("2", "nan", "x", ""):
        assert refused(client.post(f"/predict?coverage={value}"), 422).startswith("coverage: ")
    with serve("ecg-sim-xs") as encoder:
        assert refused(encoder.post("/predict"), 404) == "this model has no classifier; use /embed"


def test_a_body_is_read_only_up_to_the_limit(serve, classifier):
    with serve(classifier, max_bytes=1000) as client:
        detail = "the body: is larger than 0.001 MB; send fewer or shorter records"
        assert refused(client.post("/embed", content=bytes(1001), headers=NPZ), 413) == detail
        pieces = iter([bytes(600), bytes(600)])  # without Content-Length
        assert refused(client.post("/embed", content=pieces, headers=NPZ), 413) == detail


def test_a_request_has_a_limited_number_of_windows(serve, classifier, signals):
    with serve(classifier, max_windows=3) as client:
        body = npz(signals=signals[0][:, :400].repeat(3, 1), **FACTS)
        assert refused(client.post("/embed", content=body, headers=NPZ), 413) == (
            "5 windows to encode, more than 3; send fewer or shorter records"
        )
        assert client.post("/embed", content=npz(signals=signals[0], **FACTS), headers=NPZ).status_code == 200


def test_too_many_requests_are_told_to_come_again(serve, classifier, signals, monkeypatch):
    body, embed = npz(signals=signals[0], **FACTS), Model.embed_samples
    monkeypatch.setattr(Model, "embed_samples", lambda *arguments: time.sleep(0.5) or embed(*arguments))
    with serve(classifier, queue=2) as client, ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: client.post("/embed", content=body, headers=NPZ), range(6)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 503, 503, 503, 503]
        busy = next(answer for answer in answers if answer.status_code == 503)
        assert refused(busy, 503) == "too many requests at once; try again"
        assert busy.headers["retry-after"] == "1"
        assert client.post("/embed", content=body, headers=NPZ).status_code == 200


def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch):
    async def never() -> dict[str, str]:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(app, "BODY_S", 0.02)
    request = Request({"type": "http", "headers": []}, never)
    with pytest.raises(HTTPException, match=r"408: the body: did not arrive within 0\.02 s"):
        asyncio.run(app._received(request, 1000))


def test_a_fault_is_one_line_for_the_client_and_a_place_in_the_log(client, signals, monkeypatch, caplog):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Jane Doe in /srv/hospital")

    monkeypatch.setattr("anyjepa.runs.model.Model.prepared", fail)
    with caplog.at_level(logging.INFO, "anyjepa.serve"):
        answer = client.post("/embed?patient=Jane", content=npz(signals=signals[0], **FACTS), headers=NPZ)
    assert refused(answer, 500) == "the service failed; its log says where"
    assert "RuntimeError in fail, line" in caplog.text
    assert "/embed 500" in caplog.text
    assert "Jane" not in caplog.text
    monkeypatch.undo()
    assert client.post("/embed", content=npz(signals=signals[0], **FACTS), headers=NPZ).status_code == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True), ("LOCALHOST:8000", True), ("127.0.0.1:8000", True), ("[::1]:8000", True), ("", True),
        ("page.example:8000", False), ("127.0.0.1.page.example", False), ("localhost.page.example", False),
        ("[::1", False), ("a@b", False), ("a@localhost", False), ("localhost/a", False), ("?a", False), ("//a", False),
    ],
)  # fmt: skip
def test_a_local_service_is_asked_by_address_or_as_localhost(client, host, local):
    """A page from elsewhere can make its own name point at this machine."""
    own = TestClient(LocalHosts(client.app))  # not as a context, which would end the service of the other tests
    answer = own.get("/health", headers={"host": host})
    assert answer.status_code == 200 if local else refused(answer, 421)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.fixed_dictionaries({"signals": VALUES}, optional=dict.fromkeys(("fs", "leads", "unit", "x"), VALUES))
ROUTES = st.sampled_from(["/embed", "/predict", "/predict?coverage=0.9"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=OBJECTS | VALUES, route=ROUTES)
def test_any_json_is_answered(client, value, route):
    answer = client.post(route, json=value)
    assert answer.status_code == 200 or refused(answer, answer.status_code)
    assert answer.status_code < 500


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.fixed_dictionaries({}, optional={"fs": VALUES, "leads": VALUES, "unit": VALUES}),
    rows=st.sampled_from([1, 2, 11, 12, 13]),
    samples=st.sampled_from([1, 9, 10, 399, 400, 401, 900]),
)
def test_any_facts_about_a_signal_are_answered(client, value, rows, samples):
    body = {"signals": [[0.5] * samples] * rows, "fs": 100, **value}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200 or refused(answer, answer.status_code)
    assert answer.status_code < 500


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), media=st.sampled_from(["application/x-npz", "application/dicom", "application/json"]))
def test_damaged_bodies_are_answered(client, data, media):
    whole = BODIES[media]
    cut = data.draw(st.integers(0, len(whole)))
    changed = bytearray(whole[:cut] if data.draw(st.booleans()) else whole)
    for _ in range(data.draw(st.integers(0, 4))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    answer = client.post("/embed", content=bytes(changed), headers={"content-type": media})
    assert answer.status_code == 200 or refused(answer, answer.status_code)
    assert answer.status_code < 500


def _dicom() -> bytes:
    from pydicom.data import get_testdata_file

    return Path(str(get_testdata_file("waveform_ecg.dcm", download=False))).read_bytes()


BODIES = {
    "application/x-npz": npz(signals=np.zeros((12, 410), np.int16), **FACTS),
    "application/dicom": _dicom(),
    "application/json": json.dumps({"signals": [[0] * 20] * 12, "fs": 100}).encode(),
}
