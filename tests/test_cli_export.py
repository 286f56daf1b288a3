"""`elegans export`: files beside a run, and what is refused before they are written."""

import pytest
import torch

import elegans
from elegans.cli.main import WRONG, main
from elegans.data import Scale, Scales
from elegans.files import write_json
from elegans.wiring import AutoNCP


@pytest.fixture
def saved(tmp_path):
    """A saved model with scales of data and a certificate."""
    torch.manual_seed(0)
    model = elegans.LTC(2, AutoNCP(12, 1, sparsity_level=0.8, seed=1))
    folder = tmp_path / "run"
    elegans.save(model, folder)
    scales = Scales(Scale([5.0, 0.0], [2.0, 1.0], names=("flow", "heat")), Scale([0.0], [3.0]), 0.5)
    write_json(folder / "standardiser.json", scales.to_plain())
    elegans.proofs.certify(model, inputs=(-1, 1)).save(folder / "certificate.json")
    return folder


def refused(capsys, *arguments):
    assert main(["export", *map(str, arguments)]) == WRONG
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    return printed.err


def test_files_stand_in_the_run_and_say_what_is_certain(saved, capsys):
    assert main(["export", str(saved), "--to", "c", "--name", "pump", "--clamp"]) == 0
    printed = capsys.readouterr().out
    assert "12 neurons in C99" in printed
    assert "pump.h, pump.c" in printed
    header = (saved / "export" / "pump.h").read_text()
    assert "flow, heat" in header
    assert "a step lasts 0.5; " in header
    assert "flow in [3, 7]" in header
    assert "brought to it" in header


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--elapsed", "argument"], "const float *input, float elapsed,"),
        (["--elapsed", "0.25"], "a step lasts 0.25"),
        (["--numbers", "q15"], "const int16_t *input"),
        (["--sigmoid", "table", "--flash", "32K", "--ram", "2kb"], "bytes of tables"),
    ],
)
def test_choices_reach_the_file(saved, tmp_path, arguments, words):
    out = tmp_path / "out"
    assert main(["export", str(saved), "--to", "c", "--out", str(out), *arguments]) == 0
    assert words in (out / "circuit.h").read_text()


def test_nothing_is_written_where_something_is_wrong(saved, tmp_path, capsys):
    out = tmp_path / "out"
    for arguments, message in (
        (["--elapsed", "soon"], "got --elapsed soon, expected the length of a step"),
        (["--elapsed", "-1"], "expected the length of a step"),
        (["--flash", "big"], "got --flash big, expected bytes, such as 32768 or 32k"),
        (["--flash", "2k"], "got 2,048 bytes of flash, expected at least"),
        (["--name", "1"], "expected a word of letters"),
    ):
        assert message in refused(capsys, saved, "--to", "c", "--out", out, *arguments)
        assert not out.exists()
    assert "no such" in refused(capsys, tmp_path / "none", "--to", "c")


def test_files_that_are_there_stay(saved, capsys):
    assert main(["export", str(saved), "--to", "c"]) == 0
    source = saved / "export" / "circuit.c"
    source.write_text("mine")
    assert "got a file that is there already" in refused(capsys, saved, "--to", "c")
    assert source.read_text() == "mine"
    assert main(["export", str(saved), "--to", "c", "--overwrite"]) == 0
    assert source.read_text() != "mine"


def test_a_certificate_of_another_circuit_is_refused(saved, capsys):
    model = elegans.load(saved)
    with torch.no_grad():
        model.cell.vleak.add_(0.1)
    elegans.save(model, saved, overwrite=True)
    assert "expected one of this circuit as it is now" in refused(capsys, saved, "--to", "c")
