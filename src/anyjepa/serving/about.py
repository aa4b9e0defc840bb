"""Describe the model of a service to its clients."""

from __future__ import annotations

import re
from typing import Any

from anyjepa.serving.bodies import keys_of, media_of
from anyjepa.serving.service import Service
from anyjepa.versions import versions


def describe(service: Service) -> dict[str, Any]:
    """Facts about the model that a client needs, as JSON values without paths."""
    model, settings, modality = service.model, service.settings, service.modality
    preprocessing, classifier = model.preprocessing, service.classifier
    made, calibrated = model.loaded.provenance, model.loaded.calibration is not None
    path = model.loaded.folder / "README.md"
    card = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {
        "model": service.name,
        "kind": modality.kind,
        "input": {
            "keys": list(keys_of(modality)),
            "layout": modality.usage.layout if modality.usage else None,
            "media_types": list(media_of(modality)),
            "size": [preprocessing.channels, *preprocessing.size],
            "channels": list(preprocessing.channel_names),
            "fs": preprocessing.rate,
            "unit": getattr(preprocessing, "unit", None),
        },
        "embedding": model.dim,
        "classes": list(classifier.classes) if classifier else [],
        "exclusive": classifier.exclusive if classifier else None,
        "thresholds": list(classifier.thresholds) if classifier and classifier.thresholds else None,
        "coverage": calibrated,
        "typicality": calibrated,
        "weights": model.loaded.weights,
        "trained_on": made.data,
        "licence": _licence(card),
        "intended_use": _lines(card, "Intended use"),
        "limits_of_use": _lines(card, "Limits"),
        "limits": {
            "body_bytes": settings.max_bytes,
            "windows": settings.max_windows,
            "requests": settings.queue,
        },
        "versions": {name: version for name, version in versions().items() if name != "platform"},
    }


def _licence(card: str) -> str | None:
    """The licence in the front matter of a card, or else the first line of its section on the licence."""
    stated = re.search(r"\A---\n(?:.*\n)*?license: (.+)\n(?:.*\n)*?---\n", card)
    return stated[1] if stated else next(iter(_lines(card, "Licence")), None)


def _lines(card: str, heading: str) -> list[str]:
    """The lines of a section of a card, without bullets."""
    section = re.search(rf"^## {heading}\n+((?:(?!#).*\n?)*)", card, flags=re.M)
    return [line.removeprefix("- ") for line in section[1].splitlines() if line.strip()] if section else []
