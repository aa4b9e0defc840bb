from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.paper import draw_ecg
from anyjepa.errors import InputError

FS = 250


def traces(figure):
    """(x mm, y mm) of every trace, without the calibration pulses and the ticks between cells."""
    return [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xydata()) > 10]


@pytest.mark.parametrize(("layout", "rows", "seconds"), [("3x4", 4, 2.5), ("6x2", 7, 5), ("rows", 12, 10)])
def test_a_second_is_25_mm_and_a_millivolt_10(layout, rows, seconds):
    signal = np.zeros((12, 10 * FS))
    signal[:, FS] = 1.0  # a millivolt after a second
    figure = draw_ecg(signal, FS, layout=layout)
    first = traces(figure)[0]
    assert len(traces(figure)) == (12 if layout == "rows" else 13)
    assert np.ptp(first[:, 0]) == pytest.approx(25 * seconds, abs=0.2)
    assert first[FS, 0] - first[0, 0] == pytest.approx(25)
    assert np.ptp(first[:, 1]) == pytest.approx(10)
    assert figure.get_size_inches()[1] * 25.4 == pytest.approx(rows * 30 + 10, abs=5)
    figure.savefig(BytesIO(), format="png", dpi=30)


def test_cells_show_consecutive_time():
    signal = np.arange(12)[:, None] + np.arange(10 * FS) / (10 * FS)
    names = [text.get_text() for text in draw_ecg(signal, FS).axes[0].texts]
    assert names[:4] == ["I", "aVR", "V1", "V4"]
    row = traces(draw_ecg(signal, FS))[:4]
    assert [cell[0, 0] for cell in row] == pytest.approx([15 + 62.5 * n for n in range(4)])


def test_gaps_and_short_records_are_drawn_as_they_are():
    signal = np.zeros((12, 3 * FS))
    signal[3, 10:20] = np.nan
    drawn = traces(draw_ecg(signal, FS, layout="rows"))
    assert np.isnan(drawn[3][10:20, 1]).all()
    assert len(drawn[0]) == 3 * FS


def test_missing_leads_are_named():
    with pytest.raises(InputError, match="lead 'aVR'"):
        draw_ecg(np.zeros((2, FS)), FS, ("I", "II"))
    with pytest.raises(InputError, match="there are 12 leads, but the signal has shape"):
        draw_ecg(np.zeros((2, FS)), FS, LEADS)
    assert draw_ecg(np.zeros((2, FS)), FS, ("I", "II"), layout="rows", duration_s=1).axes


def test_names_are_drawn_as_they_are(tmp_path):
    """A dollar sign begins a formula elsewhere in matplotlib, and a name from a file may hold anything."""
    name = "$\\frac{$ a\x1b[31m\u202e"
    figure = draw_ecg(np.zeros((1, 1000)), 100, [name], layout="rows", title=name)
    figure.savefig(tmp_path / "a.svg")
    assert [text.get_text() for text in figure.axes[0].texts].count("$\\frac{$ a\\x1b[31m\\u202e") == 2
