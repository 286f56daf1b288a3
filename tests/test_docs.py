"""The README and the guides run as they stand: each in a fresh process, from an empty folder."""

from __future__ import annotations

import functools
import importlib.util
import pkgutil
import re
import shlex
import tempfile
from pathlib import Path

import pytest
from fresh_process import run

from elegans.cli import main

ROOT = Path(__file__).parent.parent
FOLDERS = ("elegans", "elegans.proofs", "elegans.solvers", "elegans.wiring")
GUIDES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
PAGES = {"docs/benchmarks.md", "docs/changelog.md", "docs/gallery.md"}
"""They show what is elsewhere; the gallery's code is that of the examples."""
RUN = ("python", "console")
CONSOLE = "\n```console\n"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(name: str) -> list[tuple[str, str]]:
    """Return language and text of the fenced blocks of a guide."""
    return FENCED.findall((ROOT / name).read_text())


def session(text: str) -> tuple[list[str], str]:
    """Return the commands of a block of the shell with prompts, and the output that it shows."""
    lines = text.replace("\\\n", "").splitlines(keepends=True)
    called = [line.removeprefix("$ ").strip() for line in lines if line.startswith("$ ")]
    return called, "".join(line for line in lines if not line.startswith("$ "))


def program(name: str) -> str:
    """Return what runs of a guide, on its own lines; each block begins by printing its number."""
    text = (ROOT / name).read_text()
    lines = ["import fresh_process" if CONSOLE in text else "", *[""] * (text.count("\n") - 1)]
    number = 0
    for block in FENCED.finditer(text):
        if (language := block[1]) not in RUN:
            continue
        first = text.count("\n", 0, block.start())
        number += 1
        lines[first] = f"print('<block {number}>', flush=True)"
        code = block[2].splitlines()
        if language == "console":
            code = [f"fresh_process.shell({call!r})" for call in session(block[2])[0]]
        lines[first + 1 : first + 1 + len(code)] = code
    return "\n".join(lines)


def words(output: str) -> str:
    """Return output without its numbers: those of a training vary from processor to processor."""
    return re.sub(r"sha256:\w+|-?\d[\d.,]*(e[+-]?\d+)?", "#", output)


def commands(name: str) -> set[str]:
    """Return the calls of the shell's commands, of scripts and of modules that a guide names."""
    fenced = ""
    for language, text in blocks(name):
        if language in ("bash", "console"):
            fenced += text if language == "bash" else "\n".join(session(text)[0]) + "\n"
    prose = FENCED.sub("", (ROOT / name).read_text())
    calls = re.split(r"\n|&&", fenced.replace("\\\n", " ")) + re.findall(r"`([^`]+)`", prose)
    return {call.strip() for call in calls if call.strip().startswith(("elegans ", "python "))}


@functools.cache
def printed(name: str) -> list[str]:
    """Return what each block of a guide prints, of Python and of the shell with prompts."""
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
@pytest.mark.parametrize("name", sorted({*GUIDES} - PAGES))
def test_guide(name):
    outputs = iter(printed(name))
    output = None
    for language, text in blocks(name):
        if language in RUN:
            output = next(outputs)
        if language == "text":
            assert output == text
        elif language == "console":
            assert words(output) == words(session(text)[1])
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


def test_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert "docs/tutorial.md" in links
    assert not [link for link in links if not (ROOT / link).is_file()]
    assert (ROOT / "docs/landing.png").stat().st_size < 200_000


@pytest.mark.slow
def test_the_reference_has_every_public_name(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs/extensions")
    pages = importlib.import_module("reference")
    documented = pages.Reference().homes
    packages = {"elegans"}
    for package in FOLDERS:
        folder = importlib.import_module(package).__path__
        packages |= {f.name for f in pkgutil.walk_packages(folder, f"{package}.") if f.ispkg}
    missing = set()
    for package in packages - {"elegans.cli", "elegans.solvers.fused"}:
        module = importlib.import_module(package)
        if hasattr(module, "__all__"):
            for name in pages.names_of(module):
                if pages.identity(pages.thing_of(name)) not in documented:
                    missing.add(name)
    assert not missing


@pytest.mark.slow
def test_readme_prints_the_wiring_that_it_states():
    code = next(text for language, text in blocks("README.md") if language == "python")
    stated = re.search(r"print\(model.wiring\) +# (Wiring\(.*?), \.\.\.\)", code)[1]
    assert printed("README.md")[0].startswith(stated)
