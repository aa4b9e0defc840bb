"""What README and docs show is run: Python blocks whole, commands as far as their options go."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from anyjepa.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
COMMANDS = sorted(
    {
        (page.name, line)
        for page in PAGES
        for block in re.findall(r"```\n(.*?)```", page.read_text(), flags=re.S)
        for line in (re.sub(r"\s+#.*", "", text).strip() for text in block.splitlines())
        if re.match(r"(\.venv/bin/)?anyjepa ", line)
    }
)


def test_the_readmes_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["(40, 96)"]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_shown_command_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known, f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
