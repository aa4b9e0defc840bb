"""Collapsible details: the recipe, the environment, and the parts of the run folder that are missing."""

from __future__ import annotations

from collections.abc import Iterator

from anyjepa.errors import reason
from anyjepa.recipes.schema import differences, origin
from anyjepa.report.contents import Contents
from anyjepa.report.markup import Html, join, note, table, tag


def details(run: Contents) -> Html:
    """What differs from the package's recipe, the full recipe and environment, and files that could not be read."""
    recipe = tag("pre", run.recipe_text) if run.recipe_text else note("recipe.yaml is missing or cannot be read.")
    environment = (
        table(["name", "value"], flat(run.environment))
        if run.environment
        else note("environment.json is missing or cannot be read.")
    )
    parts = tag("ul", *(tag("li", text) for text in run.notes))
    return join(
        [
            _differences(run),
            tag("details", tag("summary", "Recipe"), recipe),
            tag("details", tag("summary", "Environment"), environment),
            *(
                [tag("details", tag("summary", f"Missing or damaged parts ({len(run.notes)})"), parts)]
                if run.notes
                else []
            ),
        ]
    )


def _differences(run: Contents) -> Html:
    """The settings that differ from the recipe of the package on which the run is based; empty if there is none."""
    try:
        name, different = origin(run.recipe), differences(run.recipe)
    except Exception as error:  # a recipe that was edited by hand can hold anything
        return note(f"The recipe could not be compared with the package's: {reason(error)}")
    if different is None:
        return Html()
    if not different:
        return tag("p", f"The settings are those of {name} in the package.")
    rows = [(key, *("–" if value is None else _text(value) for value in pair)) for key, *pair in different]
    return table(["setting", "here", f"in {name}"], rows, "What differs from the recipe of the package")


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def flat(values: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested names and values to pairs such as ('a.b', 'value')."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list):
        yield name, " ".join(str(value) for value in values)
    else:
        yield name, str(values)
