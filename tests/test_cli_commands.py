"""The commands, run in this process with tiny settings, and what they say when they cannot."""

import csv
import json
import re
import shlex
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from interrupting import interrupt

import elegans
from elegans.checkpoints.saving import load, save
from elegans.cli import main
from elegans.data import read_table
from elegans.errors import RunError
from elegans.training import OnStep, RunFolder, load_model, predict
from elegans.wiring import AutoNCP, Wiring

SMALL = (
    "--units 10 --unfolds 2 --steps 12 --window 8 --evaluate-every 4 --checkpoint-every 5 --quiet"
)
REWIRE = "--rewire.every 2 --rewire.threshold cosine --rewire.value 0.3"


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["worm,t,speed,turn,depth"]
    for worm in range(5):
        time = np.cumsum(rng.uniform(15, 25, 40))
        speed = np.sin(time / 90 + worm)
        for t, s in zip(time, speed, strict=True):
            lines.append(f"w{worm},{t:.3f},{s:.5f},{s * s:.5f},{100 + 30 * s:.4f}")
    path = tmp_path / "worms.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def train(data, out, *more, inputs="speed turn", targets="depth"):
    words = f"train {data} --inputs {inputs} --targets {targets} --time t --sequence worm"
    return main([*f"{words} --out {out} {SMALL} {REWIRE}".split(), *more])


def fails(capsys):
    """Return the single line on stderr after checking that it is one."""
    out, err = capsys.readouterr()
    assert err.startswith("elegans: "), err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    return err


# --- train, evaluate, draw -------------------------------------------------------------------


@pytest.mark.slow
def test_train_evaluate_draw(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run) == 0
    said = capsys.readouterr().out
    for word in ("5 sequences", "parameters", "12 steps in", "rewired", "test depth"):
        assert word in said
    assert re.search(
        r"baselines depth +RMSE of mean [\d.]+, last value [\d.]+, linear [\d.e-]+; the", said
    )
    config = json.loads((run / "config.json").read_text())
    assert [column["name"] for column in config["data"]["inputs"]] == ["speed", "turn"]
    assert config["wiring"]["units"] == 10
    assert config["training"]["rewire"]["every"] == 2
    model = load_model(run)
    assert model.wiring.sensory_names == ("speed", "turn")
    assert model.wiring.names[0] == "depth"
    for picture in ("learning.png", "wiring.png"):
        assert (run / picture).read_bytes().startswith(b"\x89PNG")

    assert main(["evaluate", str(run), str(data)]) == 0
    said = capsys.readouterr().out
    assert "5 sequences, 200 steps" in said
    error = float(said.split("mean squared error ")[1].split(",")[0])
    deviation = RunFolder.open(run).scales.targets.unit[0]
    assert 0 < error < 10 * deviation**2  # in the units of the file, not of the circuit

    assert main(["draw", str(run), "--out", str(tmp_path / "picture.svg")]) == 0
    assert "<svg" in (tmp_path / "picture.svg").read_text()
    assert main(["draw", str(run / "wiring_initial.json")]) == 0
    assert (run / "wiring_initial.png").exists()


