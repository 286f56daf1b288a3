"""The time loop: a recurrent cell run over batches of sequences, like ``torch.nn.LSTM``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from elegans.checks import (
    Placement,
    all_finite,
    as_computed,
    check_dense,
    check_elapsed,
    check_finite,
    check_whole,
    refuse_script,
    values_are_visible,
)
from elegans.errors import InputError, RunError
from elegans.layers.capabilities import Saved, require
from elegans.layers.cell import Cell, refuse_ncps
from elegans.layers.description import as_html, in_a_line
from elegans.layers.mapping import MemoryCell
from elegans.layers.packed import run_packed
from elegans.layers.states import Shared, check_shapes
from elegans.solvers import require_finite
from elegans.synapses.slots import SynapseSlots
from elegans.wiring import Wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes

State = Tensor | tuple[Tensor, Tensor]
"""Potentials (batch, neuron), or the pair (h, c) with mixed memory."""

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class SequenceLayer(Shared):
    """Runs a `Cell` over sequences; `LTC` and its relatives add their constructor.

    Parameters
    ----------
    cell
        The circuit.
    return_sequences
        Whether `forward` returns the output of every step or of the last one.
    batch_first
        Whether batches are (batch, time, input) or (time, batch, input).
    mixed_memory
        Whether a memory cell transforms the state before each step (long-term dependencies).
    generator
        Source of randomness for the memory; PyTorch's default generator when None.
    """

    __prepare_scriptable__ = refuse_script

    def __init__(
        self,
        cell: Cell,
        return_sequences: bool = True,
        batch_first: bool = True,
        mixed_memory: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.memory: MemoryCell | None = None
        if mixed_memory:
            home: Placement = {"device": next(cell.parameters()).device, "dtype": cell.dtype}
            sizes = cell.sensory_size, cell.state_size
            self.memory = MemoryCell(*sizes, generator=generator, **home)
        self.return_sequences = return_sequences
        self.batch_first = batch_first

    # --- properties ----------------------------------------------------------------------

    @property
    def wiring(self) -> Wiring:
        """The circuit as it is now."""
        return self.cell.wiring

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.cell.sensory_size

    @property
    def sensory_size(self) -> int:
        """Number of inputs, under the name that ``ncps`` gives it."""
        return self.cell.sensory_size

    @property
    def state_size(self) -> int:
        """Number of neurons."""
        return self.cell.state_size

    @property
    def motor_size(self) -> int:
        """Number of motor neurons."""
        return self.cell.motor_size

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.cell.output_size

    @property
    def synapse_count(self) -> int:
        """Number of synapses between neurons."""
        return self.cell.synapse_count

    @property
    def sensory_synapse_count(self) -> int:
        """Number of synapses from the inputs."""
        return self.cell.sensory_synapse_count

    # Names that ncps has for them:

    @property
    def rnn_cell(self) -> Cell:
        """The cell."""
        return self.cell

    @property
    def lstm(self) -> MemoryCell | None:
        """The memory."""
        return self.memory

    @property
    def use_mixed(self) -> bool:
        """Whether there is a memory."""
        return self.memory is not None

    @property
    def wiring_or_units(self) -> Wiring | int:
        """The circuit as it is now, or its number of neurons where it has no synapses."""
        return self.wiring if self.cell.synapse_sets() else self.state_size

    def settings(self) -> dict[str, Any]:
        """Return the arguments that build such a layer, without units, wiring and precision.

        Raises
        ------
        RunError
            The cell does not offer its `settings`.
        """
        return {
            "input_size": self.input_size,
            "return_sequences": self.return_sequences,
            "batch_first": self.batch_first,
            "mixed_memory": self.memory is not None,
            **require(self.cell, Saved, "saving", RunError).settings(),
        }

    @classmethod
    def keeps_loop(cls) -> bool:
        """Whether `forward` is the one of this class, so that another time loop may stand in."""
        return cls.forward is SequenceLayer.forward and cls._run is SequenceLayer._run

    def apply_weight_constraints(self) -> None:
        """Clip parameters after an optimiser step; needed without implicit constraints."""
        self.cell.apply_weight_constraints()

    def draw(self, **options: Any) -> Axes:
        """Draw the circuit as it is now, lines as wide as the synapses are strong.

        See `Wiring.draw` for the options.
        """
        sets = self.cell.synapse_sets()
        options_of = {
            "electrical": "electrical_weights",
            "recurrent": "weights",
            "sensory": "sensory_weights",
        }
        widths: dict[str, Any] = {}
        for name, option in options_of.items():
            if name in sets:
                widths |= {option: line_widths(sets[name]), "quantity": sets[name].STRENGTH}
        return self.wiring.draw(**(widths | options))

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        return in_a_line(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Everything is checked before anything is copied: cell and memory belong together.
        refuse_ncps(state_dict, f"{prefix}rnn_cell.")
        self.cell.check_saved(state_dict, f"{prefix}cell.")
        check_shapes(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    # --- calls ---------------------------------------------------------------------------

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        timespans: Tensor | PackedSequence | None = None,
        *,
        lengths: Tensor | None = None,
        return_states: bool = False,
    ) -> tuple[Any, ...]:
        """Run the circuit over sequences.

        Parameters
        ----------
        input
            Shape (batch, time, input), (time, batch, input) unless `batch_first`, or (time,
            input) for one sequence. A sequence may be empty. Numbers of another type, such as
            the float64 of NumPy, integers or bool, are converted to the type of the parameters.
            Or a `PackedSequence`: outputs (and states) are packed as it is then.
        hx
            State to begin with, shape (batch, neuron) or (1, neuron), (neuron,) for one sequence,
            a pair of such with mixed memory; zeros by default.
        timespans
            Time that each step lasts, >= 0, shape (batch, time) or (1, time) (the axes as in
            `input`), (time,) for one sequence; with a last axis of 1, or of all neurons at the
            same time, as well; 1 by default. A step that lasts 0 leaves the state, memory
            included, exactly as it is.
        lengths
            Number of valid steps of each sequence, shape (batch,). The steps after them are
            padding: whatever they hold, the state stays and the output repeats.
        return_states
            Whether to return the potentials of all neurons as well.

        Returns
        -------
        output
            Shape (batch, time, output) or (time, batch, output), without the time axis unless
            `return_sequences`, without the batch axis for one sequence.
        hx
            The final state, in the shape of the `hx` that was, or could have been, given.
        states
            Only if asked for: potentials after each step, like `output` with all neurons.

        Raises
        ------
        InputError
            A shape, type or value is not valid; faulty values are named by batch and time. While
            `torch.compile`, `torch.export` or `torch.jit.trace` trace, values are not looked at.
        SolveError
            The solve failed or left the finite numbers; names time, step and neuron.
        """
        if isinstance(input, PackedSequence):
            options = {"lengths": lengths, "return_states": return_states}
            return run_packed(self, input, hx, timespans, self.batch_first, options)
        first = next(self.parameters(), None)
        home = None
        if first is not None:
            check_whole([first], "call fully_shard on the layer or what holds it, not on its cell")
            home = first.device
        input = as_computed("input", input, self.cell.dtype, home)
        batched = self._check_shape(input)
        x = self._batch_and_time_first(input, batched)  # (batch, time, input)
        elapsed = self._elapsed(timespans, x, batched)  # (batch, time)
        valid = self._valid(lengths, x, batched)  # (batch, time) or None
        if valid is not None:
            x = torch.where(valid.unsqueeze(-1), x, torch.zeros_like(x))
            elapsed = torch.where(valid, elapsed, torch.zeros_like(elapsed))
        check_finite("input", x, ("batch", "time", "feature"))
        if timespans is not None:
            check_elapsed("timespans", elapsed, ("batch", "time"))
        h, c = self._initial_state(hx, x, batched)

        for hook in self.cell._forward_pre_hooks.values():
            # Masks of prune and the like set a parameter of the cell, which is not called itself.
            if type(hook).__module__.startswith("torch.nn.utils"):
                hook(self.cell, ())
        initial = h
        output, states, h, c = self._run(x, h, c, elapsed)
        self._check_states(initial, states, h, elapsed)

        if not self.return_sequences:
            output = output[:, -1] if x.shape[1] else self.cell.read(h)
        final: State = h if c is None else (h, c)
        if not batched:
            final = h[0] if c is None else (h[0], c[0])
        output = self._in_caller_layout(output, batched, has_time=self.return_sequences)
        if return_states:
            return output, final, self._in_caller_layout(states, batched, has_time=True)
        return output, final

    def _run(
        self, x: Tensor, h: Tensor, c: Tensor | None, elapsed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return outputs and states after each step, (batch, time, ...), and the final (h, c)."""
        if not x.shape[1]:
            states = h.new_zeros(x.shape[0], 0, self.state_size)
            return self.cell.read(states), states, h, c
        if self.memory is None or c is None:
            output, states = self.cell.run(x, h, elapsed)
            return output, states, states[:, -1], None
        sensed = self.cell.sense(x)
        outputs = []
        for t in range(x.shape[1]):
            dt = elapsed[:, t : t + 1]
            before = h, c
            after = self.memory(x[:, t], before)
            h, c = (torch.where(dt > 0, *pair) for pair in zip(after, before, strict=True))
            h = self.cell.step_of(sensed, t, h, dt)
            outputs.append(h)
        states = torch.stack(outputs, dim=1)
        return self.cell.read(states), states, h, c

    def _check_states(
        self, initial: Tensor, states: Tensor, final: Tensor, elapsed: Tensor
    ) -> None:
        # A liquid potential that is not finite stays so: the final state tells whether there was
        # any. A memory cell would squash an infinity, so there all states are looked at.
        watched = final if self.memory is None else states
        if values_are_visible(watched) and not all_finite(watched):
            require_finite(
                torch.cat([initial.unsqueeze(1), states], dim=1).transpose(0, 1),
                times=torch.cat([elapsed.new_zeros(len(elapsed), 1), elapsed.cumsum(1)], 1).t(),
                solver=getattr(self.cell, "solver", None),
                neuron_names=self.wiring.names,
            )

    # --- shapes --------------------------------------------------------------------------

    def _check_shape(self, input: Tensor) -> bool:
        """Return whether `input` is a batch."""
        if input.dim() not in (2, 3) or input.shape[-1] != self.input_size:
            layout = "(batch, time, input)" if self.batch_first else "(time, batch, input)"
            raise InputError(
                f"input has shape {tuple(input.shape)}, expected {layout} or (time, input) with "
                f"{self.input_size} inputs"
            )
        return input.dim() == 3

    def _batch_and_time_first(self, values: Tensor, batched: bool) -> Tensor:
        if not batched:
            return values.unsqueeze(0)
        return values if self.batch_first else values.transpose(0, 1)

    def _in_caller_layout(self, values: Tensor, batched: bool, *, has_time: bool) -> Tensor:
        if not batched:
            return values[0]
        return values.transpose(0, 1) if has_time and not self.batch_first else values

    def _elapsed(
        self, timespans: Tensor | PackedSequence | None, x: Tensor, batched: bool
    ) -> Tensor:
        if timespans is None:
            return x.new_ones(x.shape[:2])
        batch, time = x.shape[:2]
        shapes: list[tuple[int, ...]] = [(time,)]
        if batched and self.batch_first:
            shapes = [(batch, time), (1, time)]
        elif batched:
            shapes = [(time, batch), (time, 1)]
        if not isinstance(timespans, Tensor) or timespans.is_complex():
            got = timespans.dtype if isinstance(timespans, Tensor) else type(timespans).__name__
            raise InputError(f"timespans must be a tensor of real numbers, got {got}")
        check_dense("timespans", timespans, x.device)
        elapsed = timespans
        if timespans.dim() == len(shapes[0]) + 1 and timespans.shape[-1] in (1, self.state_size):
            elapsed = timespans[..., 0]  # the same for every neuron
            if values_are_visible(timespans) and not bool(
                (timespans == elapsed.unsqueeze(-1)).all()
            ):
                raise InputError(
                    "timespans hold other elapsed times for other neurons of a step, expected one "
                    f"a step, shape {shapes[0]}; a circuit has one clock"
                )
        # Size by size: a compiler may trace some as symbols, and find no tuple of them in a list.
        if not any(
            elapsed.dim() == len(shape)
            and all(own == size for own, size in zip(elapsed.shape, shape, strict=True))
            for shape in shapes
        ):
            raise InputError(
                f"timespans must hold one elapsed time a step, shape {shapes[0]} or "
                f"{(*shapes[0], 1)}, got shape {tuple(timespans.shape)}"
            )
        return self._batch_and_time_first(elapsed.expand(shapes[0]).to(x), batched)

    def _valid(self, lengths: Tensor | None, x: Tensor, batched: bool) -> Tensor | None:
        if lengths is None:
            return None
        batch, time = x.shape[:2]
        if isinstance(lengths, Tensor):
            check_dense("lengths", lengths, x.device)
        try:
            lengths = torch.as_tensor(lengths, device=x.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"lengths must hold one integer a sequence, got {lengths!r}"
            ) from error
        if not batched and lengths.dim() == 0:
            lengths = lengths.unsqueeze(0)
        if tuple(lengths.shape) != (batch,) or lengths.dtype not in INTEGERS:
            raise InputError(
                f"lengths must hold one integer a sequence, shape ({batch},), got shape "
                f"{tuple(lengths.shape)} of {lengths.dtype}"
            )
        if values_are_visible(lengths) and bool(((lengths < 0) | (lengths > time)).any()):
            raise InputError(f"lengths must be from 0 to {time}, got {lengths.tolist()}")
        return torch.arange(time, device=x.device) < lengths.unsqueeze(1)

    def _initial_state(
        self, hx: State | None, x: Tensor, batched: bool
    ) -> tuple[Tensor, Tensor | None]:
        shape = (x.shape[0], self.state_size)
        if hx is None:
            h = x.new_zeros(shape)
            return h, h if self.memory is not None else None
        pair = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        if len(pair) != (1 if self.memory is None else 2):
            raise InputError(
                "hx must be a pair (h, c) with mixed memory and one tensor without, got "
                + (f"{len(pair)} tensors" if len(pair) > 1 else "one tensor")
            )
        expected_shape = shape if batched else shape[1:]
        one_for_all = (1, self.state_size)
        states = [as_computed("hx", state, x.dtype, x.device) for state in pair]
        for state in states:
            if tuple(state.shape) != expected_shape and not (
                batched and tuple(state.shape) == one_for_all
            ):
                layers = tuple(state.shape) == (1, *expected_shape)
                raise InputError(
                    f"hx has shape {tuple(state.shape)}, expected {expected_shape}"
                    + ("; there is no axis of layers here: pass hx[0]" if layers else "")
                )
        h, *c = (state.expand(shape) for state in states)
        return h, c[0] if c else None


def line_widths(synapses: SynapseSlots) -> NDArray[np.float64]:
    """Return the strength of each synapse in the order of the wiring, shape (synapse,)."""
    return synapses.strength().cpu().double().numpy()[synapses.sorted_slots()]
