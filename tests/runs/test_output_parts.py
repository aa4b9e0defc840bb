"""Large outputs are computed in parts: a killed command resumes, and writes what an unbroken one writes."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from faults import Faults, in_a_child, killed
from lock_holder import held_elsewhere

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.runs.model import Model

RECORDS, PARTS = 1100, 2


@pytest.fixture(scope="module")
def short(cli, tiny_run, tmp_path_factory) -> Path:
    """Many records of 0.4 s."""
    made = np.concatenate([r.signal for r in simulate(SimulatorConfig(patients=74, fs=100, duration_s=6))], axis=1)
    signals = made[:, : RECORDS * 40].reshape(12, RECORDS, 40).swapaxes(0, 1)
    path = tmp_path_factory.mktemp("short") / "short.npz"
    np.savez(path, signals=signals, fs=100.0, leads=LEADS, unit="mV", ids=[f"r{i}" for i in range(RECORDS)])
    assert cli("embed", tiny_run, path, "-o", path.with_name("first.parquet")).code == 0  # later ones import nothing
    return path


@pytest.fixture(scope="module")
def classifier(tiny_run: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "classifier"
    anyjepa.evaluate(tiny_run, bootstrap=0, name="kept", save_classifier=folder)
    return folder


@pytest.mark.parametrize("name", ["out.parquet", "out.npz", "out.csv"])
def test_a_killed_command_resumes_and_writes_the_same_bytes(cli, tiny_run, short, tmp_path, name):
    for folder in ("whole", "broken"):
        (tmp_path / folder).mkdir()
    with Faults() as faults:
        assert cli("embed", tiny_run, short, "-o", tmp_path / "whole" / name).code == 0
    assert [file.name for file in (tmp_path / "whole").iterdir()] == [name]
    command = ["embed", tiny_run, short, "-o", tmp_path / "broken" / name]
    assert in_a_child(command, Faults(killed, faults.count * 2 // 3)) == 9
    parts = tmp_path / "broken" / f".anyjepa-parts-{name}"
    whole = len([part for part in parts.iterdir() if part.name.isdecimal()])
    assert whole >= 1
    with mock.patch.object(Model, "embed_samples", autospec=True, side_effect=Model.embed_samples) as embed:
        done = cli(*command)
    assert done.out == f"{tmp_path / 'broken' / name}: {RECORDS} records\n"
    assert len(embed.call_args_list) == PARTS - whole
    assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not parts.exists()


def test_vectors_are_those_of_embed(cli, tiny_run, short, tmp_path):
    assert cli("embed", tiny_run, short, "-o", tmp_path / "out.npz").code == 0
    assert cli("embed", tiny_run, short, "-o", tmp_path / "out.parquet").code == 0
    found, table = np.load(tmp_path / "out.npz"), pd.read_parquet(tmp_path / "out.parquet")
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == PARTS
    with np.load(short) as records, warnings.catch_warnings(action="ignore"):  # of low amplitudes
        expected = anyjepa.load(tiny_run).embed(records["signals"][1000:1060], fs=100)
    assert found["id"].tolist() == table["id"].tolist() == [f"r{i}" for i in range(RECORDS)]
    np.testing.assert_allclose(found["embedding"][1000:1060], expected, atol=1e-5)
    assert np.array_equal(table.iloc[:, 2:].to_numpy(), found["embedding"])


def test_windows_of_few_records_are_parts_too(cli, tiny_run, tmp_path):
    signals = np.stack([r.signal for r in simulate(SimulatorConfig(patients=5, fs=100, duration_s=6))])
    np.savez(tmp_path / "x.npz", signals=signals, fs=100.0, leads=LEADS, unit="mV", ids=list("abcde"))
    done = cli("embed", tiny_run, tmp_path / "x.npz", "-o", tmp_path / "x.parquet", "--window", 0.4, "--stride", 0.02)
    assert done.code == 0, done.err
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert len(table) == 5 * 281
    assert table["start_s"][:281].tolist() == pytest.approx(np.arange(281) * 0.02)
    expected = anyjepa.load(tiny_run).embed(signals[4:, :, 200:240], fs=100)[0]
    np.testing.assert_allclose(table.iloc[4 * 281 + 100, 3:].to_numpy(float), expected, atol=1e-5)


def test_predictions_and_their_windows_resume(cli, classifier, short, tmp_path):
    command = ["predict", classifier, short, "-o", tmp_path / "p.parquet", "--windows", tmp_path / "w.parquet"]
    with Faults() as faults:
        assert cli(*command).code == 0
    whole = [(tmp_path / name).read_bytes() for name in ("p.parquet", "w.parquet")]
    assert in_a_child(command, Faults(killed, faults.count * 2 // 3)) == 9
    assert (tmp_path / ".anyjepa-parts-p.parquet").exists()
    assert cli(*command).code == 0
    assert [(tmp_path / name).read_bytes() for name in ("p.parquet", "w.parquet")] == whole
    assert len(pd.read_parquet(tmp_path / "w.parquet")) == len(pd.read_parquet(tmp_path / "p.parquet")) == RECORDS


@pytest.mark.parametrize("change", ["records", "batch", "damage"])
def test_parts_of_another_command_are_not_used(cli, tiny_run, short, tmp_path, change):
    with np.load(short) as arrays:
        records = dict(arrays)
    other = short.with_name("other.npz")
    np.savez(other, **{**records, "signals": records["signals"][::-1]})
    output, parts = tmp_path / "out.parquet", tmp_path / ".anyjepa-parts-out.parquet"
    command = ["embed", tiny_run, short, "-o", output]
    with Faults() as faults:
        assert cli(*command).code == 0
    expected = output.read_bytes()
    assert in_a_child(command, Faults(killed, faults.count - 4)) == 9
    assert len(list(parts.iterdir())) == PARTS + 2  # the key and the lock
    if change == "damage":
        (parts / "key.json").write_bytes(b"{")
    changed = {
        "records": ["embed", tiny_run, other, "-o", output],
        "batch": [*command, "--batch", 63],
        "damage": command,
    }
    with mock.patch.object(Model, "embed_samples", autospec=True, side_effect=Model.embed_samples) as embed:
        assert cli(*changed[change]).code == 0
    assert len(embed.call_args_list) == PARTS
    assert (output.read_bytes() == expected) == (change != "records")


def test_half_precision_changes_vectors_a_little(cli, tiny_run, short, tmp_path):
    for precision in ("32", "bf16"):
        done = cli("embed", tiny_run, short, "-o", tmp_path / f"{precision}.npz", "--precision", precision)
        assert done.code == 0, done.err
    full, half = (np.load(tmp_path / f"{precision}.npz")["embedding"] for precision in ("32", "bf16"))
    assert 0 < np.abs(full - half).max() < 0.2 * np.abs(full).max()


def test_two_commands_do_not_write_one_output(cli, tiny_run, short, tmp_path):
    output, parts = tmp_path / "out.parquet", tmp_path / ".anyjepa-parts-out.parquet"
    parts.mkdir()
    (parts / "key.json").write_text("of the other command")
    with held_elsewhere(parts / ".lock"):
        done = cli("embed", tiny_run, short, "-o", output)
        assert (done.code, done.err.splitlines()[-1]) == (
            2, f"anyjepa: {output}: another command is writing it; wait until it finishes"
        )  # fmt: skip
        assert (parts / "key.json").read_text() == "of the other command"
    assert cli("embed", tiny_run, short, "-o", output).code == 0
    assert list(tmp_path.iterdir()) == [output]


def test_a_damaged_part_is_one_line(cli, tiny_run, short, tmp_path):
    output = tmp_path / "out.parquet"
    with Faults() as faults:
        assert cli("embed", tiny_run, short, "-o", output).code == 0
    assert in_a_child(["embed", tiny_run, short, "-o", output], Faults(killed, faults.count - 4)) == 9
    part = tmp_path / ".anyjepa-parts-out.parquet" / "000000000"
    for spoil in (partial((part / "0.parquet").write_bytes, b"PAR1"), (part / "0.parquet").unlink):
        spoil()
        done = cli("embed", tiny_run, short, "-o", output)
        assert done.code == 2
        assert f"{part}: cannot be read; remove the folder {part.parent} and start again" in done.err
