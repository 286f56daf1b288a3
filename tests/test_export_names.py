"""Names of columns that would end a comment, a text or an element: files in all languages run."""

import shutil
import subprocess
import sys

import pytest
import torch

import elegans
from elegans.data import Scale, Scales
from elegans.export import c, js, numpy, onnx, page
from elegans.wiring import AutoNCP

INPUTS = (
    '"""\nimport os; os.abort()\n"""',
    "*/\n#error\n\\",
    "</script><script>alert(1)</script>\u2028`${x}`",
)
OUTPUTS = ("a'\\", 'b\n"c')


@pytest.fixture
def policy():
    torch.manual_seed(0)
    scales = Scales(
        Scale([0.0] * 3, [1.0] * 3, names=INPUTS), Scale([0.0] * 2, [1.0] * 2, names=OUTPUTS), 1.0
    )
    return elegans.Policy(elegans.LTC(3, AutoNCP(12, 2, seed=1)), scales)


def test_files_run(policy, tmp_path):
    commands = {"node circuit.js": "node", f"{sys.executable} circuit.py": sys.executable}
    commands["gcc -DCIRCUIT_MAIN circuit.c -o run -lm"] = "gcc"
    for elapsed in ("argument", None):
        for write in (c, js, numpy):
            write(policy, elapsed=elapsed).save(tmp_path, overwrite=True)
        for command, program in commands.items():
            if shutil.which(program):
                subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)


def test_a_page_has_its_own_scripts_only(policy):
    text = page(policy).text("play.html")
    assert "alert(1)</script>" not in text
    assert text.count("<script") == text.count("</script>")


def test_a_graph_keeps_them(policy):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    session = runtime.InferenceSession(onnx(policy).files["circuit.onnx"])
    assert "import os" in session.get_modelmeta().custom_metadata_map["inputs"]