@pytest.mark.slow
def test_predictions_stand_beside_the_rows_of_the_file(data, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "new" / "answers.csv"
    assert train(data, run) == 0
    assert main(["evaluate", str(run), str(data)]) == 0
    said = capsys.readouterr().out
    assert main(["predict", str(run), str(data), "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[1] in said  # the error is that of evaluate
    rows = list(csv.DictReader(out.read_text().splitlines()))
    given = list(csv.DictReader(data.read_text().splitlines()))
    assert list(rows[0]) == ["sequence", "step", "depth measured", "depth predicted"]
    assert [row["sequence"] for row in rows] == [row["worm"] for row in given]
    assert [float(row["depth measured"]) for row in rows] == [float(row["depth"]) for row in given]
    assert [int(row["step"]) for row in rows] == [*range(40)] * 5
    table = read_table(data, ["speed", "turn"], "depth", time="t", sequence="worm")
    answers = predict(load_model(run), table.sequences, RunFolder.open(run).scales)
    predicted = [float(row["depth predicted"]) for row in rows]
    np.testing.assert_array_equal(predicted, np.concatenate(answers)[:, 0])
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")

    unlabelled = tmp_path / "unlabelled.csv"  # the same file without its last column
    lines = data.read_text().splitlines()
    unlabelled.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    assert main(["predict", str(run), str(unlabelled), "--out", str(out)]) == 0
    assert "error" not in capsys.readouterr().out
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["sequence", "step", "depth predicted"]
    assert [float(row["depth predicted"]) for row in rows] == predicted

    assert main(["evaluate", str(run), str(unlabelled)]) == 2
    assert "'depth', not among the columns" in fails(capsys)
    before = out.read_bytes()
    assert main(["predict", str(run), str(data), "--out", str(out.with_suffix(".txt"))]) == 2
    assert "expected a name that ends in .csv" in fails(capsys)
    half = tmp_path / "half.csv"
    half.write_text("worm,t,speed\na,1,2\na,2,3\n")
    assert main(["predict", str(run), str(half), "--out", str(out)]) == 2
    assert "'turn', not among the columns" in fails(capsys)
    assert out.read_bytes() == before


def test_predictions_never_replace_the_data(data, tmp_path, capsys):
    assert train(data, tmp_path / "run") == 0
    capsys.readouterr()
    before = data.read_bytes()
    assert main(["predict", str(tmp_path / "run"), str(data), "--out", str(data)]) == 2
    assert "as the data and as the place of the predictions" in fails(capsys)
    assert data.read_bytes() == before


def test_targets_that_are_inputs_too_and_names_like_ours(data, tmp_path, capsys):
    text = data.read_text().replace("depth", "step_$%$", 1)
    data.write_text(text)
    assert train(data, tmp_path / "run", inputs="speed turn", targets="speed step_$%$") == 0
    lines = [line.rpartition(",")[0] for line in data.read_text().splitlines()]
    data.write_text("\n".join(lines) + "\n")
    out = tmp_path / "answers.csv"
    assert main(["predict", str(tmp_path / "run"), str(data), "--out", str(out)]) == 0
    head = out.read_text().splitlines()[0]
    assert head == "sequence,step,speed predicted,step_$%$ predicted"


@pytest.mark.slow
def test_a_certified_run_is_not_continued_without_the_certificate(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--certify") == 0
    capsys.readouterr()
    assert train(data, tmp_path / "run", "--resume") == 2
    assert "certify" in fails(capsys)
    assert train(data, tmp_path / "run", "--resume", "--certify") == 0


def test_a_policy_misses_the_scales_of_its_run(data, tmp_path):
    assert train(data, tmp_path / "run") == 0
    assert elegans.Policy.load(tmp_path / "run").scales is not None
    (tmp_path / "run" / "standardiser.json").unlink()
    with pytest.raises(RunError, match="standardiser"):
        elegans.Policy.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("standardiser.json", None, "standardiser.json: got no such file"),
        ("standardiser.json", lambda text: text[:-9], "damaged or cut off"),
        ("standardiser.json", lambda text: text.replace("5", "6"), "other scales than those of"),
        ("wiring_initial.json", None, "wiring_initial.json: got no such file"),
        ("wiring_initial.json", lambda text: text[:-9], "wiring_initial.json"),
        ("wiring_initial.json", lambda text: Wiring.from_json(text).to_json(), None),
        ("wiring_initial.json", lambda text: AutoNCP(9, 1).build(2).to_json(), "9 neurons, exp"),
    ],
)
def test_what_the_end_needs_is_there_before_the_first_step(
    data, tmp_path, capsys, name, change, message
):
    import elegans.cli.train as command

    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert train(data, run) == 130
        capsys.readouterr()
        text = (run / name).read_text()
        if change is None:
            (run / name).unlink()
        else:
            (run / name).write_text(change(text))
        assert train(data, run, "--resume") == (130 if message is None else 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert (message or "stopped") in said


def test_rollbacks_are_told(data, tmp_path, capsys, monkeypatch):
    import elegans.cli.train as command
    from elegans.cli.examined import origin_of_run

    fit = command.fit

    def spoil(model, *arguments, **options):
        spoiled = []

        def watch(step):
            if step == 7 and not spoiled:
                spoiled.append(step)
                with torch.no_grad():
                    next(model.parameters()).fill_(float("nan"))

        return fit(model, *arguments, **options, callbacks=[OnStep(watch)])

    monkeypatch.setattr(command, "fit", spoil)
    assert train(data, tmp_path / "run") == 0
    said = capsys.readouterr().out
    assert re.search(r"rolled back +from step 7, each time to half the learning rate", said)
    run = RunFolder.open(tmp_path / "run")
    assert origin_of_run(run.path, run, None, 0).rollbacks == 1
    assert train(data, tmp_path / "none", "--rollbacks", "0") == 2
    assert "training diverged at step 7" in fails(capsys)


def test_demo_drives_once_at_least(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "run"), "--drives", "0"]) == 2
    assert "got 0 drives, expected at least 1" in fails(capsys)
    assert not (tmp_path / "run").exists()


def test_some_targets_but_not_all_are_refused(data, tmp_path, capsys):
    both = ["speed", "depth"]
    assert train(data, tmp_path / "run", inputs="turn", targets=" ".join(both)) == 0
    capsys.readouterr()
    lines = [line.rpartition(",")[0] for line in data.read_text().splitlines()]
    data.write_text("\n".join(lines) + "\n")
    words = ["predict", str(tmp_path / "run"), str(data), "--out", str(tmp_path / "answers.csv")]
    assert main(words) == 2
    assert "without the target 'depth', expected all of speed, depth or none" in fails(capsys)
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.slow
def test_train_certifies_for_the_inputs_of_the_file(data, tmp_path, capsys):
    from elegans.proofs import Certificate, certify

    run = tmp_path / "run"
    assert train(data, run, "--certify") == 0
    said = capsys.readouterr().out
    certificate = Certificate.load(run / "certificate.json")
    model = load_model(run)
    assert certificate.matches(model)
    scales = RunFolder.open(run).scales
    rate = certificate.rate / scales.elapsed
    assert f"approach each other at the rate {rate:.3g} per unit of t" in said
    rows = np.loadtxt(data, delimiter=",", skiprows=1, usecols=(2, 3))
    low, high = scales.inputs.apply(np.stack([rows.min(0), rows.max(0)])).tolist()
    assert certify(model, (low, high)).rate == pytest.approx(certificate.rate, rel=0.05)
    assert train(data, tmp_path / "memory", "--certify", "--mixed-memory") == 2
    assert "memory" in fails(capsys)
    assert not (tmp_path / "memory").exists()


@pytest.mark.slow
def test_interrupt_and_resume_end_alike(data, tmp_path, capsys, monkeypatch):
    assert train(data, tmp_path / "whole") == 0
    stopped = tmp_path / "stopped"
    import elegans.cli.train as command

    def stop(step):
        if step == 7:
            interrupt()

    fit = command.fit
    with monkeypatch.context() as patch:
        patch.setattr(command, "fit", partial(fit, callbacks=[OnStep(stop)]))
        capsys.readouterr()
        assert train(data, stopped) == 130
    said = capsys.readouterr().err
    assert said == (
        f"elegans: stopped at step 7 of 12; everything is saved in {stopped}: repeat the command "
        "with --resume to continue\n"
    )
    assert train(data, stopped, "--resume") == 0
    for name in ("model.safetensors", "wiring.json", "ledger.jsonl"):
        assert (stopped / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert train(data, stopped, "--resume") == 0  # complete already: only tested again


@pytest.mark.slow
def test_names_of_neurons_may_be_both_asked_and_answered(data, tmp_path):
    assert train(data, tmp_path / "run", inputs="speed", targets="speed turn") == 0
    assert load_model(tmp_path / "run").wiring.names[:2] == ("speed (answer)", "turn")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--inputs", "sped"], "'sped', not among the columns .* did you mean 'speed'"),
        (["--window", "60"], "shorter than a window"),
        (["--steps", "0"], "got steps = 0, expected at least 1"),
        (["--units", "3"], "take at least 4 units"),
        (["--unfolds", "0"], "ode_unfolds must be an integer of at least 1"),
        (["--rewire.until", "2"], "rewire.until = 2.0"),
        (["--rewire.value", "3"], "expected a share from 0 to 1"),
        (["--rewire.threshold", "absolute", "--rewire.value", "9"], "would be weak at once"),
        (["--rewire.rule", "best"], "unknown rule 'best', expected one of"),
        (["--sparsity", "0.01"], "sparsity_level must be"),
    ],
)
def test_wrong_input_writes_nothing(data, tmp_path, capsys, more, message):
    assert train(data, tmp_path / "run", *more) == 2
    assert re.search(message, fails(capsys))
    assert not (tmp_path / "run").exists()


