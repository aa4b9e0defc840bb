"""What a recipe is, and how one is found, edited and validated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from anyjepa.config import Config, validated
from anyjepa.data.modalities import USUAL, AnyDataConfig
from anyjepa.data.modality import DataConfig
from anyjepa.errors import InputError
from anyjepa.evaluation.protocol import EvaluationConfig
from anyjepa.limits import BATCH
from anyjepa.nn.tokens import check_table, token_grid
from anyjepa.objectives.build import AnyObjectiveConfig
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.perturbation.config import PerturbationConfig
from anyjepa.recipes.plain import apply_edit, flat, read_recipe, recipe_names, set_key, without_tables
from anyjepa.training.config import TrainingConfig

MOST_CHANGES = 6  # that are listed


Edits = Sequence[str] | Mapping[str, object]


class Recipe(Config):
    """Everything that a run is made of."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[\w.-]+$", description="letters, digits, dots and dashes; names the run folder")
    description: str = Field(description="one line: what it is, and which publication it follows")
    data: AnyDataConfig = USUAL.config()
    objective: AnyObjectiveConfig
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    perturbation: PerturbationConfig | None = Field(
        default_factory=lambda values: PerturbationConfig() if _has_conditions(values.get("data")) else None,
        description="of cells: how predicted perturbations are evaluated; none for other data",
    )

    @model_validator(mode="before")
    @classmethod
    def _perturbation_of_these_data(cls, plain: Any) -> Any:
        """An edit of data.kind may leave perturbation: null behind, which then stands for the default of the kind."""
        return (
            {k: v for k, v in plain.items() if (k, v) != ("perturbation", None)} if isinstance(plain, dict) else plain
        )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        encoder, predictor = self.objective.encoder, getattr(self.objective, "predictor", None)
        if self.perturbation is not None and not _has_conditions(self.data):
            raise ValueError(f"perturbation: these settings are for cells, and data.kind is {self.data.kind}")
        self._check_memory()
        self.objective.check(self.grid)
        if self.data.weighted and self.training.order != "replacement":
            raise ValueError(f"{self.data.weighted} need training.order=replacement")
        if self.data.absent != getattr(encoder, "absent", False):
            raise ValueError("data.missing_leads=mask and objective.encoder.absent=true go together")
        if isinstance(self.objective, PairedPredictionConfig):
            if predictor is not None and self.data.condition_dim is None:
                raise ValueError(
                    f"objective.predictor needs pairs with a condition; {self.data.kind} data give two views"
                )
            if predictor is not None and getattr(predictor, "condition_dim", None) != self.data.condition_dim:
                raise ValueError("objective.predictor.condition_dim and data.encoding.width must be the same")
            if self.data.absolute:
                raise ValueError("data.absolute_time: two views of a record have no common position")
        learned = "learned" in (
            getattr(getattr(part, "positions", None), "kind", "") for part in (encoder, predictor) if part is not None
        )
        if self.data.absolute and learned:
            raise ValueError("data.absolute_time needs positions without an end: sincos or rotary, not learned")
        if self.data.absolute and getattr(encoder.positions, "span", "grid") == "input":
            raise ValueError("data.absolute_time needs encoder.positions.span=grid: stretched positions have no place")
        return self

    def _check_memory(self) -> None:
        """Raise InputError if a micro-batch of inputs, its tokens, or a position table is too large."""
        encoder, size = self.objective.encoder, self.data.size
        samples, tokens = self.training.batch_size // self.training.accumulation, prod(self.grid)
        check_table(tokens, encoder.dim, "objective.encoder")
        tokens += getattr(encoder, "registers", 0)
        BATCH.check(
            4 * samples * self.data.channels * prod(size), f"training.batch_size: a batch of {samples} inputs of {size}"
        )
        BATCH.check(
            4 * samples * tokens * encoder.dim,
            f"training.batch_size: a batch of {samples} x {tokens} tokens of width {encoder.dim}",
        )

    @property
    def grid(self) -> tuple[int, ...]:
        """Tokens of a full input along each axis."""
        try:
            return token_grid(self.data.size, self.objective.encoder.patch)
        except ValueError as error:
            raise ValueError(f"data and objective.encoder.patch do not fit together: {error}") from error


