"""Losses and scores against PyTorch and scikit-learn, and trainings on classes and gaps."""

import csv

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch.nn import functional as F  # noqa: N812

from elegans import LTC
from elegans.cli import main
from elegans.data import Sequence, cut_windows
from elegans.errors import DataError, InputError
from elegans.training import RewireConfig, TrainingConfig, fit
from elegans.training.evaluation import WindowTensors
from elegans.training.losses import LOSSES, mean_loss
from elegans.training.scores import classification_scores, of_sequences, regression_scores
from elegans.wiring import AutoNCP


def numbers(steps=40, outputs=2, seed=0, unknown=0.0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(steps, outputs))
    truth[rng.random(steps) < unknown] = np.nan
    return Sequence("s", rng.normal(size=(steps, 3)), truth, np.ones(steps))


def labelled(steps=60, classes=3, seed=0, unknown=0.2):
    rng = np.random.default_rng(seed)
    truth = np.eye(classes)[rng.integers(classes, size=steps)]
    truth[rng.random(steps) < unknown] = np.nan
    return Sequence("s", rng.normal(size=(steps, 2)), truth, np.ones(steps))


# --- losses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"), [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", F.huber_loss)]
)
def test_losses_of_numbers(kind, expected):
    output, target = torch.randn(4, 5, 2), torch.randn(4, 5, 2)
    torch.testing.assert_close(mean_loss(kind, output, target), expected(output, target))
    target[1, 2, 0] = target[3, 4, :] = float("nan")
    known = torch.ones(4, 5, dtype=torch.bool)
    known[1, 2] = known[3, 4] = False
    found = mean_loss(kind, output, target)
    torch.testing.assert_close(found, expected(output[known], target[known]))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 5.0])])
def test_cross_entropy(weights):
    output, classes = torch.randn(4, 5, 3, requires_grad=True), torch.randint(3, (4, 5))
    target = F.one_hot(classes, 3).float()
    target[0, :3] = float("nan")
    classes[0, :3] = -100  # what PyTorch passes over
    found = mean_loss("cross_entropy", output, target, weights)
    expected = F.cross_entropy(output.flatten(0, 1), classes.flatten(), weights)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        *(torch.autograd.grad(v, output) for v in (found, expected)), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", LOSSES)
def test_nothing_known_costs_nothing(kind):
    output = torch.randn(2, 3, 2, requires_grad=True)
    loss = mean_loss(kind, output, torch.full((2, 3, 2), float("nan")))
    loss.backward()
    assert loss == 0
    assert not output.grad.any()


def test_balanced_weights():
    one = labelled(steps=50, unknown=0.1)
    windows = WindowTensors.of(cut_windows([one], 50), torch.zeros(1), "cross_entropy").balanced()
    known = one.targets[~np.isnan(one.targets).any(1)].argmax(1)
    expected = len(known) / (3 * np.bincount(known))
    np.testing.assert_allclose(windows.weights, expected, rtol=1e-6)
    assert windows.count(torch.arange(1)) == len(known)


# --- scores ------------------------------------------------------------------------------


def test_scores_of_numbers():
    sequences = [numbers(seed=k, unknown=0.2) for k in range(3)]
    answers = [np.random.default_rng(9).normal(size=(40, 2)) for _ in sequences]
    answers[0][:5] = np.nan
    truth, answer = (np.concatenate(some) for some in ([one.targets for one in sequences], answers))
    known = ~np.isnan(truth + answer).any(1)
    scores = regression_scores(answers, sequences)
    pair = truth[known], answer[known]
    for found, of in (
        (scores.mse, metrics.mean_squared_error),
        (scores.mae, metrics.mean_absolute_error),
        (scores.rmse, metrics.root_mean_squared_error),
        (scores.r2, metrics.r2_score),
    ):
        np.testing.assert_allclose(found, of(*pair, multioutput="raw_values"))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("ties", [False, True])
def test_scores_of_classes(classes, ties):
    sequences = [labelled(classes=classes, seed=k) for k in range(3)]
    rng = np.random.default_rng(1)
    answers = [rng.normal(size=(60, classes)) for _ in sequences]
    if ties:
        answers = [answer.round() for answer in answers]
    truth, answer = (np.concatenate(some) for some in ([one.targets for one in sequences], answers))
    known = ~np.isnan(truth).any(1)
    given, taken = truth[known].argmax(1), answer[known].argmax(1)
    chances = torch.tensor(answer[known]).softmax(-1).numpy()
    scores = classification_scores(answers, sequences)
    np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(given, taken))
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(given, taken))
    assert scores.f1 == pytest.approx(metrics.f1_score(given, taken, average="macro"))
    expected = metrics.roc_auc_score(truth[known], chances, average="macro")
    assert scores.auroc == pytest.approx(expected)