def test_no_such_file(tmp_path, capsys):
    assert train(tmp_path / "none.csv", tmp_path / "run") == 2
    assert "got no file of this name" in fails(capsys)


@pytest.mark.slow
def test_occupied_folder(data, tmp_path, capsys):
    run = tmp_path / "run"
    train(data, run)
    capsys.readouterr()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert train(data, run) == 2
    assert "holds a run already, expected a new one; choose another folder, or pass --resume" in (
        fails(capsys)
    )
    assert train(data, run, "--resume", "--learning-rate", "0.5") == 2
    assert "got training.learning_rate = 0.5, expected 0.02" in fails(capsys)
    assert train(data, run, "--resume", "--units", "11") == 2
    assert "got wiring.units = 11, expected 10" in fails(capsys)
    with data.open("a") as file:
        file.write("w4,99999,0,0,0\n")
    assert train(data, run, "--resume") == 2
    assert "with other content than" in fails(capsys)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_resume_where_no_run_is(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--resume") == 2
    assert "expected the folder of a run" in fails(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_damaged_checkpoint(data, tmp_path, capsys):
    run = tmp_path / "run"
    train(data, run)
    capsys.readouterr()
    path = run / "checkpoint-00000012/model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    assert train(data, run, "--resume") == 2
    assert "delete the folder checkpoint-00000012 to continue from step 10" in fails(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate {tmp}/nothing {data}", "expected the folder of a run"),
        ("evaluate {model} {data}", "got format 'elegans.model'"),
        ("draw {tmp}/nothing", "got no such file or folder"),
        ("draw {tmp}", "got a folder without config.json"),
        ("draw {data}", "cannot read a wiring"),
        ("draw {model} --out {tmp}/picture.bmp", "expected one of the suffixes"),
    ],
)
def test_wrong_sources(data, tmp_path, capsys, arguments, message):
    save(elegans.LTC(2, AutoNCP(8, 1)), tmp_path / "model")
    words = arguments.format(tmp=tmp_path, data=data, model=tmp_path / "model").split()
    assert main(words) == 2
    assert message in fails(capsys)


@pytest.mark.slow
def test_evaluate_on_a_file_without_the_columns(data, tmp_path, capsys):
    train(data, tmp_path / "run")
    capsys.readouterr()
    (tmp_path / "other.csv").write_text("t,worm,speed\n0,a,1\n1,a,2\n")
    assert main(["evaluate", str(tmp_path / "run"), str(tmp_path / "other.csv")]) == 2
    assert "'turn', 'depth', not among the columns" in fails(capsys)


def test_draw_a_saved_model(tmp_path):
    save(elegans.LTC(2, AutoNCP(8, 1)), tmp_path / "model")
    assert main(["draw", str(tmp_path / "model")]) == 0
    assert (tmp_path / "model/wiring.png").exists()


# --- demo ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_demo(tmp_path, capsys):
    pytest.importorskip("gymnasium")
    words = f"demo --out {tmp_path}/demo --steps 60 --episodes 3 --drives 2 --quiet"
    assert main(words.split()) == 0
    said = capsys.readouterr().out
    for word in ("neurons      20", "60 steps", "synapses", "of 500 over 2 fresh episodes"):
        assert word in said
    for picture in ("learning", "wiring", "drives", "spectrum"):
        assert (tmp_path / f"demo/{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert load(tmp_path / "demo").wiring.sensory_names == ("position", "angle")
    assert main(words.split()) == 2
    assert "holds a run already" in fails(capsys)
    assert main([*words.split(), "--resume"]) == 0


@pytest.mark.slow
def test_the_folder_of_the_demo_is_all_that_a_simulator_needs(tmp_path, capsys):
    import gymnasium

    from elegans import Policy

    assert main(f"demo --out {tmp_path}/demo --drives 2 --quiet".split()) == 0
    policy = Policy.load(tmp_path / "demo")
    environment = gymnasium.make("CartPole-v1")
    for seed in (0, 1):
        observation, _ = environment.reset(seed=seed)
        policy.reset()
        for step in range(500):
            push = policy(observation[[0, 2]])
            observation, _, fell, _, _ = environment.step(int(push[0] > 0))
            assert not fell, f"after {step} steps"


def test_demo_needs_two_episodes(tmp_path, capsys):
    pytest.importorskip("gymnasium")
    assert main(["demo", "--out", str(tmp_path / "demo"), "--episodes", "1"]) == 2
    assert "got 1 episodes, expected at least 2" in fails(capsys)
    assert not (tmp_path / "demo").exists()


# --- the program -----------------------------------------------------------------------------


def test_help_is_quick_because_it_loads_no_torch():
    program = (
        "import sys, elegans.cli\n"
        "try: elegans.cli.main(['train', '--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'matplotlib', 'networkx', 'gymnasium'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--rewire.every" in done.stdout


@pytest.mark.slow
def test_the_module_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "elegans", "draw", "nothing"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("elegans: error: nothing: got no such file or folder")
    assert done.stdout == ""


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"elegans {elegans.__version__}\n"


def test_unknown_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["dance"])
    assert stop.value.code == 2


@pytest.mark.slow
@pytest.mark.parametrize("wiring", ["random", "full"])
def test_other_wirings_solvers_and_devices(data, tmp_path, capsys, wiring):
    run = tmp_path / "run"
    more = ["--wiring", wiring, "--solver", "exponential", "--patience", "3", "--device", "cpu"]
    assert train(data, run, *more) == 0
    model = load_model(run)
    assert model.cell.solver.name == "exponential"
    assert model.wiring.names[0] == "depth"
    if wiring == "full":
        assert model.synapse_count == 100
    capsys.readouterr()
    for option, value, said in (
        ("--solver", "magic", "magic"),
        ("--device", "nowhere", "got the device 'nowhere', expected one that PyTorch can use"),
        ("--patience", "0", "got patience = 0"),
    ):
        assert train(data, tmp_path / "other", option, value) == 2
        assert said in fails(capsys)
        assert not (tmp_path / "other").exists()


def test_a_reader_that_has_seen_enough(data):
    command = f"{sys.executable} -m elegans inspect {data} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    first, status = done.stdout.splitlines()
    assert first.startswith(f"{data}: 200 rows")
    assert status in ("0", "141")  # the pipe may hold everything
    assert not done.stderr


@pytest.mark.slow
def test_a_linear_map_of_all_neurons_answers(data, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "predictions.csv"
    assert train(data, run, "--readout", "--certify") == 0
    assert "proved" in capsys.readouterr().out
    model = load_model(run)
    assert isinstance(model, elegans.Readout)
    assert model.wiring.names[0] == "motor_0"
    for words in (f"evaluate {run} {data}", f"predict {run} {data} --out {out}", f"draw {run}"):
        assert main(words.split()) == 0
    said = capsys.readouterr().out
    assert "RMSE" in said
    pytest.importorskip("plotly")
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").exists()


# --- circuits of any kind, and of other runs ---------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "synapses"),
    [
        ("--wiring heavy-tailed --wiring-options synapses=40", 40),
        (
            "--wiring ncp --wiring-options inter_neurons=5 command_neurons=4 sensory_fanout=3 "
            "inter_fanout=2 recurrent_command_synapses=3 motor_fanin=3",
            None,
        ),
        ("--wiring binomial-ncp --wiring-options inter_neurons=5 command_neurons=4 p1=1.0", None),
        ("--wiring random --sparsity 0.7 --dtype float64 --readout", None),
        ("--optimizer rmsprop --schedule linear --accumulate 2 --weight-decay 0.001", None),
    ],
)
def test_train_with_any_wiring_and_optimizer(data, tmp_path, options, synapses):
    assert train(data, tmp_path / "run", *options.split()) == 0
    model = load_model(tmp_path / "run")
    if synapses is not None:
        assert model.synapse_count == synapses
    if "float64" in options:
        assert next(model.parameters()).dtype == torch.float64
    assert main(["evaluate", str(tmp_path / "run"), str(data)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".json", ".csv", ".graphml"])
def test_train_a_wiring_in_a_file(data, tmp_path, suffix):
    wiring = AutoNCP(9, 1, seed=4).build(2)
    wiring.save(tmp_path / f"mine{suffix}")
    still = "--rewire.no-enabled"
    assert train(data, tmp_path / "run", "--wiring", str(tmp_path / f"mine{suffix}"), still) == 0
    trained = load_model(tmp_path / "run").wiring
    assert trained.sensory_names == ("speed", "turn")
    assert trained.recurrent == wiring.recurrent
    assert trained.sensory == wiring.sensory


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--wiring auto_ncp", "got --wiring 'auto_ncp', expected one of auto-ncp, ncp, .* a file"),
        ("--wiring none.json", "cannot read a wiring from none.json: No such file"),
        ("--wiring ncp", "got no inter_neurons for --wiring ncp, expected .*command_neurons=8"),
        (
            "--wiring-options fanout=3",
            "got --wiring-options 'fanout=3' for auto-ncp, expected .*one",
        ),
        ("--wiring-options seed", "got --wiring-options 'seed' for auto-ncp, expected NAME=VALUE"),
        ("--wiring-options seed=a+b", "expected a number or another literal of Python"),
        ("--accumulate 0", "got accumulate = 0, expected at least 1"),
        ("--weight-decay -1", "got weight_decay = -1.0, expected a finite number of at least 0"),
        ("--warm-start nowhere", "nowhere"),
    ],
)
def test_circuits_that_cannot_be_built(data, tmp_path, capsys, options, message):
    assert train(data, tmp_path / "run", *options.split()) == 2
    assert re.search(message, fails(capsys))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("family", ["ncp", "binomial-ncp", "heavy-tailed", "layered"])
