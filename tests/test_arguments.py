"""Wrong arguments of everything public: an error of the library that names them, or none at all."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Literal

import pytest
import torch
import wrong_arguments
from wrong_arguments import NEVER, VALID, WRONG, calls, outcome, public

import elegans
from elegans.arguments import checked
from elegans.ensemble import Ensemble
from elegans.errors import InputError, PruningError, SolverError, WiringError
from elegans.synapses.constraints import POSITIVITY
from elegans.synapses.initial import Initializer
from elegans.synapses.liquid import LiquidSynapses
from elegans.synapses.signed import SignedSynapses
from elegans.wiring import Synapses

pytestmark = pytest.mark.filterwarnings("ignore")

ARGUMENTS: dict[str, list[str]] = {}
for called, argument in calls():
    ARGUMENTS.setdefault(called, []).append(argument)

LONG = ("elegans.Liquid", "elegans.report", "elegans.proofs.equilibria", "elegans.training.fit")


def test_everything_public_is_called_or_left_out_for_a_reason():
    assert {name for name, _ in public()} == VALID.keys() | NEVER.keys()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elegans.save(wrong_arguments.circuit(), "saved")


def foreign(called, arguments):
    """Return the errors that are not of the library, by argument and value."""
    errors = {}
    for argument, values in arguments.items():
        for value in values:
            error = outcome(called, argument, WRONG[value])
            if error is not None:
                errors[argument, value] = error
    return errors


@pytest.mark.parametrize("called", [name for name in ARGUMENTS if not name.startswith(LONG)])
def test_wrong_arguments(called):
    """Two values for each argument, other ones for the next."""
    wrong_arguments.call(called)
    values = [*WRONG] * 2
    some = {name: values[3 * k % len(WRONG) :][:2] for k, name in enumerate(ARGUMENTS[called])}
    assert foreign(called, some) == {}


@pytest.mark.slow
@pytest.mark.parametrize("called", ARGUMENTS)
def test_all_wrong_arguments(called):
    values = [*WRONG]
    if called == "elegans.report":  # takes seconds where it accepts
        values = ["10**400", "text", "object", "meta"]
    assert foreign(called, dict.fromkeys(ARGUMENTS[called], values)) == {}


MESSAGES = [
    ("elegans.LTC", {"generator": 2}, InputError, "got generator=2, expected Generator or None"),
    ("elegans.LTC", {"dtype": "float32"}, InputError, "dtype must be a floating type"),
    ("elegans.CfC", {"dtype": torch.int32}, InputError, "dtype must be a floating type"),
    ("elegans.CfC", {"dtype": 1}, InputError, "dtype must be a floating type"),
    ("elegans.CTRNN", {"device": "x"}, InputError, "got device = 'x', expected one that PyTorch"),
    ("elegans.Readout", {"device": 3.5}, InputError, "got device = 3.5, expected one that"),
    ("elegans.Readout", {"bias": True}, InputError, "unknown keyword 'bias'"),
    ("elegans.LTC", {"batch_first": "no"}, InputError, "LTC got batch_first='no', expected bool"),
    ("elegans.LTC", {"solver": 3}, SolverError, "3"),
    ("elegans.LTC", {"ode_unfolds": 10**400}, InputError, "ode_unfolds must be an integer"),
    ("elegans.CfC", {"units": 10**9}, InputError, "take fewer neurons"),
    ("elegans.backend", {"path": None}, InputError, "unknown backend None, expected one of"),
    ("elegans.wiring.AutoNCP", {"units": "8"}, WiringError, "units must be an integer"),
    ("elegans.Pruner", {"model": None}, PruningError, "got model=None, expected Module"),
    ("elegans.Pruner", {"guards": 1}, PruningError, "got guards=1, expected Sequence"),
    ("elegans.load", {"device": "x"}, InputError, "expected one that PyTorch can use here"),
    ("elegans.LiquidRegressor", {"units": "8"}, InputError, "LiquidRegressor got units='8', exp"),
]


@pytest.mark.parametrize(("called", "changed", "error", "message"), MESSAGES)
def test_messages_name_the_argument(called, changed, error, message):
    with pytest.raises(error, match=re.escape(message)):
        wrong_arguments.call(called, **changed)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("called", ["elegans.LTC", "elegans.CfC", "elegans.CTRNN"])
def test_a_device_that_is_not_there(called):
    with pytest.raises(InputError, match="got device = 'cuda', expected one that PyTorch can use"):
        wrong_arguments.call(called, device="cuda")


def test_errors_of_what_is_passed_are_not_taken_for_wrong_arguments():
    """Where every argument is what it should be, a foreign error is somebody else's."""

    @checked(InputError)
    def called(
        function: Callable[[], object],
        names: Sequence[str] = (),
        kind: Literal["a", "b"] = "a",
        *,
        number: float | None = None,
    ) -> object:
        return function()

    def broken():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        called(broken, ["a"], "b", number=1)
    for wrong in ({"names": "ab"}, {"names": [1]}, {"kind": "c"}, {"number": "1"}):
        with pytest.raises(InputError, match=f"called got {next(iter(wrong))}="):
            called(broken, **wrong)
    with pytest.raises(TypeError, match="unexpected keyword"):
        called(broken, other=1)
    assert called(dict, "ab") == {}  # what works is not refused
    assert inspect.signature(elegans.LTC).parameters["units"].default is inspect.Parameter.empty


def test_parts_of_layers_and_ensembles():
    """What users build layers of is no part of the packages above."""
    synapses = Synapses([0, 1], [1, 0], [1, -1])
    initial = Initializer(POSITIVITY["softplus"])
    for wrong, message in (
        ({"generator": 2}, "generator=2, expected Generator or None"),
        ({"dtype": "float32"}, "dtype must be a floating type"),
        ({"dtype": torch.int8}, "dtype must be a floating type"),
        ({"device": "x"}, "got device = 'x', expected one that PyTorch can use"),
        ({"devise": "cpu"}, "unknown keyword 'devise'; did you mean 'device'"),
    ):
        for make in (
            lambda **options: SignedSynapses(synapses, 2, 2, **options),
            lambda **options: LiquidSynapses(synapses, initial, **options),
        ):
            make()
            with pytest.raises(InputError, match=message):
                make(**wrong)
    for members in (None, 3, [], [None], ["x"], [torch.nn.Linear(1, 1), 2]):
        with pytest.raises(InputError):
            Ensemble(members)
    with pytest.raises(InputError, match="Ensemble got general='no', expected bool"):
        Ensemble([torch.nn.Linear(1, 1)], general="no")
