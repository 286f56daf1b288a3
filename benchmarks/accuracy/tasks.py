"""Tasks on which rules of rewiring are compared, each with its loss and its test error.

Rules are searched on these tasks alone; others confirm the rule that was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DATA = Path(__file__).parents[2].parent / "shared" / "data"
"""Where recorded runs of simulated robots may lie; see `recorded`."""


@dataclass(frozen=True, eq=False)
class Split:
    """Sequences of a task: inputs (sequence, time, input), targets, lengths, times of the steps."""

    x: Tensor
    y: Tensor
    lengths: Tensor | None = None
    timespans: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Tensor) -> Split:
        """Return some of the sequences."""
        columns = (self.x, self.y, self.lengths, self.timespans)
        return Split(*(None if column is None else column[index] for column in columns))

    def to(self, device: str) -> Split:
        """Return the sequences on another device."""
        columns = (self.x, self.y, self.lengths, self.timespans)
        return Split(*(None if column is None else column.to(device) for column in columns))

    def answer(self, model: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
        """Return what a model says after each step, (sequence, time, output)."""
        return model(self.x, timespans=self.timespans, lengths=self.lengths)[0]


@dataclass(frozen=True, eq=False)
class Task:
    """Training and test sequences, and how a model is trained on them."""

    train: Split
    test: Split
    outputs: int
    classifies: bool
    epochs: int
    batch: int = 16
    rate: float = 0.01
    validation: Split | None = None

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.train.x.shape[2]

    def loss(self, model: Callable[..., tuple[Tensor, Tensor]], split: Split) -> Tensor:
        """Return the mean squared error, or the cross-entropy of the answer after the last step."""
        output = split.answer(model)
        if self.classifies:
            return torch.nn.functional.cross_entropy(output[:, -1], split.y)
        return (output - split.y).square().mean()

    @torch.no_grad()
    def error(self, model: Callable[..., tuple[Tensor, Tensor]], split: Split) -> float:
        """Return the mean squared error, or the percentage of wrong answers."""
        if not self.classifies:
            return float(self.loss(model, split))
        answer = split.answer(model)[:, -1].argmax(-1)
        return 100 * float((answer != split.y).double().mean())


def recorded(name: str) -> Path:
    """Return the file of recorded runs; say where it comes from if it is not there."""
    path = DATA / name
    if not path.exists():
        raise SystemExit(
            f"{path} is missing: recorded runs of the authors of LTC and CfC as arrays, from the "
            "data of github.com/raminmh/liquid_time_constant_networks and github.com/raminmh/CfC; "
            "put them there, or leave the task out"
        )
    return path


def half_cheetah() -> Task:
    """Predict the next observation of a running robot; protocol of Hasani et al., AAAI 2021."""
    traces = np.load(recorded("half_cheetah.npz"))["traces"]

    def windows(runs: range) -> Split:
        pairs = [
            (traces[run, begin : begin + 32], traces[run, begin + 1 : begin + 33])
            for run in runs
            for begin in range(0, 1000 - 32 - 1, 10)
        ]
        x, y = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
        return Split(x, y)

    train, test, validation = windows(range(15, 25)), windows(range(5, 15)), windows(range(5))
    return Task(train, test, 17, False, epochs=100, validation=validation)


def cartpole() -> Task:
    """Imitate an optimal controller of a pole from positions alone; targets of variance 1."""
    from elegans.cli.demo import demonstrations
    from elegans.data import cut_windows

    shown = demonstrations(60, seed=0, window=64)
    train, test = (
        Split(*(torch.from_numpy(part) for part in (windows.inputs, windows.targets)))
        for windows in (cut_windows(shown.train, 64, 32), cut_windows(shown.validation, 64))
    )
    return Task(train, test, 1, False, epochs=60)


def digits() -> Task:
    """Tell handwritten digits of 8 x 8 pixels, a row at a time."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x = torch.from_numpy((images[order] / 16).reshape(-1, 8, 8).astype(np.float32))
    y = torch.from_numpy(labels[order].astype(np.int64))
    return Task(Split(x[:1000], y[:1000]), Split(x[1000:], y[1000:]), 10, True, epochs=60)


def japanese_vowels() -> Task:
    """Tell nine speakers by 12 coefficients of their vowels; Kudo, Toyama, Shimbo 1999."""
    train, test = (_of_aeon("JapaneseVowels", part) for part in ("TRAIN", "TEST"))
    return Task(train, test, 9, True, epochs=100)


