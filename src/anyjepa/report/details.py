"""Collapsible details: the recipe, the environment, and the parts of the run folder that are missing."""

from __future__ import annotations

from collections.abc import Iterator

from anyjepa.report.contents import Contents
from anyjepa.report.markup import Html, join, note, table, tag


def details(run: Contents) -> Html:
    """The full recipe and environment, and the files that could not be read."""
    recipe = tag("pre", run.recipe_text) if run.recipe_text else note("recipe.yaml is missing or cannot be read.")
    environment = (
        table(["name", "value"], flat(run.environment))
        if run.environment
        else note("environment.json is missing or cannot be read.")
    )
    return join(
        [
            tag("details", tag("summary", "Recipe"), recipe),
            tag("details", tag("summary", "Environment"), environment),
            tag(
                "details",
                tag("summary", f"Missing or damaged parts ({len(run.notes)})"),
                tag("ul", *(tag("li", text) for text in run.notes)) if run.notes else tag("p", "None."),
            ),
        ]
    )


def flat(values: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested names and values to pairs such as ('a.b', 'value')."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list):
        yield name, " ".join(str(value) for value in values)
    else:
        yield name, str(values)
