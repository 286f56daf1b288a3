"""Files of released versions are read, and say what they said."""

import shutil

import pytest
import torch
from released import EXAMPLES, FIXTURES, TRAINING, WALK, models, write
from safetensors.torch import load_file

import elegans
from elegans.cli import main
from elegans.training import RunFolder
from elegans.wiring import Wiring

VERSIONS = sorted(path.name for path in FIXTURES.iterdir())


def test_there_are_files_of_this_version():
    assert elegans.__version__ in VERSIONS


SAVED = [
    pytest.param(path.parent, id=f"{version}-{path.parent.name}")
    for version in VERSIONS
    for path in sorted((FIXTURES / version).glob(f"*/{EXAMPLES}"))
]


@pytest.mark.parametrize("path", ["auto", "reference"])
@pytest.mark.parametrize("folder", SAVED)
def test_models_compute_what_they_did(folder, path):
    expected = load_file(folder / EXAMPLES)
    model = elegans.load(folder)
    with torch.no_grad(), elegans.backend(path):
        output, _ = model(expected["x"])
    tolerance = 1e-5 if output.dtype == torch.float32 else 1e-10
    torch.testing.assert_close(output, expected["output"], rtol=0, atol=tolerance)
    assert output.abs().max() > 100 * tolerance


@pytest.mark.parametrize("version", VERSIONS)
def test_wirings_are_the_same_in_every_format(version):
    read = {Wiring.load(path) for path in (FIXTURES / version).glob("wiring.*")}
    assert len(read) == 1
    assert read.pop().units == 9


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_is_read_and_goes_on(version, tmp_path, monkeypatch):
    shutil.copytree(FIXTURES / version, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    run = RunFolder.open("run")
    before, edits = run.metrics(), run.ledger()
    assert before[-1]["step"] == 6
    assert any(edit["outcome"] == "rewired" for edit in edits)
    longer = TRAINING.replace("--steps 6", "--steps 9").split()
    assert main(["train", WALK, *longer, "--out", "run", "--resume"]) == 0
    again = RunFolder.open("run")
    assert again.steps == 9
    assert again.metrics()[: len(before)] == before
    assert again.ledger()[: len(edits)] == edits
    assert main(["predict", "run", WALK, "--out", "predictions.csv"]) == 0


def test_what_is_written_today_is_what_stands_there(tmp_path):
    write(tmp_path)
    folder = FIXTURES / elegans.__version__
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {path.parent.name for path in folder.glob(f"*/{EXAMPLES}")} == set(models())
    for name in sorted(names):
        if name.endswith("wiring.json"):
            assert (tmp_path / name).read_text() == (folder / name).read_text(), name