def test_the_options_that_a_family_needs_are_shown_as_they_are_typed(
    data, tmp_path, capsys, family
):
    assert train(data, tmp_path / "run", "--wiring", family) == 2
    options = shlex.split(fails(capsys).partition("such as --wiring-options ")[2])
    assert train(data, tmp_path / "run", "--wiring", family, "--wiring-options", *options) == 0


def test_a_wiring_of_other_sizes(data, tmp_path, capsys):
    AutoNCP(9, 2, seed=4).build(2).save(tmp_path / "two.json")
    AutoNCP(9, 1, seed=4).build(3).save(tmp_path / "three.json")
    assert train(data, tmp_path / "run", "--wiring", str(tmp_path / "two.json")) == 2
    assert "a wiring of 2 motor neurons for 1 targets (depth), expected as many" in fails(capsys)
    assert train(data, tmp_path / "run", "--wiring", str(tmp_path / "three.json")) == 2
    assert "a wiring of 3 sensory neurons for 2 inputs (speed, turn)" in fails(capsys)


@pytest.mark.slow
def test_a_run_begins_with_another(data, tmp_path, capsys):
    first = tmp_path / "first"
    assert train(data, first, "--readout") == 0
    # Other data of other scales: those of the first run stay.
    lines = data.read_text().splitlines()
    other = tmp_path / "other.csv"
    other.write_text("\n".join([lines[0], *(line + "1" for line in lines[1:])]) + "\n")

    def warm(out, *more, data=other, inputs="speed turn"):
        words = f"train {data} --inputs {inputs} --targets depth --time t --sequence worm --steps 4"
        words += f" --window 8 --out {out} --quiet --warm-start {first}"
        return main([*words.split(), *more])

    assert warm(tmp_path / "second", "--learning-rate", "1e-12", "--rewire.no-enabled") == 0
    a, b = load_model(first), load_model(tmp_path / "second")
    for name, value in a.state_dict().items():
        torch.testing.assert_close(b.state_dict()[name], value, atol=1e-6, rtol=0)
    scales = [RunFolder.open(run).scales for run in (first, tmp_path / "second")]
    assert scales[0].targets.origin == scales[1].targets.origin
    assert (
        warm(tmp_path / "second", "--learning-rate", "1e-12", "--rewire.no-enabled", "--resume")
        == 0
    )

    capsys.readouterr()
    assert warm(tmp_path / "third", "--units", "12") == 2
    assert "got --units with --warm-start, expected the circuit as it is in" in fails(capsys)
    assert warm(tmp_path / "third", inputs="turn speed") == 2
    assert "trained on 'speed', expected 'turn' in its place as in the data" in fails(capsys)
    assert warm(tmp_path / "third", inputs="turn") == 2
    assert "a circuit of 2 inputs and 1 outputs, expected 1 and 1" in fails(capsys)


