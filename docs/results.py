"""Draws results.png from the first table of results.md: scores on real ECGs against the time of pretraining.

python docs/results.py [OUTPUT]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PANELS = {"waves, 5 patients": "P, QRS and T waves, labels of 5 patients", "rhythm": "rhythm"}
LINE, CONTROL = "#0067a9", "#5d6872"


def read_table(text: str) -> tuple[list[float], dict[str, list[float]], dict[str, tuple[str, float]]]:
    """Minutes and scores by column, and the best control of each column with its score, from the last row."""
    table = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0]  # type: ignore[index]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    columns = {name: header.index(name) for name in ("minutes", *PANELS)}
    *runs, controls = rows
    minutes = [float(row[columns["minutes"]]) for row in runs]
    scores = {name: [float(row[columns[name]]) for row in runs] for name in PANELS}
    best = {}
    for name in PANELS:
        score, what = re.fullmatch(r"([\d.]+) \((.+)\)", controls[columns[name]]).groups()  # type: ignore[union-attr]
        best[name] = (what, float(score))
    return minutes, scores, best


def main(output: Path = HERE / "results.png") -> None:
    minutes, scores, best = read_table((HERE / "results.md").read_text())
    figure, axes = plt.subplots(1, len(PANELS), figsize=(9, 3), sharex=True)
    for place, (name, title) in zip(axes, PANELS.items(), strict=True):
        what, control = best[name]
        place.plot(minutes, scores[name], "o-", color=LINE)
        place.axhline(control, color=CONTROL, linestyle="--", linewidth=1)
        place.text(minutes[-1], control, f"{what}, no pretraining", ha="right", va="bottom", color=CONTROL, fontsize=8)
        place.set_title(f"LUDB: {title}", fontsize=10, loc="left")
        place.set_xlabel("minutes of one core")
        place.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("macro AUROC")
    figure.tight_layout()
    figure.savefig(output, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