def test_degenerate_scores():
    one = Sequence("s", np.zeros((3, 1)), np.eye(3)[[1, 1, 1]], np.ones(3))
    scores = classification_scores([np.eye(3)[[1, 1, 2]]], [one])
    assert (scores.accuracy, scores.f1) == (pytest.approx(2 / 3), pytest.approx(0.4))
    assert np.isnan(scores.auroc)
    constant = Sequence("s", np.zeros((3, 1)), np.ones((3, 1)), np.ones(3))
    assert np.isnan(regression_scores([np.zeros((3, 1))], [constant]).r2).all()
    with pytest.raises(DataError, match="no step at which both"):
        regression_scores([np.full((3, 1), np.nan)], [constant])
    with pytest.raises(DataError, match="no step at which both"):
        regression_scores([], [])


def test_the_class_of_a_sequence():
    truth = np.eye(2)[[1, 1, 1]]
    one = Sequence("s", np.zeros((3, 1)), truth, np.ones(3))
    logits = np.array([[0.0, 1.0], [0.0, 1.0], [1.5, 0.0]])
    means, whole = of_sequences([logits], [one])
    expected = torch.tensor(logits).log_softmax(-1).mean(0)
    np.testing.assert_allclose(means[0][0], expected)
    np.testing.assert_array_equal(whole[0].targets, truth[:1])
    mixed = Sequence("m", np.zeros((2, 1)), np.eye(2), np.ones(2))
    assert of_sequences([logits, logits[:2]], [one, mixed]) is None


# --- training ----------------------------------------------------------------------------


def test_unknown_targets_have_no_part_in_training():
    one = numbers(steps=32, outputs=1, unknown=0.3)
    other = Sequence("s", one.inputs, one.targets.copy(), one.elapsed)
    config = TrainingConfig(steps=5, batch_size=4, window=8, rewire=RewireConfig(enabled=False))

    def trained(sequence):
        model = LTC(3, AutoNCP(8, 1, seed=0), generator=torch.Generator().manual_seed(0))
        windows = cut_windows([sequence], 8)
        result = fit(model, windows, windows, config, progress=False)
        return model.state_dict(), result.best_loss

    (weights, loss), (again, same) = trained(one), trained(other)
    assert np.isfinite(loss)
    assert loss == same
    for name, value in weights.items():
        assert torch.equal(value, again[name])


def test_a_loss_that_does_not_fit_the_task():
    with pytest.raises(InputError, match="class_weights 'balanced' with the loss 'mse'"):
        TrainingConfig(loss="mse", class_weights="balanced")