@pytest.mark.slow
def test_a_run_is_extended(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(data, run) == 0
    assert train(data, run, "--resume", "--steps", "20") == 0
    assert "20 steps in" in capsys.readouterr().out
    assert RunFolder.open(run).config["training"]["steps"] == 20
    assert RunFolder.open(run).metrics()[-1]["step"] == 20
    assert train(data, run, "--resume") == 2
    assert "got training.steps = 12, expected 20" in fails(capsys)


@pytest.mark.slow
def test_a_warm_start_keeps_precision_and_is_no_other_run(data, tmp_path, capsys):
    first = tmp_path / "first"
    assert train(data, first, "--dtype", "float64") == 0
    words = f"train {data} --inputs speed turn --targets depth --time t --sequence worm --window 8"
    words += f" --steps 4 --quiet --warm-start {first} --out"
    assert main([*words.split(), str(tmp_path / "second")]) == 0
    assert next(load_model(tmp_path / "second").parameters()).dtype == torch.float64
    assert main([*words.split(), str(tmp_path / "third"), "--dtype", "float32"]) == 0
    assert next(load_model(tmp_path / "third").parameters()).dtype == torch.float32
    capsys.readouterr()
    assert main([*words.split(), str(first), "--resume"]) == 2
    assert "got --warm-start for a run that was begun without" in fails(capsys)


@pytest.mark.slow
def test_neurons_of_a_file_named_like_inputs(data, tmp_path):
    wiring = AutoNCP(9, 1, seed=4).build(2)
    names = ["turn", "speed", *wiring.names[2:]]
    named = Wiring(2, wiring.layers, wiring.recurrent, wiring.sensory, names=names)
    named.save(tmp_path / "mine.json")
    assert train(data, tmp_path / "run", "--wiring", str(tmp_path / "mine.json")) == 0
    assert load_model(tmp_path / "run").wiring.names[:2] == ("depth", "speed (neuron)")
    assert train(data, tmp_path / "all", "--wiring", str(tmp_path / "mine.json"), "--readout") == 0
    names = load_model(tmp_path / "all").wiring.names[:2]
    assert names == ("turn (neuron)", "speed (neuron)")


@pytest.mark.slow
def test_files_without_rows(data, tmp_path, capsys):
    assert train(data, tmp_path / "run") == 0
    empty = tmp_path / "empty.csv"
    empty.write_text(data.read_text().splitlines()[0] + "\n")
    capsys.readouterr()
    for words in (f"predict {tmp_path / 'run'} {empty}", f"evaluate {tmp_path / 'run'} {empty}"):
        assert main(words.split()) == 2
        assert re.search("no rows", fails(capsys))


def test_a_device_without_values(data, tmp_path, capsys):
    assert train(data, tmp_path / "run", "--device", "meta") == 2
    assert "expected one that holds values" in fails(capsys)


@pytest.mark.slow
def test_several_files_are_a_sequence_each(data, tmp_path, capsys):
    rows = [line.split(",", 1) for line in data.read_text().splitlines()]
    files = []
    for worm in range(5):
        files.append(tmp_path / f"w{worm}.csv")
        own = [rest for name, rest in rows if name in ("worm", f"w{worm}")]
        files[-1].write_text("\n".join(own) + "\n")
    names = " ".join(map(str, files))
    assert main(f"inspect {names}".split()) == 0
    said = capsys.readouterr().out
    assert "5 files: 200 rows, 4 columns" in said
    assert f"elegans train {names} --targets" in said
    run = tmp_path / "run"
    words = f"train {names} --targets depth --time t --out {run} {SMALL} {REWIRE}"
    assert main(words.split()) == 0
    assert main([*words.split(), "--resume"]) == 0
    assert "5 files: 5 sequences" in capsys.readouterr().out
    assert main(f"evaluate {run} {files[0]} {files[1]}".split()) == 0
    assert "2 files: 2 sequences, 80 steps" in capsys.readouterr().out
    out = tmp_path / "predictions.csv"
    assert main(f"predict {run} {files[3]} {files[2]} --out {out}".split()) == 0
    with out.open() as file:
        told = [row["sequence"] for row in csv.DictReader(file)]
    assert told == ["w3"] * 40 + ["w2"] * 40
    assert main(f"predict {run} {files[0]} {files[1]} --out {files[1]}".split()) == 2
    assert "as the data and as the place of the predictions" in fails(capsys)
    for command in ("train --targets depth", "inspect", f"evaluate {run}", f"predict {run}"):
        assert main(command.split()) == 2
        assert "got no data, expected a file, several, or a folder" in fails(capsys)
    assert main(f"report {run}".split()) == 0
    assert "5 files: 5 sequences" in (run / "report.html").read_text()
