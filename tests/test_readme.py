"""The README: two commands first, and Python that runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def test_the_first_block_has_two_commands():
    language, text = BLOCKS[0]
    commands = text.strip().splitlines()
    assert language in ("", "bash", "sh")
    assert len(commands) == 2
    assert all(command.startswith("pip install -c constraints.txt") for command in commands)
    assert commands[0].endswith("elegans demo")
    assert commands[1].endswith("python -m pytest")


@pytest.mark.parametrize("code", [text for language, text in BLOCKS if language == "python"])
def test_python_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
