"""Arguments of each command: one definition for the shell, for code and for saved settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from elegans.training.config import TrainingConfig


@dataclass(frozen=True)
class Demo:
    """Train a circuit that rewires itself to balance a pole, then drive the simulator.

    A small neural circuit policy learns CartPole-v1 from an optimal controller. The controller
    sees positions and velocities, the circuit positions only. Takes a minute or two.

    Parameters
    ----------
    out
        Folder for the run and its pictures.
    seed
        Draws episodes, wiring, initial weights, batches and rewiring.
    steps
        Optimiser steps.
    units
        Neurons.
    episodes
        Episodes of the expert to learn from.
    drives
        Fresh episodes to drive afterwards.
    certify
        Keep the circuit provably contracting while it learns, for every position and angle within
        the limits of the task, and write the proof.
    resume
        Continue a run that was stopped.
    quiet
        No progress bar.
    """

    out: Path = Path("runs/demo")
    seed: int = 0
    steps: int = 1200
    units: int = 20
    episodes: int = 40
    drives: int = 20
    certify: bool = False
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class TextOptions:
    """How a text file is written, where it is not found out.

    Parameters
    ----------
    separator
        What stands between cells, such as ';' or 'tab'.
    decimal
        The mark between units and tenths.
    header
        Whether the first line holds names.
    encoding
        Of the text, such as latin-1.
    """

    separator: str | None = None
    decimal: Literal[".", ","] | None = None
    header: Literal["yes", "no"] | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class TableOptions:
    """Which columns of a table are what.

    Parameters
    ----------
    targets
        Columns that the circuit predicts: numbers, or a class.
    inputs
        Columns that it reads: names, patterns such as 'a*', or 'all' that have no other part (with
        a horizon the targets, too).
    exclude
        Names and patterns that --inputs does not mean.
    time
        Column of times, as numbers, ISO dates, or counted from 1970; without it every step lasts
        equally long.
    time_unit
        The unit of numeric times: s, ms, us, ns, min, h or d.
    date_format
        Of dates that are not ISO 8601, such as '%d/%m/%Y %H:%M'.
    sequence
        Column that tells sequences apart; without it a file is one.
    missing
        What becomes of missing cells: an error; 'fill', the last value, with a mask and the time
        since then as further inputs; or 'drop', the row, so that the next step is longer.
    sort
        Sort the rows by sequence and time.
    task
        Regression or classification; by default words, true and false, 0 and 1 are classes.
    horizon
        How many steps ahead the targets are.
    """

    targets: tuple[str, ...]
    inputs: tuple[str, ...] = ("all",)
    exclude: tuple[str, ...] = ()
    time: str | None = None
    time_unit: str | None = None
    date_format: str | None = None
    sequence: str | None = None
    missing: Literal["error", "fill", "drop"] = "error"
    sort: bool = False
    task: Literal["auto", "regression", "classification"] = "auto"
    horizon: int = 0


@dataclass(frozen=True)
class Inspect:
    """Say how a file is understood, before anything is trained: columns, kinds, gaps, times.

    Parameters
    ----------
    data
        A file (.csv, .tsv, .txt, .parquet, .xlsx, .npz; text may be compressed), several, or a
        folder; each file is a sequence, or as --sequence says.
    """

    data: Positional[tuple[Path, ...]]
    text: Annotated[TextOptions, arg(name="")] = field(default_factory=TextOptions)


@dataclass(frozen=True)
class Train:
    """Train a circuit on the columns of a file, or of a folder of files.

    Sequences are split into training, validation and test parts; columns are scaled by the
    training part. Ctrl-C saves everything; the same command with --resume continues.

    Parameters
    ----------
    data
        A file (.csv, .tsv, .txt, .parquet, .xlsx, .npz; text may be compressed), several, or a
        folder; each file is a sequence, or as --sequence says.
    output
        Folder for the run.
    units
        Neurons of the circuit.
    wiring
        How it is drawn: auto-ncp, in layers of inter, command and motor neurons; random, every
        synapse by chance; full, all of them, which then stay where they are; ncp, binomial-ncp,
        heavy-tailed or layered, with --wiring-options; or a file (.json, .csv, .graphml).
    wiring_options
        Further arguments of the family in elegans.wiring, such as inter_fanout=4.
    sparsity
        Share of absent synapses, for auto-ncp from 0.1 to 0.9.
    solver
        See elegans.solvers.solver_names().
    unfolds
        Solver steps in each step of the data.
    device
        Where it is trained, such as cuda; the CPU by default.
    dtype
        Of its parameters and potentials; float32, or that of the run to start from.
    warm_start
        Begin with circuit, weights and scales of this run, in place of drawn ones.
    readout
        Let a linear map of all neurons answer, in place of motor neurons: more accurate.
    mixed_memory
        Add a memory cell, for long-term dependencies.
    certify
        Keep the circuit provably contracting for all inputs between the least and the greatest of
        the file.
    training
        Settings of the training.
    resume
        Continue a run that was stopped, or extend it to more steps.
    quiet
        No progress bar.
    """

    data: Positional[tuple[Path, ...]]
    table: Annotated[TableOptions, arg(name="")]
    text: Annotated[TextOptions, arg(name="")] = field(default_factory=TextOptions)
    output: Annotated[Path, arg(aliases=["--out"])] = Path("runs/train")
    units: int = 32
    wiring: str = "auto-ncp"
    wiring_options: tuple[str, ...] = ()
    sparsity: float = 0.5
    solver: str = "semi_implicit"
    unfolds: int = 6
    device: str | None = None
    dtype: Literal["float32", "float64", "bfloat16"] | None = None
    warm_start: Path | None = None
    readout: bool = False
    mixed_memory: bool = False
    certify: bool = False
    training: Annotated[TrainingConfig, arg(name="")] = field(default_factory=TrainingConfig)
    resume: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained circuit on a file with the columns that it was trained on.

    Parameters
    ----------
    run
        Folder of a run of `elegans train`.
    data
        Files or a folder, as for `train`; all their sequences are used.
    """

    run: Positional[Path]
    data: Positional[tuple[Path, ...]]


