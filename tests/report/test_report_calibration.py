from __future__ import annotations

from anyjepa.report.calibration import calibration
from anyjepa.report.contents import Contents


def test_curves_and_every_class_are_shown(tmp_path, result):
    page = calibration(Contents(tmp_path, results=[result()]))
    assert page.count('class="chart"') == 1
    assert "this encoder" in page
    assert "random init" in page
    assert "All classes, this encoder" in page
    assert all(f">{name}<" in page for name in ("normal", "AF", "LBBB", "AUPRC", "Brier"))
    assert "threshold<" not in page  # the classes are exclusive


def test_thresholds_are_shown_where_classes_are_not_exclusive(tmp_path, result):
    found = result(exclusive=False)
    repeat = found.rows[0].repeats[0].model_copy(update={"thresholds": {"normal": 0.25, "AF": None, "LBBB": 0.5}})
    row = found.rows[0].model_copy(update={"repeats": (repeat,)})
    page = calibration(Contents(tmp_path, results=[found.model_copy(update={"rows": (row, *found.rows[1:])})]))
    assert ">0.25<" in page
    assert "0.5 (no positives in the validation data)" in page


def test_results_of_an_older_version_have_no_curve(tmp_path, result):
    found = result()
    rows = tuple(row.model_copy(update={"reliability": None}) for row in found.rows)
    assert "No evaluation" in calibration(Contents(tmp_path, results=[found.model_copy(update={"rows": rows})]))
