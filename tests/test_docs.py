"""The README and the guides run as they stand: each in a fresh process, from an empty folder."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
import tempfile
from pathlib import Path

import pytest
from fresh_process import run

from elegans.cli import main

ROOT = Path(__file__).parent.parent
GUIDES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(name: str) -> list[tuple[str, str]]:
    """Return language and text of the fenced blocks of a guide."""
    return FENCED.findall((ROOT / name).read_text())


def program(name: str) -> str:
    """Return the Python of a guide on its own lines; each block begins by printing its number."""
    lines, language, number = [], "", 0
    for line in (ROOT / name).read_text().splitlines():
        if line.startswith("```"):
            language = line.removeprefix("```")
            number += language == "python"
            lines.append(f"print('<block {number}>')" if language == "python" else "")
        else:
            lines.append(line if language == "python" else "")
    return "\n".join(lines)


def commands(name: str) -> set[str]:
    """Return the calls of the shell's commands, of scripts and of modules that a guide names."""
    fenced = "".join(text for language, text in blocks(name) if language == "bash")
    prose = FENCED.sub("", (ROOT / name).read_text())
    calls = re.split(r"\n|&&", fenced.replace("\\\n", " ")) + re.findall(r"`([^`]+)`", prose)
    return {call.strip() for call in calls if call.strip().startswith(("elegans ", "python "))}


@functools.cache
def printed(name: str) -> list[str]:
    """Return what each Python block of a guide prints."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / (Path(name).stem.replace("-", "_") + ".py")
        script.write_text(program(name))
        empty = Path(folder) / "empty"
        empty.mkdir()
        done = run(script, folder=empty)
    _, *outputs = re.split(r"^<block \d+>\n", done.stdout, flags=re.M)
    assert done.returncode == 0, (
        f"{name}, block {len(outputs)} (lines are those of the guide):\n{done.stderr[-3000:]}"
    )
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_guide(name):
    outputs = iter(printed(name))
    output = None
    for language, text in blocks(name):
        if language == "python":
            output = next(outputs)
        elif language == "text":
            assert output == text
    assert output is not None, "a guide shows how to use what it describes"
    assert next(outputs, None) is None


@pytest.mark.parametrize("call", sorted(set().union(*map(commands, GUIDES))))
def test_command(call, capsys):
    program, first, *words = shlex.split(call, comments=True)
    if program == "elegans":
        with pytest.raises(SystemExit):
            main([first, "--help"])
        known = capsys.readouterr().out
        assert known.startswith(f"usage: elegans {first} ")
    elif first == "-m":
        known = Path(importlib.util.find_spec(words[0]).origin).read_text()
    else:
        known = (ROOT / first).read_text()
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", known), f"{option} is no option of {call}"


def test_readme_begins_with_two_commands():
    language, text = blocks("README.md")[0]
    first, second = text.strip().splitlines()
    assert language == "bash"
    assert all(line.startswith("pip install -c constraints.txt") for line in (first, second))
    assert first.endswith("elegans demo")
    assert second.endswith("python -m pytest")


@pytest.mark.slow
def test_readme_prints_the_wiring_that_it_states():
    code = next(text for language, text in blocks("README.md") if language == "python")
    stated = re.search(r"print\(model.wiring\) +# (Wiring\(.*?), \.\.\.\)", code)[1]
    assert printed("README.md")[0].startswith(stated)
