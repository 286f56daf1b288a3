"""The Python of the guides runs, block after block, from an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
RUN = ["causality.md", "compact.md", "control.md", "ensembles.md", "hawkmoth.md", "pruning.md"]


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_guide_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "control.md":
        pytest.importorskip("gymnasium")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.M | re.S)
    assert blocks
    names: dict[str, object] = {"__name__": "guide"}
    for number, code in enumerate(blocks):
        exec(compile(code, f"{name}, block {number}", "exec"), names)
