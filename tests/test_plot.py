"""Pictures of records and embeddings, in Python and on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import Cli
from PIL import Image

import anyjepa
from anyjepa import plot
from anyjepa.errors import InputError
from anyjepa.runs.folder import open_run

RNG = np.random.default_rng(0)


def test_an_ecg_begins_where_it_should() -> None:
    signal = np.zeros((12, 3000))
    signal[:, 2000] = 1.0  # a millivolt after 20 s
    figure = plot.ecg(signal, fs=100, start_s=20)
    trace = max(figure.axes[0].lines, key=lambda line: len(np.asarray(line.get_xdata())))
    assert len(np.asarray(trace.get_xdata())) == 1000  # lead II below the twelve cells
    assert np.ptp(np.asarray(trace.get_ydata())[:2]) == pytest.approx(10)


def test_values_under_a_mask_are_a_gap() -> None:
    values = np.ma.MaskedArray(RNG.normal(size=(1, 50)), np.arange(50)[None] == 7)
    (line,) = plot.series(values).axes[0].lines
    assert np.flatnonzero(np.isnan(np.asarray(line.get_ydata()))).tolist() == [7]


def test_a_tensor_with_a_gradient_is_drawn() -> None:
    assert plot.ecg(torch.zeros(12, 1000, requires_grad=True), fs=100).axes  # type: ignore[arg-type]


def test_an_embedding_has_a_legend_with_the_number_of_each_label() -> None:
    figure = plot.embedding(RNG.normal(size=(40, 5)), ["a"] * 30 + ["b"] * 10)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a (30)", "b (10)"]
    many = plot.embedding(RNG.normal(size=(40, 5)), [str(n // 2) for n in range(40)])
    assert many.legends[0].get_texts()[-1].get_text() == "other"


@pytest.mark.parametrize("shape", [(5, 7), (70, 5, 3), (4, 4, 1)])
def test_an_image_keeps_its_proportions(shape: tuple[int, ...]) -> None:
    figure = plot.image(RNG.integers(0, 256, shape).astype(np.uint8))
    box = figure.axes[0].get_position().bounds
    width, height = figure.get_size_inches() * box[2:]
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: plot.ecg(np.zeros((12, 100)), fs=100, start_s=5), "the record ends before 5 s"),
        (lambda: plot.ecg(np.zeros((12, 100)), fs=100, duration_s=600), "draw at most 60 s"),
        (lambda: plot.ecg(np.zeros((12, 100)), fs=100, start_s=np.inf), "from inf s"),
        (lambda: plot.ecg(np.zeros((999, 100)), fs=100, leads=[f"L{i}" for i in range(999)]), "999 leads are too many"),
        (lambda: plot.series(np.zeros((999, 9))), "999 channels are too many"),
        (lambda: plot.image(np.zeros((4, 4))), "is uint8 with 1 or 3 channels last, not float64"),
        (lambda: plot.clip(np.zeros((0, 4, 4), np.uint8)), "is empty"),
        (lambda: plot.series(np.zeros(5)), "channels, samples"),
        (lambda: plot.embedding(np.full((3, 2), np.nan)), "are finite"),
        (lambda: plot.embedding(np.zeros((3, 2)), ["a"]), "3 features, but 1 labels"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(make, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


def test_the_command_draws_every_kind(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("ecg.npz", signals=RNG.normal(size=(2, 2, 1000)), fs=100.0, leads=np.array(["I", "V5"]))
    np.savez("clip.npz", one=RNG.integers(0, 256, (9, 12, 16)).astype(np.uint8))
    pd.DataFrame(RNG.normal(size=(5, 300))).T.to_csv("series.csv", index=False)
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save("image.png")
    table = pd.DataFrame(RNG.normal(size=(30, 4)), columns=["z0", "z1", "z2", "z3"])
    table.assign(id=range(30), kind=["a", "b"] * 15).to_csv("embedding.csv", index=False)
    for name in ("ecg.npz", "series.csv", "image.png", "clip.npz"):
        kind = name.partition(".")[0]
        assert cli("plot", kind, name, *(["--unit", "mV"] if kind == "ecg" else [])) == (0, f"{kind}-{kind}.png\n", "")
        with Image.open(f"{kind}-{kind}.png") as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100
    assert cli("plot", "embedding", "embedding.csv", "--label", "kind", "-o", "deep/map.svg").code == 0
    assert Path("deep/map.svg").read_text().count("<use") > 30


def test_a_command_that_cannot_draw_is_one_line(cli: Cli, tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("id,x\n1,2\n")
    assert cli("plot", "embedding", table, "-o", tmp_path / "a.png") == (
        2, "", f"anyjepa: {table}: has no columns z0, z1, ...; pass a table that 'anyjepa embed' wrote\n",
    )  # fmt: skip
    assert cli("plot", "image", table, "-o", table).err.endswith("a picture is written as .png, .svg or .pdf\n")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    assert "choose another output" in cli("plot", "image", tmp_path / "a.png", "-o", tmp_path / "a.png").err
    assert cli("plot", "image", tmp_path / "a.png", "--record", "b", "-o", tmp_path / "c.png").code == 2


def test_a_notebook_shows_runs_and_models(tiny_run: Path) -> None:
    run = open_run(tiny_run)
    shown = run._repr_html_()
    assert "<th style='text-align: left'>recipe</th>" in shown
    assert "step 4, loss" in shown
    assert f"Run(&#x27;{tiny_run}&#x27;" in shown
    assert "values per record" in anyjepa.load(run.model)._repr_html_()
