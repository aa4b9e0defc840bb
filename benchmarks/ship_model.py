"""Write the encoder of a run as a model of the package, with the measured scores in its card.

    python benchmarks/ship_model.py MODEL NAME RESULT.json... --about ABOUT.json --notes NOTES.md

MODEL: run or model folder. RESULT: results of `anyjepa evaluate`, one section of the card each. ABOUT: what the list
says (`anyjepa.weights.shipped.About`). NOTES: licence, compute and limits, in Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from shutil import rmtree

from torch import nn

from anyjepa.config import validated
from anyjepa.data.files import read_json
from anyjepa.evaluation.result import Result
from anyjepa.runs.model import load
from anyjepa.weights import shipped
from anyjepa.weights.folder import CARD, save_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--about", type=Path, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    arguments = parser.parse_args()
    loaded = load(arguments.model).loaded
    about = validated(shipped.About, read_json(arguments.about), str(arguments.about))
    provenance = loaded.config.provenance.model_copy(update={"data": about.trained_on})
    encoder_only = {"predictor": False, "other": None, "classifier": None, "provenance": provenance}
    config = loaded.config.model_copy(update=encoder_only)
    folder = Path(shipped.__file__).parent / "models" / arguments.name
    tensors = nn.ModuleDict({"encoder": loaded.encoder}).state_dict()
    rmtree(folder, ignore_errors=True)
    save_model(folder, config, tensors, loaded.preprocessing, records=loaded.records, half=True)
    scores = "".join(map(section, map(Result.from_json, arguments.results)))
    with (folder / CARD).open("a", encoding="utf-8") as card:
        card.write("\n" + arguments.notes.read_text(encoding="utf-8") + scores)
    (folder / shipped.ABOUT).write_text(about.model_dump_json(indent=2) + "\n", encoding="utf-8")


def section(result: Result) -> str:
    """One table of the card."""
    few = result.settings["low_shot"]
    head = f"\n## {result.task}, {result.title}, " + (f"labels of {few}" if few else "all labels") + "\n\n"
    lines = [
        f"{result.size}; {result.basis}.\n",
        "| | macro AUROC | this model minus | macro F1 |",
        "|---|---|---|---|",
    ]
    for row in result.rows:
        area, less = result.metric(row, "macro_auroc"), result.difference(row)
        minus = "" if less.mean is None else f"{less.mean:+.3f} ({less.low:+.3f} to {less.high:+.3f})"
        lines.append(f"| {row.title} | {area.mean:.3f} | {minus} | {row.metrics['macro_f1'].mean:.3f} |")
    if events := result.event_rows():
        lines += ["", "| | | onset, ms | Se | PPV | offset, ms | Se | PPV |", "|---|---|---|---|---|---|---|---|"]
        lines += [f"| {' | '.join(cells)} |" for cells in events]
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
