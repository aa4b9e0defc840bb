"""Text that is made to slow a parser down takes time in proportion to its length, not to the square of it.

Before, each of these took minutes to hours of processor time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from anyjepa.data.cells.controls import resolve
from anyjepa.data.cells.files import CellFileConfig, from_anndata
from anyjepa.data.ecg.leads import canonical_leads
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.st_petersburg import _PERSON
from anyjepa.data.ecg.vendors.dicom import _lead
from anyjepa.data.tables.cells import clean_column
from anyjepa.data.tables.table import open_table
from anyjepa.errors import InputError
from anyjepa.runs.formulas import guard

DIGITS = "1" * 400_000
MOST_S = 8.0


def header(folder: Path, text: str) -> None:
    (folder / "r.hea").write_text(text)
    (folder / "r.dat").write_bytes(bytes(20_000))
    with pytest.raises(InputError, match=r"r\.(hea|dat): "):
        read(folder)


def table(folder: Path, text: str) -> None:
    (folder / "t.csv").write_text(text)
    file = open_table(folder / "t.csv")
    with pytest.raises(InputError, match="is not a number"):
        file.read(["a"]).numbers(["a"])


def cells(name: str) -> None:
    import anndata

    obs = pd.DataFrame({"perturbation": ["control", "A", name, "control"]}, index=list("abcd"))
    adata = anndata.AnnData(np.ones((4, 3), np.float32), obs, pd.DataFrame(index=["A", "B", "C"]))
    with pytest.raises(InputError, match=r"column 'perturbation': a name has [\d,]+ characters"):
        from_anndata(adata, CellFileConfig())


def repeats(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="lead 'x' occurs more than once"):
        Recording("r", np.ones((len(names), 1)), 500, names)
    with pytest.raises(ValueError, match="'x' occurs twice"):
        canonical_leads(names)


SIGNALS = 30_000
CASES: dict[str, Callable[[Path], object]] = {
    "rate": lambda folder: header(folder, f"r 1 {DIGITS}x 100\nr.dat 16 200/mV 16 0 0 0 0 II\n"),
    "gain": lambda folder: header(folder, f"r 1 500 100\nr.dat 16 {DIGITS}x/mV 16 0 0 0 0 II\n"),
    "spaced name": lambda folder: header(folder, f"r 1 500 100\nr {'.a' * 200_000} 16 200/mV 16 0 0 0 0 II\n"),
    "files": lambda folder: header(
        folder, f"r {SIGNALS} 500 100\n" + "".join(f"r{n}.dat 16 200/mV 16 0 0 0 0 ecg{n}\n" for n in range(SIGNALS))
    ),
    "one lead often": lambda folder: header(
        folder, f"r {SIGNALS} 500 100\n" + "".join(f"r.dat 16 200/mV 16 0 0 0 0 ecg{n}\n" for n in range(SIGNALS))
    ),
    "repeated leads": lambda _: repeats((*map(str, range(SIGNALS)), "x", "x")),
    "cell": lambda folder: table(folder, f"a,b\n{DIGITS}x,1\n2,1\n"),
    "ids": lambda _: clean_column(["1.0", DIGITS]),
    "formula": lambda _: guard(f"+{DIGITS}x"),
    "lead in DICOM": lambda _: _lead({"ChannelSourceSequence": [{"CodeMeaning": "(" * 400_000}]}, Path("a.dcm")),
    "person": lambda _: _PERSON.match(f"<age>:{' ' * 200_000}x"),
    "plus": lambda _: cells("A+" * 200_000),
    "separators": lambda _: cells("A_" * 400_000),
    "value": lambda _: resolve_value("\n".join(bomb(12))),
}


def bomb(levels: int) -> list[str]:
    """YAML whose merged keys double ten-fold per level."""
    first = "a0: &a0 {k: 1}"
    return [first, *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, levels))]


def resolve_value(name: str) -> None:
    with pytest.raises(InputError, match="no cell has the control '0'"):
        resolve([0], [name, "A"], "f")


@pytest.mark.parametrize("case", CASES)
def test_hostile_text_takes_seconds(tmp_path: Path, case: str) -> None:
    start = time.process_time()
    CASES[case](tmp_path)
    assert time.process_time() - start < MOST_S


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.0", "2"], ["1", "2"]),
        (["1,0", "-7.00"], ["1", "-7"]),
        (["1.5", "2.0"], ["1.5", "2"]),
        (["1.000"], ["1.000"]),
    ],
)
def test_whole_numbers_still_lose_their_fraction(cells: list[str], expected: list[str]) -> None:
    assert clean_column(cells) == expected
