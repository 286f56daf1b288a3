"""A valid call of everything public, and wrong values to put into each of its arguments.

A campaign of one's own goes over `calls()` with other values: ``outcome(name, argument, value)``
is None where the value was accepted or refused with an error of the library.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn

import elegans
from elegans.data import Scales, Sequence, cut_windows
from elegans.errors import ElegansError
from elegans.proofs.certificates.network import Box
from elegans.pruning import CosineFraction, parts_of
from elegans.wiring import AutoNCP, Synapses
from elegans.wiring.connectome import BuiltWiring, Connectome, Edges, tap_withdrawal, to_wiring

PACKAGES = (
    "elegans",
    "elegans.export",
    "elegans.wiring",
    "elegans.wiring.connectome",
    "elegans.pruning",
    "elegans.training",
    "elegans.proofs",
)

WRONG: dict[str, Any] = {
    "None": None,
    "True": True,
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "nan": math.nan,
    "inf": math.inf,
    "10**400": 10**400,
    "text": "x",
    "no text": "",
    "list": [],
    "dict": {},
    "object": object(),
    "meta": torch.empty(3, device="meta"),
}

Arguments = dict[str, Any]


def circuit(**options: Any) -> elegans.LTC:
    generator = torch.Generator().manual_seed(0)
    return elegans.LTC(2, AutoNCP(12, 1, seed=0), ode_unfolds=2, generator=generator, **options)


def waves() -> list[Sequence]:
    time = np.arange(12.0)
    columns = np.stack([np.sin(time), np.cos(time)], 1)
    return [Sequence(str(i), columns, np.sin(time - i)[:, None], np.ones(12)) for i in range(2)]


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = circuit()
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def _training() -> Arguments:
    config = elegans.training.TrainingConfig(
        steps=2, batch_size=2, window=6, evaluate_every=1, checkpoint_every=2
    )
    windows = cut_windows(waves(), 6)
    return {"model": circuit(), "train": windows, "validation": windows, "config": config}


def _rewirer() -> Arguments:
    model, optimizer = trained()
    return {
        "model": model,
        "optimizer": optimizer,
        "threshold": 0.01,
        "every": 5,
        "steps": 60,
        "weight": 0.05,
    }


def _pruner() -> Arguments:
    model, optimizer = trained()
    exchange = {"growth": "random", "drop_fraction": CosineFraction(0.3, 100)}
    return {"model": model, "optimizer": optimizer, **exchange}


def _jacobian() -> torch.Tensor:
    return torch.tensor([[-1.0, 0.5], [0.0, -2.0]], dtype=torch.float64)


def _dynamics() -> Any:
    return circuit(dtype=torch.float64).cell.dynamics(torch.zeros(1, 2, dtype=torch.float64))


def _estimated(kind: str) -> Callable[..., Any]:
    """Return what makes an estimator and trains it: there its arguments are looked at."""

    def fitted(**arguments: Any) -> Any:
        rng = np.random.default_rng(0)
        estimator = getattr(elegans, kind)(**arguments)
        if kind == "LiquidForecaster":
            return estimator.fit(np.sin(np.arange(40.0)))
        sequences = rng.normal(size=(4, 6, 2))
        return estimator.fit(sequences, np.arange(4) % 2)

    return fitted


_LAYER: Arguments = {"input_size": 2, "units": 5}
_WINDOWED: Arguments = {"steps": 1, "batch_size": 2, "units": 8, "unfolds": 1}
_CURVE: Arguments = {"final": 0.5, "end": 10}
_BOX = Box(np.full(12, -1.0), np.full(12, 1.0))
_RANGE = (-1.0, 1.0)


def _certificate() -> Any:
    from elegans.proofs.claims.small_circuits import circuit as small_circuit

    return elegans.proofs.certify(small_circuit(1), _RANGE)


_ENDS = {name: torch.zeros(1, dtype=torch.long) for name in ("source", "target", "polarity")}


def _tap() -> BuiltWiring:
    return to_wiring(tap_withdrawal(), ["PLM"], ["AVB"])


VALID: dict[str, Callable[[], Arguments]] = {
    # Layers and cells
    "elegans.LTC": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.CTRNN": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.CTGRU": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.LRC": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.LrcSSM": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.NeuralLTC": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.NeuralODE": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.CfC": lambda: {**_LAYER, "device": None, "dtype": None},
    "elegans.LTCCell": lambda: {"wiring": 5, "in_features": 2, "device": None, "dtype": None},
    "elegans.CTRNNCell": lambda: {"wiring": 5, "in_features": 2, "device": None, "dtype": None},
    "elegans.LRCCell": lambda: {"wiring": 5, "in_features": 2, "device": None, "dtype": None},
    "elegans.LrcSSMCell": lambda: {"wiring": 5, "in_features": 2, "device": None, "dtype": None},
    "elegans.NeuralLTCCell": lambda: {"wiring": 5, "in_features": 2, "device": None, "dtype": None},
    "elegans.NeuralODECell": lambda: {"wiring": 5, "in_features": 2, "device": None, "dtype": None},
    "elegans.WiredCfCCell": lambda: {"wiring": 5, "in_features": 2, "device": None, "dtype": None},
    "elegans.CfCCell": lambda: {"input_size": 2, "hidden_size": 5, "device": None, "dtype": None},
    "elegans.CTGRUCell": lambda: {"input_size": 2, "hidden_size": 5, "device": None, "dtype": None},
    "elegans.Stacked": lambda: {
        "make": lambda inputs: elegans.CTRNN(inputs, 3),
        "input_size": 2,
        "num_layers": 1,
    },
    "elegans.Readout": lambda: {
        "layer": circuit(),
        "output_size": 2,
        "device": None,
        "dtype": None,
    },
    "elegans.set_conductances": lambda: {
        "model": elegans.LTC(1, _tap().wiring),
        "built": _tap(),
    },
    "elegans.Policy": lambda: {"model": circuit()},
    "elegans.parallel_in_time": lambda: {"model": circuit()},
    "elegans.lesion": lambda: {
        "model": circuit(),
        "evaluate": (torch.zeros(2, 3, 2), torch.zeros(2, 3, 1)),
        "kinds": ["inputs"],
    },
    "elegans.backend": lambda: {"path": "auto"},
    "elegans.from_ncps": lambda: {"saved": elegans.to_ncps(circuit())},
    "elegans.load_ncps": lambda: {"model": circuit(), "saved": elegans.to_ncps(circuit())},
    "elegans.to_ncps": lambda: {"model": circuit()},
    "elegans.register_layer": lambda: {"kind": elegans.LTC},
    "elegans.export.c": lambda: {"model": circuit()},
    "elegans.export.numpy": lambda: {"model": circuit()},
    "elegans.export.onnx": lambda: {"model": circuit()},
    "elegans.export.js": lambda: {"model": circuit()},
    "elegans.export.page": lambda: {"model": circuit()},
    "elegans.export.ExportedFiles": lambda: {"files": {"a": b""}, "summary": ""},
    "elegans.save": lambda: {"model": circuit(), "folder": "saved", "overwrite": True},
    "elegans.load": lambda: {"folder": "saved"},
    "elegans.report": lambda: {"model": circuit(), "data": torch.zeros(1, 5, 2)},
    "elegans.LiquidRegressor": lambda: dict(_WINDOWED),
    "elegans.LiquidClassifier": lambda: dict(_WINDOWED),
    "elegans.LiquidForecaster": lambda: {**_WINDOWED, "window": 8},
    # Wirings
    "elegans.wiring.AutoNCP": lambda: {"units": 12, "output_size": 2},
    "elegans.wiring.BinomialNCP": lambda: {
        "inter_neurons": 4,
        "command_neurons": 3,
        "motor_neurons": 2,
    },
    "elegans.wiring.FullyConnected": lambda: {"units": 4},
    "elegans.wiring.HeavyTailed": lambda: {"units": 20, "output_size": 2, "synapses": 60},
    "elegans.wiring.Layered": lambda: {
        "layers": {"inter": 3, "motor": 2},
        "density": {("sensory", "inter"): 0.5, ("inter", "motor"): 0.5},
    },
    "elegans.wiring.NCP": lambda: {
        "inter_neurons": 4,
        "command_neurons": 3,
        "motor_neurons": 2,
        "sensory_fanout": 2,
        "inter_fanout": 2,
        "recurrent_command_synapses": 2,
        "motor_fanin": 2,
    },
    "elegans.wiring.Neuron": lambda: {"index": 0, "name": "a", "layer": "motor"},
    "elegans.wiring.Overgrown": lambda: {"recipe": AutoNCP(12, 2)},
    "elegans.wiring.Random": lambda: {"units": 6},
    "elegans.wiring.Recipe": dict,
    "elegans.wiring.Synapses": lambda: {"source": [0], "target": [1], "polarity": [1]},
    "elegans.wiring.Wiring": lambda: {
        "input_size": 1,
        "layers": {"motor": 2},
        "recurrent": Synapses([0], [1], [1]),
        "sensory": Synapses([0], [0], [1]),
    },
    "elegans.wiring.GapJunctions": lambda: {
        "source": [2, 3],
        "target": [0, 1],
        "rectifying": [False, True],
    },
    "elegans.wiring.save_page": lambda: {
        "wiring": AutoNCP(8, 2).build(2),
        "path": "circuit.html",
    },
    "elegans.wiring.draw": lambda: {"wiring": AutoNCP(8, 2).build(2)},
    # Connectomes
    "elegans.wiring.connectome.Connectome": lambda: {
        "names": ["a", "b"],
        "chemical": Edges([0], [1], [2]),
    },
    "elegans.wiring.connectome.Edges": lambda: {"pre": [0], "post": [1], "count": [2]},
    "elegans.wiring.connectome.Rules": dict,
    "elegans.wiring.connectome.between": lambda: {
        "connectome": tap_withdrawal(),
        "inputs": ["PLM"],
        "outputs": ["AVB"],
        "hops": 2,
    },
    "elegans.wiring.connectome.collapse": lambda: {"connectome": tap_withdrawal()},
    "elegans.wiring.connectome.conductances": lambda: {"edges": tap_withdrawal().chemical},
    "elegans.wiring.connectome.load": lambda: {
        "source": Connectome(["a", "b"], Edges([0], [1], [2])).to_networkx(),
    },
    "elegans.wiring.connectome.neighborhood": lambda: {
        "connectome": tap_withdrawal(),
        "names": ["AVA"],
    },
    "elegans.wiring.connectome.neurons_only": lambda: {"connectome": tap_withdrawal()},
    "elegans.wiring.connectome.random_counterpart": lambda: {
        "connectome": tap_withdrawal(),
        "swaps": 1.0,
    },
    "elegans.wiring.connectome.select": lambda: {
        "connectome": tap_withdrawal(),
        "names": ["AVA"],
    },
    "elegans.wiring.connectome.to_wiring": lambda: {
        "connectome": tap_withdrawal(),
        "inputs": ["AVM"],
        "outputs": ["AVA"],
        "electrical": "leave_out",
    },
    "elegans.wiring.connectome.with_polarity": lambda: {"connectome": tap_withdrawal()},
    # Pruning
    "elegans.PruneRewire": _rewirer,
    "elegans.Pruner": _pruner,
    "elegans.pruning.Absolute": lambda: {"value": 0.1},
    "elegans.pruning.AtFractions": lambda: {"sparsities": (0.5,), "fractions": (0.5,), "steps": 10},
    "elegans.pruning.Cosine": lambda: dict(_CURVE),
    "elegans.pruning.Cubic": lambda: dict(_CURVE),
    "elegans.pruning.CosineFraction": lambda: {"initial": 0.3, "steps": 10},
    "elegans.pruning.Edit": lambda: {
        "step": 1,
        "synapses": "cell.recurrent",
        "source": 0,
        "cut": 0,
        "grown_source": None,
        "grown": None,
        "polarity": None,
        "weight": 0.1,
        "outcome": "pruned",
    },
    "elegans.pruning.ProposedEdit": lambda: {
        "step": 1,
        "synapses": "cell.recurrent",
        "slot": 0,
        "source": 0,
        "cut": 0,
        "old_weight": 0.1,
    },
    "elegans.pruning.FunctionCriterion": lambda: {"function": lambda part: part.weights()},
    "elegans.pruning.GradientGrowth": dict,
    "elegans.pruning.HebbianGrowth": dict,
    "elegans.pruning.MomentumGrowth": dict,
    "elegans.pruning.StrengthGrowth": dict,
    "elegans.pruning.LinkPrediction": dict,
    "elegans.pruning.RandomGrowth": dict,
    "elegans.pruning.RandomWalk": dict,
    "elegans.pruning.GrowthContext": lambda: {
        "name": "a",
        **_ENDS,
        "rng": np.random.default_rng(0),
        "_slopes": lambda: torch.zeros(1),
    },
    "elegans.pruning.GuardResult": lambda: {"accepted": True},
    "elegans.pruning.IterativeSchedule": lambda: {"levels": (0.5,)},
    "elegans.pruning.OneShot": lambda: {"final": 0.5},
    "elegans.pruning.LotteryTicket": lambda: dict(
        zip(("model", "optimizer"), trained(), strict=True)
    ),
    "elegans.pruning.Magnitude": dict,
    "elegans.pruning.LargestFirst": dict,
    "elegans.pruning.RandomScore": dict,
    "elegans.pruning.GradientWeight": dict,
    "elegans.pruning.ReversalWeight": dict,
    "elegans.pruning.Snip": dict,
    "elegans.pruning.Movement": dict,
    "elegans.pruning.OpenConductance": dict,
    "elegans.pruning.OutputSensitivity": dict,
    "elegans.pruning.SmoothedSaliency": dict,
    "elegans.pruning.SynapticFlow": dict,
    "elegans.pruning.Relative": lambda: {"share": 0.5},
    "elegans.pruning.Scope": lambda: {"pool": "layer", "units": False},
    "elegans.pruning.ScoringContext": lambda: {
        "model": circuit(),
        "parts": parts_of(circuit()),
        "closure": None,
        "generator": torch.Generator(),
    },
    "elegans.pruning.Turnover": lambda: {
        "cut": 1,
        "cut_grown": 1,
        "ages": {1: 1},
        "present": 1,
        "present_grown": 1,
    },
    "elegans.pruning.parts_of": lambda: {"model": circuit()},
    # Training
    "elegans.training.Callback": dict,
    "elegans.training.CsvLog": lambda: {"path": "log.csv"},
    "elegans.training.OnStep": lambda: {"function": print},
    "elegans.training.Result": lambda: {
        "steps": 1,
        "best_step": 1,
        "best_loss": 0.1,
        "metrics": [],
        "ledger": [],
        "seconds": 1.0,
    },
    "elegans.training.RewireConfig": dict,
    "elegans.training.RunFolder": lambda: {"path": "run"},
    "elegans.training.TensorBoard": lambda: {"folder": "board"},
    "elegans.training.TrainingConfig": dict,
    "elegans.training.baseline_answers": lambda: {"train": waves(), "test": waves(), "lags": 2},
    "elegans.training.check_training": _training,
    "elegans.training.fit": lambda: {**_training(), "progress": False},
    "elegans.training.predict": lambda: {
        "model": circuit(),
        "sequences": waves(),
        "scales": Scales.fit(waves()),
    },
    # Proofs
    "elegans.proofs.CertificateGuard": lambda: {"model": circuit(), "inputs": _RANGE},
    "elegans.proofs.CertificateSensitivity": lambda: {"model": circuit(), "inputs": _RANGE},
    "elegans.proofs.ContractionCondition": lambda: {"model": circuit(), "inputs": _RANGE},
    "elegans.proofs.ContractionPenalty": lambda: {"model": circuit(), "inputs": _RANGE},
    "elegans.proofs.certify": lambda: {"model": circuit(), "inputs": _RANGE, "advice": False},
    "elegans.proofs.step_bound": lambda: {"model": circuit(), "inputs": _RANGE, "advice": False},
    "elegans.proofs.parameter_margin": lambda: {"certificate": _certificate()},
    "elegans.proofs.format_margin": lambda: {"certificate": _certificate()},
    "elegans.proofs.rounding_bound": lambda: {"certificate": _certificate()},
    "elegans.proofs.contraction_rates": lambda: {"model": circuit(), "inputs": _RANGE},
    "elegans.proofs.dominant": lambda: {"jacobian": _jacobian(), "k": 1},
    "elegans.proofs.rightmost": lambda: {"jacobian": _jacobian(), "k": 1},
    "elegans.proofs.spectrum": lambda: {"jacobian": _jacobian()},
    "elegans.proofs.equilibria": lambda: {
        "model": circuit(dtype=torch.float64),
        "inputs": [0.0, 0.0],
        "starts": 2,
    },
    "elegans.proofs.refute_contraction": lambda: {
        "model": circuit(dtype=torch.float64),
        "inputs": (-1.0, 1.0),
        "starts": 2,
    },
    "elegans.proofs.jacobian": lambda: {
        "dynamics": _dynamics(),
        "state": torch.zeros(1, 12, dtype=torch.float64),
    },
    "elegans.proofs.kreiss_bound": lambda: {"jacobian": _jacobian()},
    "elegans.proofs.logarithmic_norm": lambda: {"jacobian": _jacobian()},
    "elegans.proofs.non_normality": lambda: {"jacobian": _jacobian()},
    "elegans.proofs.norm_overshoot": lambda: {"eta": [1.0, 2.0]},
    "elegans.proofs.transient_growth": lambda: {
        "jacobian": _jacobian(),
        "times": torch.linspace(0, 1, 3, dtype=torch.float64),
    },
    "elegans.proofs.reach_tube": lambda: {
        "model": circuit(),
        "states": _RANGE,
        "inputs": _RANGE,
        "steps": 2,
    },
    "elegans.proofs.sampled_ceiling": lambda: {
        "model": circuit(dtype=torch.float64),
        "box": _BOX,
        "inputs": _RANGE,
        "samples": 4,
        "rounds": 1,
    },
    "elegans.proofs.spectra_along": lambda: {
        "model": circuit(),
        "inputs": torch.zeros(3, 2),
        "states": torch.zeros(3, 12),
    },
    "elegans.proofs.time_constants_along": lambda: {
        "model": circuit(),
        "inputs": torch.zeros(3, 2),
        "states": torch.zeros(3, 12),
    },
}


CALLED: dict[str, Callable[..., Any]] = {
    f"elegans.{kind}": _estimated(kind)
    for kind in ("LiquidRegressor", "LiquidClassifier", "LiquidForecaster")
}

NEVER = {
    "elegans.wiring.connectome.BuiltWiring": "a record that to_wiring makes",
    "elegans.wiring.connectome.datasets": "without arguments",
    "elegans.wiring.connectome.locomotion_command": "without arguments",
    "elegans.wiring.connectome.tap_withdrawal": "without arguments",
    "elegans.pruning.Criterion": "abstract",
    "elegans.pruning.GrowthRule": "abstract",
    "elegans.pruning.PrunableWeight": "abstract",
    "elegans.pruning.Schedule": "abstract",
    "elegans.pruning.Threshold": "a protocol",
    "elegans.training.Condition": "a protocol",
    "elegans.training.TrainingStopped": "an exception",
    "elegans.training.load_model": "elegans.load, of the folder of a run",
    "elegans.training.RunData": "a record of what RunData.read has checked",
    "elegans.proofs.Certificate": "a record that certify makes and Certificate.load checks",
    "elegans.proofs.ContractionBound": "a record that certify makes",
    "elegans.proofs.Network": "a record that Network.of makes",
    "elegans.proofs.NotCertified": "a record that certify makes",
    "elegans.proofs.FormatMargin": "a record that format_margin makes",
    "elegans.proofs.ParameterMargin": "a record that parameter_margin makes",
    "elegans.proofs.RoundingBound": "a record that rounding_bound makes",
    "elegans.proofs.ReachTube": "a record that reach_tube makes",
    "elegans.proofs.SeparateBoxes": "a record that refute_contraction makes",
    "elegans.proofs.UnstableRest": "a record that refute_contraction makes",
    "elegans.proofs.SampledCeiling": "a record that sampled_ceiling makes",
    "elegans.proofs.SparseJacobian": "a record that jacobian makes",
}
"""What is not called, and why."""


def public() -> Iterator[tuple[str, Any]]:
    """Iterate over everything public that can be called, each once."""
    seen = set()
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing) and not inspect.ismodule(thing) and id(thing) not in seen:
                seen.add(id(thing))
                yield f"{package}.{name}", thing


def calls() -> Iterator[tuple[str, str]]:
    """Iterate over the names of what is called, with the names of its arguments."""
    for name, thing in public():
        if name in VALID:
            parameters = inspect.signature(thing).parameters.values()
            plain = [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            for argument in dict.fromkeys((*plain, *VALID[name]())):
                yield name, argument


def call(called: str, /, **changed: Any) -> Any:
    """Call something public with valid arguments, some of them changed."""
    package, _, attribute = called.rpartition(".")
    function = CALLED.get(called) or getattr(import_module(package), attribute)
    return function(**VALID[called]() | changed)


def outcome(called: str, argument: str, value: Any) -> Exception | None:
    """Return the error that is not of the library, None where the value is accepted or refused."""
    try:
        call(called, **{argument: value})
    except ElegansError:
        return None
    except Exception as error:
        return error
    return None
