"""The README: two commands first, and Python that runs."""

import re
from pathlib import Path

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


def test_the_example_trains_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, proof = [text for language, text in BLOCKS if language == "python"]
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["rewirer"].steps == 20
    said = re.search(r"print\(model.wiring\) +# (Wiring\(.*?), \.\.\.\)", code).group(1)
    assert capsys.readouterr().out.startswith(said)
    exec(compile(proof, "README.md", "exec"), names)
    answer = names["certificate"]
    assert Path("circuit.json").exists() == bool(answer)
    assert str(answer) in capsys.readouterr().out
