"""What holds for the package as a whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "anyjepa").rglob("*.py"))
TEXTS = [
    *SOURCES,
    *(path for folder in ("tests", "docs", "benchmarks") for path in (ROOT / folder).rglob("*")),
    *(path for path in ROOT.iterdir() if path.is_file()),
]
TEXTS = [
    path for path in TEXTS if path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".css", ""} and path.is_file()
]
HEAVY = {"torch", "lightning", "sklearn", "scipy", "pandas", "matplotlib", "torchmetrics", "wfdb"}


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["evaluate", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    assert not _imported(f"import sys; sys.argv = ['anyjepa', *{arguments}]\nfrom anyjepa.cli import main\nmain()")


def test_import_anyjepa_imports_nothing_heavy():
    assert not _imported("import anyjepa")


@pytest.mark.parametrize(
    "code",
    [
        "import anyjepa.runs.evaluate, anyjepa.runs.embed, anyjepa.runs.predict\nanyjepa.load('ecg-sim-xs')",
        "import anyjepa\ntry: anyjepa.pretrain('ijepa-demo', edits=['training.stepz=1'])\nexcept ValueError: pass",
    ],
    ids=["use", "wrong setting"],
)
def test_lightning_is_imported_only_to_train(code):
    """Its import takes four seconds."""
    assert not {"lightning", "torchmetrics"} & _imported(code)


def test_public_names_exist():
    import anyjepa

    assert anyjepa.__all__
    assert all(hasattr(anyjepa, name) for name in anyjepa.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_holds_one_idea_and_is_finished(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert path.stem not in {"utils", "misc", "common", "helpers"}
    assert not re.findall("TODO|FIXME|XXX|NotImplementedError", text)


def test_no_path_of_a_machine_and_no_registry_in_any_file():
    machine = re.compile(rf"{re.escape(str(ROOT.parent))}/|/(home|root)/|index-" "url|find-" "links")
    assert not [f"{path}: {found[0]}" for path in TEXTS if (found := machine.search(path.read_text(errors="replace")))]


def _imported(code: str) -> set[str]:
    """Which of HEAVY a fresh interpreter has imported after `code`."""
    report = "import atexit, sys; atexit.register(lambda: print('imported', *sys.modules, file=sys.stderr))\n"
    done = subprocess.run([sys.executable, "-c", report + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(done.stderr.rpartition("imported")[2].split())


def test_the_package_imports_without_modules_that_windows_lacks() -> None:
    """Third-party packages are imported first, as they have their own ways; then every module of ours anew."""
    code = """
import importlib, pkgutil, sys
import anyjepa
names = [module.name for module in pkgutil.walk_packages(anyjepa.__path__, "anyjepa.") if "__main__" not in module.name]
for name in names:
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] == "anyjepa"]:
    del sys.modules[name]
for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
import signal
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGKILL"):
    delattr(signal, name)
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    assert int(done.stdout) > 150