def _of_aeon(name: str, part: str) -> Split:
    """Return a data set that the package aeon carries; the package is not imported."""
    lines = (_aeon_folder(name) / f"{name}_{part}.ts").read_text().splitlines()
    rows = [line for line in lines if line and line[0] not in "#@"]
    series: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for row in rows:
        *channels, label = row.split(":")
        series.append(np.array([c.split(",") for c in channels], dtype=np.float32).T)
        labels.append(label.strip())
    names = sorted(set(labels))
    longest = max(map(len, series))
    x = np.zeros((len(series), longest, series[0].shape[1]), np.float32)
    for k, one in enumerate(series):
        x[k, : len(one)] = one
    y = torch.tensor([names.index(label) for label in labels])
    return Split(torch.from_numpy(x), y, torch.tensor([len(one) for one in series]))


def _aeon_folder(name: str) -> Path:
    spec = find_spec("aeon")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the data come with the package aeon: pip install --no-deps aeon")
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data" / name


def walker2d(training: int = 60, test: int = 20) -> Task:
    """Predict the next observation of a walking robot from what is left of its steps.

    Protocol of Hasani et al., Nature Machine Intelligence 2022, with 60 of its 300 rollouts for
    training and 20 of its 60 for the test, unless others are asked for: a tenth of the steps is
    dropped, and the time since the last step that was kept is known.
    """
    with np.load(recorded("walker2d.npz")) as file:
        ends = np.cumsum(file["lengths"])[:-1]
        rollouts = np.split(file["rows"], ends)
    np.random.RandomState(125487).shuffle(rollouts)
    tests, validations, trains = rollouts[:test], rollouts[60:100], rollouts[100 : 100 + training]
    drops = np.random.RandomState(891374)

    def windows(runs: list[NDArray[np.float32]]) -> Split:
        columns: list[tuple[NDArray[np.float32], ...]] = []
        for run in runs:
            kept = np.flatnonzero(drops.random_sample(len(run) - 1) > 0.1)
            times = np.diff(kept, prepend=kept[0] - 1).astype(np.float32)
            for begin in range(0, len(kept) - 64, 16):
                index = kept[begin : begin + 64]
                columns.append((run[index], run[index + 1], times[begin : begin + 64]))
        x, y, spans = (torch.from_numpy(np.stack(side)) for side in zip(*columns, strict=True))
        return Split(x, y, timespans=spans)

    train, validation = windows(trains), windows(validations[: max(1, test * 2 // 3)])
    return Task(train, windows(tests), 17, False, epochs=30, validation=validation)


def hawkmoth() -> Task:
    """Imitate a teacher that sees a hovering moth as it is, from senses with noise, in gusts."""
    from elegans.data import Scales, cut_windows
    from elegans.replications.hawkmoth import Gusts, Sensors, Teacher, fly, lessons

    teacher = Teacher.of()
    flights = fly(teacher, episodes=100, seed=0, gusts=Gusts(), sensors=Sensors())
    flown = lessons(flights, teacher)
    scales = Scales.fit(flown[:80], [f"sense {k}" for k in range(8)], ["along", "across", "torque"])
    train, test = (
        Split(*(torch.from_numpy(part) for part in (windows.inputs, windows.targets)))
        for windows in (
            cut_windows(scales.apply(flown[:80]), 50, 10),
            cut_windows(scales.apply(flown[80:]), 50),
        )
    )
    return Task(train, test, 3, False, epochs=60)


def basic_motions() -> Task:
    """Tell four activities by accelerometer and gyroscope; data of aeon, of students in 2016."""
    train, test = (_of_aeon("BasicMotions", part) for part in ("TRAIN", "TEST"))
    return Task(train, test, 4, True, epochs=300)


def gait() -> Task:
    """Predict the next of nine accelerations of a walking patient; Bächlin et al. 2010."""
    path = _aeon_folder("Daphnet_S06R02E0") / "S06R02E0.csv"
    rows = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 10))
    known = rows[: len(rows) * 6 // 10]
    scaled = ((rows - known.mean(0)) / known.std(0)).astype(np.float32)

    def windows(first: int, end: int) -> Split:
        begins = range(first, end - 65, 16)
        x, y = (
            torch.from_numpy(np.stack([scaled[b + ahead : b + ahead + 64] for b in begins]))
            for ahead in (0, 1)
        )
        return Split(x, y)

    return Task(windows(0, len(known)), windows(len(known), len(rows)), 9, False, epochs=100)


TUNING: dict[str, Callable[[], Task]] = {
    "half_cheetah": half_cheetah,
    "cartpole": cartpole,
    "digits": digits,
    "japanese_vowels": japanese_vowels,
}
"""Tasks on which rules may be searched."""

CONFIRMING: dict[str, Callable[[], Task]] = {
    "walker2d": walker2d,
    "hawkmoth": hawkmoth,
    "basic_motions": basic_motions,
    "gait": gait,
}
"""Tasks that were named before, and played no part in the search."""


@cache
def task_of(name: str) -> Task:
    """Return a task; its data are loaded once."""
    return (TUNING | CONFIRMING)[name]()