@pytest.fixture
def activity(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "activity").mkdir()
    for k in range(9):
        letter, speed = "ABC"[k % 3], (0.3, 0.8, 1.6)[k % 3]
        lines = ["stamp,x,activity"]
        for t in range(40):
            x = np.sin(speed * t) + 0.1 * rng.normal()
            lines.append(f"{1.7e12 + 100 * t:.0f},{x:.4f},{letter}")
        (tmp_path / "activity" / f"p{k}.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "activity"


SMALL = "--units 10 --unfolds 2 --steps 12 --window 8 --evaluate-every 4 --quiet"


@pytest.mark.slow
def test_classes_from_a_folder(activity, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "predictions.csv"
    words = f"train {activity} --targets activity --time stamp --out {run} {SMALL}"
    assert main([*words.split(), "--class-weights", "balanced"]) == 0
    said = capsys.readouterr().out
    for word in ("cross-entropy", "accuracy of majority class", "confusion"):
        assert word in said
    assert main(["predict", str(run), str(activity), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    for word in ("accuracy", "AUROC", "by sequence"):
        assert word in said
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == [
        "sequence", "step", "activity measured", "activity predicted",
        "P(activity=A)", "P(activity=B)", "P(activity=C)",
    ]  # fmt: skip
    assert [row["sequence"] for row in rows[::40]] == [f"p{k}" for k in range(9)]
    chances = np.array([[float(row[f"P(activity={c})"]) for c in "ABC"] for row in rows])
    np.testing.assert_allclose(chances.sum(1), 1)
    assert ["ABC"[k] for k in chances.argmax(1)] == [row["activity predicted"] for row in rows]
    right = np.mean([row["activity measured"] == row["activity predicted"] for row in rows])
    assert f"accuracy {right:.4g}" in said
    assert main([*words.split(), "--class-weights", "balanced", "--resume"]) == 0
    (activity / "p1.csv").write_text("stamp,x,activity\n1,2,D\n2,3,D\n")
    capsys.readouterr()
    assert main(["evaluate", str(run), str(activity)]) == 2
    assert "got 'D', expected one of 'A', 'B', 'C'" in capsys.readouterr().err


@pytest.mark.slow
def test_gaps_and_a_horizon_from_the_shell(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = np.sin(np.arange(200) / 5)
    lines = [f"{v:.4f},{'?' if rng.random() < 0.1 else round(v**2, 4)}" for v in x]
    data = tmp_path / "uci.data"
    data.write_text("\n".join(lines) + "\n")
    run, out = tmp_path / "run", tmp_path / "predictions.csv"
    words = f"train {data} --targets column1 --horizon 3 --out {run} {SMALL}"
    assert main(words.split()) == 2
    assert "got '?', expected a value" in capsys.readouterr().err
    assert not run.exists()
    assert main([*words.split(), "--missing", "fill", "--loss", "huber"]) == 0
    said = capsys.readouterr().out
    assert "test column1 (+3)" in said
    assert "missing cells: the last value" in said
    assert main(["predict", str(run), str(data), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 200
    measured = [row["column1 (+3) measured"] for row in rows]
    assert measured[-3:] == ["", "", ""]
    np.testing.assert_allclose([float(v) for v in measured[:-3]], x[3:], atol=1e-4)
    assert main([*words.split(), "--missing", "fill", "--loss", "cross_entropy", "--resume"]) == 2
    assert "got the loss 'cross_entropy' for numbers" in capsys.readouterr().err


def test_inspect(activity, tmp_path, capsys):
    assert main(["inspect", str(activity)]) == 0
    said = capsys.readouterr().out
    assert "9 files, 360 rows, 3 columns" in said
    assert "time stamp  regular, a step of 100 ms" in said
    assert f"elegans train {activity} --targets activity --time stamp\n" in said
    assert "classes are predicted by" in said
    data = tmp_path / "messy.csv"
    data.write_text("id;date;v;w;y\n1;2024-01-02;1,5;;0\n1;2024-01-01;?;;1\n2;2024-01-05;lots;;1\n")
    assert main(["inspect", str(data)]) == 0
    said = capsys.readouterr().out
    assert "decimal commas" in said
    assert "v     number, 1 missing, but" in said
    assert "line 4, column 'v': got 'lots'" in said
    assert "w     empty" in said
    assert "--targets y --time date --sequence id --missing fill --sort\n" in said
    for text, word in {"a,b\nx y,2\n": "No column can be", "a\n": "got no rows of data"}.items():
        data.write_text(text)
        assert main(["inspect", str(data)]) == (0 if "No" in word else 2)
        captured = capsys.readouterr()
        assert word in captured.out + captured.err


# --- what a hostile reader found ---------------------------------------------------------


def test_predictions_stand_in_the_order_of_the_file(tmp_path, capsys):
    order = np.random.default_rng(0).permutation(120)
    lines = [f"{t},{'' if t % 17 == 3 else t},{np.sin(t / 5):.4f}" for t in order]
    data, run, out = tmp_path / "d.csv", tmp_path / "run", tmp_path / "p.csv"
    data.write_text("t,x,y\n" + "\n".join(lines) + "\n")
    words = f"train {data} --targets y --time t --sort --missing drop --out {run} {SMALL}"
    assert main(words.split()) == 0
    assert main(["predict", str(run), str(data), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 120
    for t, row in zip(order, rows, strict=True):
        if t % 17 == 3:
            assert row["y predicted"] == row["step"] == ""
        else:
            assert float(row["y measured"]) == pytest.approx(np.sin(t / 5), abs=1e-4)
            assert int(row["step"]) == t - sum(k % 17 == 3 for k in range(t))
    capsys.readouterr()
    tomorrow = tmp_path / "tomorrow.csv"  # the answers are not known yet
    tomorrow.write_text("t,x,y\n0,1,\n1,2,\n")
    assert main(["predict", str(run), str(tomorrow), "--out", str(out)]) == 0
    assert "RMSE" not in capsys.readouterr().out
    assert "measured" not in out.read_text()


def test_parts_without_answers_are_refused_before_anything_is_written(activity, tmp_path, capsys):
    data = tmp_path / "g.csv"
    lines = [f"{k},{'' if 130 <= k <= 175 else k % 9}" for k in range(200)]
    data.write_text("x,y\n" + "\n".join(lines) + "\n")
    for more, said in (
        ("--missing fill", "no step of the validation part with a known target"),
        ("--missing fill --horizon 40", "no step of the"),
        ("--missing fill --class-weights balanced", "'balanced' for numbers"),
    ):
        words = f"train {data} --targets y --out {tmp_path / 'run'} {SMALL} {more}"
        assert main(words.split()) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    run = tmp_path / "classes"
    words = f"train {activity} --targets activity --time stamp --out {run} {SMALL}"
    assert main(words.split()) == 0
    before = sorted(path.read_bytes() for path in activity.iterdir())
    assert main(["predict", str(run), str(activity), "--out", str(activity / "p1.csv")]) == 2
    assert "the data would be lost" in capsys.readouterr().err
    assert sorted(path.read_bytes() for path in activity.iterdir()) == before


def test_windows_without_answers_train_nothing():
    one = numbers(steps=16, outputs=1)
    empty = Sequence("s", one.inputs, np.full((16, 1), np.nan), one.elapsed)
    some, none = (cut_windows([each], 8) for each in (one, empty))
    quiet = {"steps": 3, "batch_size": 4, "window": 8, "rewire": RewireConfig(enabled=False)}
    for pair in ((some, none), (none, some)):
        with pytest.raises(DataError, match="got windows without a known target"):
            fit(LTC(3, AutoNCP(8, 1)), *pair, TrainingConfig(**quiet), progress=False)
    balanced = TrainingConfig(**quiet, class_weights="balanced")
    with pytest.raises(InputError, match="'balanced' with the loss 'mse'"):
        fit(LTC(3, AutoNCP(8, 1)), some, some, balanced, progress=False)
