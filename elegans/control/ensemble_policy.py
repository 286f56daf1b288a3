"""Single steps of many networks at once, for control."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.data.scale import Scales
from elegans.ensemble.ensemble import Ensemble
from elegans.errors import InputError
from elegans.layers.readout import Readout, circuit_of
from elegans.layers.sequence_layer import SequenceLayer


@checked(InputError)
class EnsemblePolicy:
    """All members of an ensemble as one controller, each with episodes and a state of its own.

    The action after each step is what the `elegans.Policy` of that member alone would give.

    Parameters
    ----------
    ensemble
        Members are layers, with a `Readout` or without; shared, not copied.
    scales
        Those that the layers were trained with; without them, observations and actions are in the
        units of the layers.

    Raises
    ------
    InputError
        The members are no layers, or the scales are of other numbers of inputs or outputs.

    Examples
    --------
    >>> import elegans
    >>> policy = EnsemblePolicy(Ensemble([elegans.LTC(2, 5), elegans.LTC(2, 5)]))
    >>> policy.reset(batch=6)  # two members, three episodes each
    >>> policy(np.zeros((6, 2))).shape
    (6, 5)
    """

    def __init__(self, ensemble: Ensemble, scales: Scales | None = None) -> None:
        template = ensemble.template
        if not isinstance(template, SequenceLayer | Readout):
            raise InputError(
                f"got an ensemble of {type(template).__name__}, expected one of layers such as "
                "elegans.LTC; make it of the layers themselves"
            )
        if scales is not None:
            sizes = len(scales.inputs), len(scales.targets)
            if sizes != (template.input_size, template.output_size):
                raise InputError(
                    f"got scales of {sizes[0]} inputs and {sizes[1]} targets, expected "
                    f"{template.input_size} and {template.output_size} as the members have; pass "
                    "the scales that they were trained with"
                )
        self.ensemble, self.scales = ensemble, scales
        self._model = template
        self._rows: int | None = None
        self._state: Any = None

    def reset(self, batch: int | None = None) -> None:
        """Forget everything and prepare for new episodes.

        Parameters
        ----------
        batch
            Number of episodes of all members together; by default the next call decides.

        Raises
        ------
        InputError
            It is not a multiple of the number of members.
        """
        if batch is not None:
            self._check_rows(batch)
        self._rows, self._state = batch, None

    @torch.no_grad()
    def __call__(self, observations: NDArray[Any]) -> NDArray[np.float64]:
        """Take one step and return the actions.

        Parameters
        ----------
        observations
            Shape (member x episode, input), those of the first member first.

        Returns
        -------
        numpy.ndarray
            Actions, shape (member x episode, output).

        Raises
        ------
        InputError
            A shape or a value is not valid; the states are as they were before.
        """
        x = np.asarray(observations, np.float64)
        model, layer, members = self._model, circuit_of(self._model), len(self.ensemble)
        if x.ndim != 2 or x.shape[1] != model.input_size or self._rows not in (None, len(x)):
            rows = "member x episode" if self._rows is None else self._rows
            raise InputError(
                f"got observations of shape {x.shape}, expected ({rows}, {model.input_size}); call "
                "reset(batch) where other episodes begin"
            )
        self._check_rows(len(x))
        if self.scales is not None:
            x = self.scales.inputs.apply(x)
        home = next(self.ensemble.parameters()).device
        steps = torch.as_tensor(x).to(device=home, dtype=layer.cell.dtype)
        time = 2 if layer.batch_first else 1
        steps = steps.reshape(members, -1, model.input_size).unsqueeze(time)
        given = (steps,) if self._state is None else (steps, self._state)
        output, state = self.ensemble(*given, own_data=True)
        if layer.return_sequences:
            output = output.squeeze(time)
        actions: NDArray[np.float64] = output.flatten(0, 1).double().cpu().numpy()
        self._rows, self._state = len(x), state
        return actions if self.scales is None else self.scales.targets.invert(actions)

    def _check_rows(self, rows: int) -> None:
        members = len(self.ensemble)
        if rows < members or rows % members:
            raise InputError(
                f"got {rows} episodes for {members} members, expected as many for each; pass a "
                f"multiple of {members}"
            )
