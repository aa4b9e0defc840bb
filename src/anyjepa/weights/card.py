"""Write the model card, README.md of a model folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anyjepa.data.modalities import MODALITIES
from anyjepa.data.modality import Usage
from anyjepa.errors import printable
from anyjepa.nn.genes import GeneConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.nn.wav2vec2 import Wav2Vec2Config
from anyjepa.parts import kinds_of
from anyjepa.weights.model import ModelConfig

WEIGHTS = {
    "teacher": "those of the EMA teacher (`student.safetensors`, if it exists, has the student)",
    "average": "an average over the training steps (`student.safetensors`, if it exists, has the last step)",
    "target": "those of the encoder that saw whole inputs (`student.safetensors`, if it exists, has the other one)",
    "student": "those of the student; this model has no teacher",
    "fine-tuned": "fine-tuned together with the classifier head",
    "published": "those of the published file",
}

MARKS = re.compile(r"([\\`*\[\]|#~$]|(?<!\w)_|_(?!\w)|:(?=//))")  # characters with a meaning in Markdown
LISTED = 24  # largest number of list entries that are shown


@dataclass(frozen=True)
class Publication:
    """Content of the card of a published model that its folder does not have.

    licence: an identifier of the Hub, "" if there is none; evaluation: Markdown lines.
    """

    licence: str
    evaluation: Sequence[str]


def model_card(
    name: str,
    config: ModelConfig,
    preprocessing: Mapping[str, object],
    parameters: Mapping[str, int],
    published: Publication | None = None,
) -> str:
    """The model card in Markdown. parameters: number of parameters of each part."""
    encoder, made, usage = config.objective.encoder, config.provenance, _usage_of(preprocessing)
    transformer = isinstance(encoder, ViTConfig | GeneConfig | Wav2Vec2Config)  # other encoders' heads are of a probe
    blocks = f", {encoder.depth} blocks, {encoder.heads} heads" if transformer else ""
    rows = [
        ("weights of the encoder", WEIGHTS[config.weights]),
        ("parameters", ", ".join(f"{part} {count:,}" for part, count in parameters.items())),
        *_input(config, usage),
        ("encoder", f"width {encoder.dim}{blocks}"),
        ("trained on", escaped(made.data)),
        ("optimiser steps", "unknown" if made.steps is None else f"{made.steps:,}"),
        *([("recipe", escaped(made.recipe))] if made.recipe else []),
        *([("imported from", escaped(made.origin))] if made.origin else []),
        *([("started from", escaped(made.start))] if made.start else []),
        *([("licence", published.licence or "none was chosen; ask the owner")] if published else []),
        ("written by", f"anyjepa {escaped(config.anyjepa)}"),
    ]
    if config.classifier is not None:
        kind = "exclusive" if config.classifier.exclusive else "independent"
        rows.append(("classes", f"{escaped(', '.join(config.classifier.classes))} ({kind})"))
        if config.classifier.thresholds is not None:
            rows.append(("thresholds", _plain(config.classifier.thresholds)))
    return "\n".join(
        [
            "---\nlibrary_name: anyjepa\ntags: [self-supervised, jepa]",
            *([f"license: {published.licence}"] if published and published.licence else []),
            "---",
            f"# {escaped(name)}\n",
            "An encoder that was pretrained to predict representations (a joint-embedding predictive architecture).\n",
            *_table(rows),
            "\n## Preprocessing\n\nInputs are prepared with the settings of `preprocessing.json`:\n",
            *_table([(escaped(key), escaped(_plain(value))) for key, value in preprocessing.items()]),
            "\n## Use\n",
            *_call(name, usage, config.classifier is not None),
            "\n## Intended use\n",
            "- Embeddings of data like the training data, for probes, fine-tuning, search and research.",
            *(["- Predictions of its classes, for research."] if config.classifier else []),
            "- Not for decisions about people without a validation of your own.",
            *(["\n## Evaluation\n", *published.evaluation] if published else []),
            "\n## What this folder says of the training data\n",
            "- This page and `config.json`: the rows of the first table, with the names of folders or data sets.",
            "- `preprocessing.json`: constants over all records, such as means.",
            "- `training_records.json`, if it exists: those names, and a digest of each prepared record, so that an "
            "evaluation notices a test record that the model was trained on.\n"
            "  Whoever has a record can check this too.",
            "- `calibration.safetensors`, if it exists: sorted probabilities and distances of validation records, and "
            "the centre and covariance of embeddings, without a link to single records.",
            "- No id of a record or patient, in plain or as a hash. The weights can remember more than this list says.",
            "\n## Limits\n",
            *(f"- {escaped(note)}" for note in made.notes),
            f"- Inputs with another {(usage or Usage).wrong} give meaningless results without an error.",
            "- Performance on other data than the training data is unknown. Evaluate the model on your own data.",
            *([f"- {usage.caution}"] if usage and usage.caution else []),
            "",
        ]
    )


def _usage_of(preprocessing: Mapping[str, object]) -> Usage | None:
    kind = preprocessing.get("kind")
    return next((m.usage for m in MODALITIES.values() if kind in kinds_of(m.preprocessing)), None)


def _input(config: ModelConfig, usage: Usage | None) -> list[tuple[str, str]]:
    size, patch = (" x ".join(map(str, lengths)) for lengths in (config.size, config.objective.encoder.patch))
    if usage and usage.fixed:
        return [("input", f"all {size} {usage.fixed}, in the order of `preprocessing.json`")]
    channels = "1 channel" if config.channels == 1 else f"{config.channels} channels"
    return [
        ("input", f"{channels}, {size} samples; {(usage or Usage).sizes}"),
        ("token", f"{patch} samples of all channels"),
    ]


def _call(name: str, usage: Usage | None, classifier: bool) -> list[str]:
    if usage is None:
        call = "tokens = model.encode(x)  # (B, C, *samples), already prepared, to (B, N, D)"
    elif classifier:
        call = f"result = model.predict_classes({usage.arguments})  # result.table() has one row per record"
    else:
        call = f"vectors = model.embed({usage.arguments})  # {usage.layout}"
    return [
        "```python",
        "import anyjepa",
        f"model = anyjepa.load({json.dumps(name, ensure_ascii=not name.isprintable())})",
        call,
        "```",
    ]


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table. Cells may contain Markdown."""
    head, *lines = ("|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in (headings, *rows))
    return [head, "|---" * len(headings) + "|", *lines]


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    return markdown_table(("", ""), rows)


def escaped(text: str) -> str:
    """Escape untrusted text to one line of Markdown without markup, HTML or links."""
    marked = MARKS.sub(r"\\\1", printable(" ".join(text.split())))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        more = f" ... ({len(value)})" if len(value) > LISTED else ""
        return ", ".join(map(_plain, value[:LISTED])) + more
    if isinstance(value, Mapping):
        return ", ".join(value) or "None"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
