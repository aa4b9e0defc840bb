"""What the Dockerfile copies, installs and runs exists. No image is built: the tests have no Docker."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer

from anyjepa.cli import app
from anyjepa.weights.shipped import shipped_names

ROOT = Path(__file__).parents[2]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions(name: str) -> list[str]:
    return [line.split(None, 1)[1] for line in LINES if line.startswith(f"{name} ")]


def copied() -> list[str]:
    """Files and folders of the repository that the image is built from."""
    return [source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]]


def test_the_copied_files_exist_and_are_all_that_the_context_has():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied()) == sorted(allowed)
    assert all((ROOT / source).exists() for source in copied())


def test_versions_and_extras_are_those_of_the_project():
    images = [line.split()[0] for line in instructions("FROM")]
    assert len(set(images)) == 1
    version = re.fullmatch(r"python:(\d+\.\d+)-slim", images[0])
    assert version
    assert PROJECT["requires-python"] == f">={version[1]}"
    arguments = dict(line.split("=", 1) for line in instructions("ARG"))
    assert "serve" in arguments["EXTRAS"].split(",")
    assert set(arguments["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"])
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["serve"]]
    names = [re.match(r"[\w-]+", requirement)[0].lower() for requirement in needed]  # type: ignore[index]
    assert set(names) <= {name.lower().replace("_", "-") for name in pinned}


def test_the_command_of_the_image_exists_and_its_health_is_asked_where_it_listens():
    entry, default = (json.loads(instructions(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    assert entry[0] in PROJECT["scripts"]
    command = typer.main.get_command(app).commands[entry[1]]  # type: ignore[attr-defined]
    parsed = command.make_context("serve", [*entry[2:], *default]).params
    assert (parsed["host"], str(parsed["port"])) == ("0.0.0.0", instructions("EXPOSE")[0])
    assert parsed["model"] in shipped_names()
    check = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    compile(check[2], "HEALTHCHECK", "exec")
    assert f"http://127.0.0.1:{parsed['port']}/health" in check[2]


def test_the_process_is_not_root_and_asks_no_hub():
    assert int(instructions("USER")[0]) > 0
    variables = dict(shlex.split(word)[0].split("=", 1) for word in instructions("ENV")[0].split())
    assert variables["HF_HUB_OFFLINE"] == "1"


@pytest.mark.long
def test_the_copied_files_make_a_wheel_with_the_models(tmp_path):
    (tmp_path / "source").mkdir()
    for name in copied():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, "."]
    done = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("anyjepa-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for needed in ("anyjepa/serving/app.py", "anyjepa/weights/models/ecg-sim-xs/model.safetensors"):
        assert needed in names
    assert not any(name.startswith("tests") for name in names)
