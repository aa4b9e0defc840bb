"""Parts that a recipe chooses by `kind`: those of the package, and those of a user.

A family of parts has a base class, such as `MaskSampler`. A subclass holds the settings of one part and has the methods
that do its work. Its kind is its module and its name, such as `my_parts.Checkerboard`.

A recipe or a model never imports code. The kind is known once the user has imported the module, or if an installed
package offers the part by an entry point of the group `anyjepa.parts`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from anyjepa.config import Config, not_a_table
from anyjepa.errors import InputError, did_you_mean, reason

GROUP = "anyjepa.parts"


class Part(Config):
    """Base of the families of parts. Parts of the package set `kind`; that of any other class is its full name.

    Also of a class that extends a part of the package: it does not inherit the short name. Raises InputError for a
    class that no recipe could name.
    """

    kind: str = ""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        where = f"class {cls.__qualname__}"
        if "<locals>" in cls.__qualname__:
            raise InputError(f"{where}: it is defined in a function, where nothing can load it; move it to a module")
        if "kind" in cls.__annotations__:
            if is_own(cls):
                raise InputError(f"{where}: leave 'kind' out; the kind of your own part is {full_name(cls)}")
            return
        for base in cls.__mro__[1:]:
            if len(kinds := get_args(getattr(base, "model_fields", {}).get("kind", FieldInfo()).annotation)) > 1:
                raise InputError(
                    f"{where}: {base.__name__} stands for several kinds ({', '.join(kinds)}); "
                    f"extend {base.__mro__[1].__name__} instead"
                )
        cls.__annotations__["kind"], cls.kind = str, ""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        if is_own(cls):
            _OWN[full_name(cls)] = cls

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or (kinds := kinds_of(cls)) != (name := full_name(cls),):
            return value
        if value.get("kind", name) not in kinds:
            raise ValueError(f"kind must be '{name}' or left out, got {value['kind']!r}")
        return {**value, "kind": name}


_OWN: dict[str, type[Part]] = {}  # the classes of users, by full name
AnyPart = TypeVar("AnyPart", bound=Part)


class Kinds:
    """Makes a field take any part of a family: `masks: Annotated[MaskSampler, Kinds(SpanConfig, BlocksConfig)]`.

    A value is a part, or a table whose `kind` names one. builtin: the parts with short names; usual: the kind of a
    table without `kind`.
    """

    def __init__(self, *builtin: type[Part], usual: str | None = None):
        self.builtin, self.usual = builtin, usual

    def __get_pydantic_core_schema__(self, family: type[Part], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(partial(self.part, family))

    def part(self, family: type[Part], value: Any) -> Part:
        """A value as a part of the family. Raises ValueError."""
        if isinstance(value, family):
            return value
        if not isinstance(value, Mapping):
            raise not_a_table("kind")
        kind = value.get("kind", self.usual)
        if kind is None:
            raise ValueError(f"key 'kind' is missing; there are: {', '.join(self.short_names())}")
        part = self.find(family, str(kind))
        return part.model_validate({**value, "kind": kind if kind in kinds_of(part) else kinds_of(part)[0]})

    def find(self, family: type[AnyPart], kind: str) -> type[AnyPart]:
        """The class of a kind. Raises ValueError if it is not known."""
        for part in (*self.builtin, *own_parts(family)):
            if kind in kinds_of(part) and issubclass(part, family):
                return part
        for offer in entry_points(group=GROUP):
            if kind != offer.name and not kind.startswith(f"{offer.module}."):
                continue
            offered = _loaded(offer)
            if kind == offer.name and isinstance(offered, type) and issubclass(offered, family):
                kind = full_name(offered)
            for part in own_parts(family):  # what the module of the offer defines
                if kind == full_name(part):
                    return part
        if (draft := _OWN.get(kind)) and issubclass(draft, family):
            raise ValueError(f"kind '{kind}' is not complete: define {', '.join(sorted(draft.__abstractmethods__))}")
        raise ValueError(f"kind '{kind}' is not known{self._help(family, kind)}")

    def short_names(self) -> list[str]:
        return [kind for part in self.builtin for kind in kinds_of(part)]

    def _help(self, family: type[Part], kind: str) -> str:
        module, dot, name = kind.rpartition(".")
        if not dot:
            return did_you_mean(kind, self.short_names())
        if module not in sys.modules:
            return f"; pass --import {module} (or import {module} in Python)"
        names = [part.__name__ for part in own_parts(family) if part.__module__ == module]
        return f": {module} has no {family.__name__} {name}{did_you_mean(name, names)}"


def kinds_of(part: type[Part]) -> tuple[str, ...]:
    """The values of `kind` that mean this class."""
    return get_args(part.model_fields["kind"].annotation) or (full_name(part),)


def is_own(part: type[Part]) -> bool:
    """Whether a class is one of a user, and not of the package."""
    return not part.__module__.startswith("anyjepa.")


def full_name(part: type) -> str:
    """Module and name. A class of a script that is run has the name that it has when the script is imported."""
    module = part.__module__
    if module in ("__main__", "__mp_main__"):
        main = sys.modules[module]
        spec, file = getattr(main, "__spec__", None), str(getattr(main, "__file__", None))
        module = spec.name if spec else Path(file).stem if file.endswith(".py") else module
    return f"{module}.{part.__qualname__}"


def own_parts(family: type[AnyPart]) -> list[type[AnyPart]]:
    """The parts of a family that users have defined. A class that was defined again replaces the old one."""
    return [part for part in _OWN.values() if issubclass(part, family) and not inspect.isabstract(part)]


def own_kinds(*tables: object) -> list[str]:
    """The kinds of parts of the user in nested tables of plain values: those with the name of a module."""
    kinds: dict[str, None] = {}
    for table in tables:
        for key, value in table.items() if isinstance(table, Mapping) else ():
            if key == "kind" and "." in str(value):
                kinds[str(value)] = None
            kinds |= dict.fromkeys(own_kinds(value))
    return list(kinds)


def sources(kinds: Iterable[str]) -> dict[str, dict[str, str]]:
    """The files that the parts of these kinds, and all modules that were imported from files, come from, by module.

    With a digest of the file and, if it belongs to an installed package, the package's name and version.
    """
    modules = {
        full_name(part).removesuffix(f".{part.__qualname__}"): part.__module__ for part in map(_OWN.get, kinds) if part
    }
    origins: dict[str, dict[str, str]] = {}
    for name, module in {**modules, **dict(zip(_FILES, _FILES, strict=True))}.items():
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is None:  # a notebook
            continue
        origins[name] = {"file": file, "digest": blake2b(Path(file).read_bytes(), digest_size=8).hexdigest()}
        packages = [] if module in _FILES else packages_distributions().get(module.partition(".")[0], [])
        if packages:
            origins[name]["package"] = f"{packages[0]} {version(packages[0])}"
    return origins


def place(error: BaseException, *modules: str) -> str:
    """The last line of one of the modules that an error went through; '' if it went through none.

    modules: by default those that define parts of the user.
    """
    stems = {module.rpartition(".")[2] for module in modules or (part.__module__ for part in _OWN.values())}
    lines = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).stem in stems]
    return f"{Path(lines[-1].filename).name} line {lines[-1].lineno}: " if lines else ""


def import_parts(name: str) -> None:
    """Import a module of Python's path, NAME.py in the current folder, or a file. Raises InputError.

    No folder joins `sys.path`: other files in it would stand in for modules that libraries try to import.
    """
    file = Path(name).resolve() if name.endswith(".py") else None
    module = file.stem if file else name
    try:
        if file:
            _import_file(module, file)
        elif not _import_from_path(module):
            _import_file(module, Path(f"{name}.py").resolve())
    except InputError as error:
        raise InputError(f"--import {name}: {place(error, module)}{error}") from error
    except Exception as error:
        raise InputError(f"--import {name}: {place(error, module)}{reason(error)}") from error


class LocalModules:
    """What comes after it in a pickle may use the parts of the user, also in another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _import_again, (_FILES, {part.__module__ for part in _OWN.values()} - {"__main__"})