@dataclass(frozen=True)
class Predict:
    """Write what a trained circuit predicts for a file, and a picture beside it.

    A row for each row of the file, in its order: sequence, step, what was measured, if the file
    has the targets, and what is predicted, in the units of the file; of classes the probabilities,
    too. Steps count from 0 in the order of time; rows that --missing drop leaves out are empty.

    Parameters
    ----------
    run
        Folder of a run of `elegans train`.
    data
        Files or a folder with the inputs that it was trained on.
    out
        The predictions, a .csv file.
    """

    run: Positional[Path]
    data: Positional[tuple[Path, ...]]
    out: Path = Path("predictions.csv")


@dataclass(frozen=True)
class Draw:
    """Draw the wiring of a run before and after training, or a wiring in a file.

    Parameters
    ----------
    run
        Folder of a run or of a saved model, or a wiring in a .json, .csv or .graphml file.
    out
        The picture, its format chosen by the suffix; by default wiring.png in the folder, or
        beside the file under its name.
    view
        circuit, every neuron and synapse; matrix, a cell for each pair of neurons; classes, an
        arrow for each pair of layers; or auto, the circuit up to 100 neurons, else the matrix.
    """

    run: Positional[Path]
    out: Path | None = None
    view: Literal["auto", "circuit", "matrix", "classes"] = "auto"


@dataclass(frozen=True)
class Report:
    """Write a stability report of a trained circuit: a page for the browser, JSON and pictures.

    The circuit is examined under the data of its run. Without that data, --inputs gives the range
    of a random walk that takes its place, and the report says so.

    Parameters
    ----------
    run
        Folder of a run of `elegans train` or `elegans demo`, or of a saved model.
    data
        A file with the columns of the run; by default the one it was trained on.
    inputs
        Lowest and highest input of the proofs, in the units of the circuit
        (columns are scaled to mean 0 and deviation 1); by default the extremes of the data.
    out
        The page; JSON and pictures lie beside it. By default report.html in the folder.
    level
        Arithmetic of the certificate, which decides for which inputs and states it holds.
    seed
        Draws what is sampled.
    """

    run: Positional[Path]
    data: Path | None = None
    inputs: tuple[float, float] | None = None
    out: Path | None = None
    level: Literal["exact", "interval", "float"] = "interval"
    seed: int = 0


@dataclass(frozen=True)
class Play:
    """Write a page for the browser in which a trained circuit runs; it needs no network.

    Of `elegans demo` the circuit balances the pole: push it, silence a neuron by a click. Of
    `elegans train` it answers the sequences of its data. A wiring gets untrained weights.

    Parameters
    ----------
    run
        Folder of a run or of a saved model, or a wiring in a .json, .csv or .graphml file.
    data
        A file with the columns of the run; by default the one it was trained on.
    out
        The page; by default play.html in the folder, or beside the wiring under its name.
    seed
        Draws the weights of a wiring.
    overwrite
        Replace a page that is there already.
    open
        Show the page in the browser.
    """

    run: Positional[Path]
    data: Path | None = None
    out: Path | None = None
    seed: int = 0
    overwrite: bool = False
    open: bool = False


@dataclass(frozen=True)
class Export:
    """Write a trained circuit in another language, for a chip or another program.

    Scales of the data and output units are part of what is written. What was certified, by
    `--certify` in the training, is stated.

    Parameters
    ----------
    run
        Folder of a run or of a saved model.
    to
        c, one header and one source file of C99; numpy, a file of Python that needs NumPy alone;
        js, one of JavaScript for Node.js and browsers; or onnx, a graph.
    out
        Folder for the files; by default export in the folder of the run.
    name
        Of the files, and what names in them begin with.
    elapsed
        Length of a step in the unit of the data's times, or 'argument' where each call is given
        one; by default a usual step of the data.
    sigmoid
        In C: expf of math.h; poly, which needs no library; or table, the fastest without a
        floating-point unit.
    numbers
        In C: float, or whole numbers of 16 bits (q15) or 32 bits (q31) in and out, for chips
        without a floating-point unit.
    sequence
        In ONNX: a graph for whole sequences of any length, in place of one for a step.
    clamp
        Bring inputs into the range that the certificate holds for.
    flash
        What there is of it, such as 32k; a circuit that needs more is refused.
    ram
        What there is of it, such as 2k.
    overwrite
        Replace files that are there.
    """

    run: Positional[Path]
    to: Literal["c", "numpy", "js", "onnx"]
    out: Path | None = None
    name: str = "circuit"
    elapsed: str | None = None
    sigmoid: Literal["expf", "poly", "table"] = "expf"
    numbers: Literal["float", "q15", "q31"] = "float"
    sequence: bool = False
    clamp: bool = False
    flash: str | None = None
    ram: str | None = None
    overwrite: bool = False
