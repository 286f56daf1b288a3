"""A sequence in chunks that run as one batch, with a proved bound of their error."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from elegans.arguments import checked
from elegans.checks import check_count
from elegans.errors import InputError
from elegans.layers.readout import outputs_per_state
from elegans.parallel.sequences import InTime, Model
from elegans.proofs.certificates.bound import ContractionBound, steps_of
from elegans.proofs.certificates.certificate import Certificate, NotCertified, StepFigures
from elegans.proofs.certificates.certification import certify

LANES = 32
"""Sequences that a thread of the CPU's kernels takes at the time of one."""

FEWEST = 4
"""Chunks from which on it pays to cut a sequence."""

WIDE = 1024
"""Sequences at a time on other devices."""

ENTERING = 16
"""Steps that sequences which begin outside of the certified box take before it is looked again."""

_ROUNDED = 1e-6
"""Relative difference that single precision makes of a time or a potential at an end of a range."""


@checked(InputError)
class ChunksInTime(InTime):
    r"""A certified layer whose sequences run in chunks; see `elegans.parallel_in_time`.

    Parameters
    ----------
    model
        A layer without mixed memory, with a `Readout` or without one.
    certificate
        Of this layer, with ``certificate.step``.
    tolerance
        Largest error of an output, > 0.
    chunks
        How many chunks a sequence is cut into; by default as many as fill the kernels' vectors.

    Examples
    --------
    >>> import elegans
    >>> from elegans.wiring import AutoNCP
    >>> wiring = AutoNCP(12, 2, sparsity_level=0.8, seed=1)
    >>> model = elegans.LTC(4, wiring, generator=torch.Generator().manual_seed(0))
    >>> fast = ChunksInTime(model, elegans.proofs.certify(model, inputs=(-1, 1)))
    >>> fast.warm_up > 0, fast.bound_after(fast.warm_up) <= 1e-5
    (True, True)
    """

    def __init__(
        self,
        model: Model,
        certificate: Certificate | ContractionBound,
        tolerance: float = 1e-5,
        *,
        chunks: int | None = None,
    ) -> None:
        super().__init__(model)
        if not 0 < tolerance < math.inf:
            raise InputError(f"got tolerance = {tolerance!r}, expected a number above 0")
        self.tolerance = tolerance
        self.chunks = None if chunks is None else check_count("chunks", chunks)
        if not certificate.matches(self.layer):
            raise InputError(
                "got the certificate of another circuit, or of other weights, expected that of "
                "this layer; pass elegans.proofs.certify(model, inputs)"
            )
        self._take(certificate)

    def _take(self, certificate: Certificate | ContractionBound) -> None:
        step = certificate.step
        if step is None:
            raise InputError(
                "got a certificate that proves nothing of a step, expected one with "
                "certificate.step; take the solver 'semi_implicit' or 'exponential', or certify "
                "for the elapsed times that occur"
            )
        self.certificate, self._step = certificate, step
        self._require_steps()
        low, high = certificate.box
        self._middle = torch.from_numpy(0.5 * (low + high)).to(self.layer.cell.dtype)
        middle = self._middle.double().numpy()
        farthest = np.maximum(high - middle, middle - low)
        self._radius = float((farthest / step.eta).max() * (1 + 1e-12))

    def _require_steps(self) -> None:
        """Raise `InputError` unless the layer takes the steps that the certificate is about."""
        step, taken = self._step, steps_of(self.layer)
        if taken != (step.solver, step.unfolds):
            raise InputError(
                f"got a certificate of {step.unfolds} steps of {step.solver}, the layer takes "
                f"{taken[1]} of {taken[0]}; certify it again"
            )

    @property
    def _widest(self) -> float:
        """What outputs may differ by at first; what reads the states may be trained, too."""
        reach = outputs_per_state(self.model).numpy()
        return self._radius * float((reach @ self._step.eta).max(initial=0.0))

    @property
    def warm_up(self) -> int:
        """Steps that a chunk begins early, the least for which the bound is the tolerance."""
        widest = self._widest
        if widest <= self.tolerance:
            return 0
        steps = math.log(widest / self.tolerance) / _rate(self._step)
        return max(0, math.ceil(steps) - 1)

    def bound_after(self, warm_up: int) -> float:
        """Return what no output differs by if chunks begin `warm_up` steps early.

        Raises
        ------
        InputError
            `warm_up` is no integer of at least 0.
        """
        check_count("warm_up", warm_up, least=0)
        factor = math.exp(-_rate(self._step) * (warm_up + 1))
        return self._widest * factor * (1 + 1e-9)

    def _states(self, x: Tensor, first: Tensor, elapsed: Tensor) -> tuple[Tensor, float, bool]:
        self._require_steps()
        if not self.certificate.matches(self.layer):
            self._certify_again()
        parts, time, block = [], x.shape[1], ENTERING
        while time and not self._inside(first):  # what is proved holds in the box
            parts.append(self._run(x[:, :block], first, elapsed[:, :block]))
            first, x, elapsed = parts[-1][:, -1], x[:, block:], elapsed[:, block:]
            block, time = 2 * block, x.shape[1]
        states, bound = self._in_chunks(x, first, elapsed)
        return torch.cat([*parts, states], dim=1), bound, True

    def _in_chunks(self, x: Tensor, first: Tensor, elapsed: Tensor) -> tuple[Tensor, float]:
        """Return the states of sequences that begin in the box, and their bound."""
        batch, time = x.shape[:2]
        warm_up = self.warm_up
        count = self.chunks or self._usual(x)
        length = max(1, math.ceil((time - warm_up) / count))
        run = warm_up + length
        if not batch or run >= time:
            return self._run(x, first, elapsed), 0.0
        self._require_certified(x, elapsed)
        starts = torch.arange(0, time - run, length, device=x.device)
        starts = torch.cat([starts, starts.new_tensor([time - run])])  # the last ends at the end
        place = starts.unsqueeze(1) + torch.arange(run, device=x.device)  # (chunk, step)
        middle = self._middle.to(x)
        begin = middle.expand(batch, len(starts), -1)
        begin = torch.cat([first.unsqueeze(1), begin[:, 1:]], dim=1).flatten(0, 1)
        states = self._run(x[:, place].flatten(0, 1), begin, elapsed[:, place].flatten(0, 1))
        states = states.reshape(batch, len(starts), run, -1)
        rest = time - (warm_up + length * (len(starts) - 1))
        parts = [states[:, 0], states[:, 1:-1, warm_up:].flatten(1, 2), states[:, -1, run - rest :]]
        return torch.cat(parts, dim=1), self.bound_after(warm_up)

    def _usual(self, x: Tensor) -> int:
        """Return the number of chunks with which the kernels' vectors are full."""
        lanes = LANES * torch.get_num_threads() if x.device.type == "cpu" else WIDE
        chunks = lanes // max(1, len(x))
        return chunks if chunks >= FEWEST else 1

    def _certify_again(self) -> None:
        old, step = self.certificate, self._step
        found = certify(
            self.layer,
            old.inputs,
            old.level,
            elapsed=(step.shortest * step.unfolds, step.longest * step.unfolds),
            advice=False,
        )
        if isinstance(found, NotCertified) or found.step is None:
            why = "nothing is proved of its step" if found else str(found).splitlines()[0]
            raise InputError(
                f"the weights have changed since the circuit was certified, and it is no longer "
                f"({why}); train it with elegans.proofs.ContractionCondition, or call the layer "
                "itself"
            )
        self._take(found)

    def _require_certified(self, x: Tensor, elapsed: Tensor) -> None:
        """Raise `InputError` for inputs and elapsed times that nothing is proved for."""
        if self.certificate.level != "exact":
            low, high = (torch.from_numpy(end).to(x) for end in self.certificate.inputs)
            outside = (x < low) | (x > high)
            if bool(outside.any()):
                b, t, i = torch.nonzero(outside)[0].tolist()
                raise InputError(
                    f"input {i} is {x[b, t, i].item():.6g} at batch {b}, time {t}, expected within "
                    f"{low[i].item():.6g} to {high[i].item():.6g}, for which the circuit is "
                    "certified; certify it for a wider range, or clamp the inputs"
                )
        step = self._step
        ends = step.shortest * step.unfolds, step.longest * step.unfolds
        wrong = (elapsed < ends[0] * (1 - _ROUNDED)) | (elapsed > ends[1] * (1 + _ROUNDED))
        if bool(wrong.any()):
            b, t = torch.nonzero(wrong)[0].tolist()
            raise InputError(
                f"the elapsed time is {elapsed[b, t].item():.6g} at batch {b}, time {t}, expected "
                f"within {ends[0]:.6g} to {ends[1]:.6g}, for which the circuit is certified; pass "
                "elapsed=(shortest, longest) to elegans.proofs.certify"
            )

    def _inside(self, states: Tensor) -> bool:
        """Whether all states (batch, neuron) are in the certified box."""
        low, high = (torch.from_numpy(end).to(states) for end in self.certificate.box)
        room = _ROUNDED * (1 + torch.maximum(low.abs(), high.abs()))
        return bool(((states >= low - room) & (states <= high + room)).all())


def _rate(step: StepFigures) -> float:
    """Return the proved rate for each step of the layer, with room for rounded elapsed times."""
    return step.rate * (1 - 4 * _ROUNDED)