_FILES: dict[str, Path] = {}  # modules that were imported from a file, by name


def _import_again(files: Mapping[str, Path], modules: Set[str]) -> LocalModules:
    for module, file in files.items():
        _import_file(module, file)
    for module in modules - files.keys():
        with suppress(ImportError):  # what cannot be imported here may not be needed here
            import_module(module)
    return LocalModules()


def _import_from_path(module: str) -> bool:
    """Whether there is such a module on Python's path."""
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return False
    return True


def _import_file(module: str, file: Path) -> None:
    if not file.is_file():
        raise InputError("there is no such module here or on Python's path")
    if other := sys.modules.get(module) or find_spec(module):
        origin = getattr(other, "__file__", None) or getattr(other, "origin", None)
        if Path(origin or "").resolve() != file:
            raise InputError(f"there is another module '{module}', {origin}; rename the file")
    if module in sys.modules:
        return
    spec = spec_from_file_location(module, file)
    assert spec is not None
    assert spec.loader is not None, "its name ends in .py"
    sys.modules[module] = loaded = module_from_spec(spec)
    try:
        spec.loader.exec_module(loaded)
    except BaseException:
        del sys.modules[module]
        raise
    _FILES[module] = file


def _loaded(offer: EntryPoint) -> object:
    try:
        return offer.load()
    except Exception as error:
        package = offer.dist.name if offer.dist else offer.value
        raise InputError(f"{package}: its part '{offer.name}' cannot be imported: {reason(error)}") from error