def _has_conditions(data: DataConfig | None) -> bool:
    """Whether records come in pairs with what was done to the second one, as perturbed cells do."""
    return data is not None and data.condition_dim is not None


def load_recipe(name: str | Path, edits: Edits = ()) -> tuple[Recipe, list[str]]:
    """Load a recipe by name or YAML path, with `edits` of the form 'a.b=value', and return notices (see `edited`).

    Raises InputError in one line for an unknown name, broken YAML, unknown keys or values that do not fit.
    """
    recipe = validated(Recipe, read_recipe(name), str(name))
    return edited(recipe, edits, str(name)) if edits else (recipe, [])


def edited(recipe: Recipe, edits: Edits, where: str = "") -> tuple[Recipe, list[str]]:
    """Apply edits to a recipe, and return notices about what else changed.

    edits: texts of the form 'a.b=value', or values by dotted key or in nested tables; a value may also be a part, such
    as a mask sampler, and a table with a `kind` replaces the one that is there.

    An edit of a `kind` drops the keys of the old kind. An edit of training.steps without one of the warm-up shortens
    a warm-up that would not end before the training does. Raises InputError.
    """
    plain = recipe.model_dump(mode="json")  # every default filled in, so that any key can be edited
    if isinstance(edits, Mapping):
        edits = without_tables(edits)
        notices = [notice for key, value in edits.items() for notice in set_key(plain, _full(plain, key), value)]
    else:
        edits = [edits] if isinstance(edits, str) else list(edits)
        if any(not isinstance(edit, str) for edit in edits):
            raise InputError("edits must be texts such as 'training.steps=1000', or one dictionary of values by key")
        notices = [notice for edit in edits for notice in apply_edit(plain, _full(plain, edit))]
    training, warmup = plain["training"], recipe.training.optimiser.warmup
    steps = training.get("steps") if isinstance(training, dict) else None
    own = any(edit.partition("=")[0] in ("training.optimiser", "training.optimiser.warmup") for edit in edits)
    if not own and steps != recipe.training.steps and isinstance(steps, int) and 0 < steps <= warmup:
        set_key(plain, "training.optimiser.warmup", steps // 10)
        notices.append(f"{steps} steps are too few for a warm-up of {warmup}: training.optimiser.warmup={steps // 10}")
    return validated(Recipe, plain, where or recipe.name), notices


def _full(plain: Mapping[str, Any], edit: str) -> str:
    """The edit with the full key of a setting of files, such as data.file.condition for condition."""
    name, file = re.split(r"[.=]", edit, maxsplit=1)[0], plain["data"].get("file") or {}
    return f"data.file.{edit}" if name in file and name not in plain else edit


def to_yaml(recipe: Recipe) -> str:
    """The recipe with every default filled in."""
    unused = {"perturbation"} if recipe.perturbation is None else None
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude=unused), sort_keys=False, width=100)


def changes(plain: Mapping[str, Any]) -> str:
    """'ecg-jepa-xs, changed: training.steps=10, ...' for one of the package's recipes that was edited, else ''.

    plain: the recipe as a dictionary. Settings of evaluation are left out, as they change nothing in the model.
    """
    edits = [
        f"{key}={value}"
        for key, value, _ in differences(plain) or ()
        if key in flat(plain) and not key.startswith(("evaluation.", "perturbation"))
    ]
    more = [f"{len(edits) - MOST_CHANGES} more"] if len(edits) > MOST_CHANGES else []
    return f"{plain['name']}, changed: {', '.join([*edits[:MOST_CHANGES], *more])}" if edits else ""


def differences(plain: Mapping[str, Any]) -> list[tuple[str, Any, Any]] | None:
    """Settings that differ from the package's recipe of that name: key, value, and value in the package's recipe.

    plain: the recipe as a dictionary. A key that only one of them has is None in the other. None for a recipe that is
    not from the package.
    """
    if plain.get("name") not in recipe_names():
        return None
    packaged = load_recipe(str(plain["name"]))[0]
    if plain.get("description") != packaged.description:  # a recipe of its own that only has the name
        return None
    before, now = flat(packaged.model_dump(mode="json")), flat(plain)
    keys = dict.fromkeys([*now, *before])
    return [(key, now.get(key), before.get(key)) for key in keys if now.get(key) != before.get(key)]
