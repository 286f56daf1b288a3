"""Signs of synapses from transmitters, and conductances from their numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.connectome.connectome import Connectome
from elegans.wiring.connectome.edges import Edges
from elegans.wiring.connectome.rows import transmitter_of

SIGNS: Mapping[str, int] = {"acetylcholine": 1, "gaba": -1}
"""The signs that `with_polarity` takes for granted: acetylcholine excites, GABA inhibits.

That holds for most synapses of worm and fly and not for all: a cell may have a channel for chloride
that acetylcholine opens, or one for cations that GABA opens. Glutamate, the amines and peptides are
left out on purpose, as receptors decide.
"""


@checked(WiringError)
def with_polarity(
    connectome: Connectome,
    signs: Mapping[str, int] | None = None,
    *,
    receptors: Mapping[tuple[str, str], int] | None = None,
    guess: int | None = None,
) -> Connectome:
    """Return the connectome with a sign for every chemical connection.

    A connection has, in this order: the sign that it has already (from the file); that of
    `receptors` for its transmitter and the cell, or the class, that receives it; that of its
    transmitter in `signs`; `guess`. How many synapses have which, and the share of guesses, is told
    in `Connectome.notes`; `Connectome.guessed` marks the guesses.

    Parameters
    ----------
    connectome
        With transmitters, as far as they are known.
    signs
        The sign, 1 or -1, of each transmitter; by default ``{"acetylcholine": 1, "gaba": -1}``.
    receptors
        The sign for a transmitter at a cell or class: ``{("glutamate", "AVA"): 1}``.
    guess
        The sign where nothing else is known. By default that is an error, which names them.

    Raises
    ------
    WiringError
        A sign is neither 1 nor -1, or a connection has none and there is no `guess`.

    Examples
    --------
    >>> from elegans.wiring.connectome import locomotion_command
    >>> signed = with_polarity(locomotion_command())
    >>> signed.guessed_share, signed.notes[-1]
    (0.0, 'signs of 548 synapses: 548 by transmitter')
    """
    given = SIGNS if signs is None else signs
    by_name = {transmitter_of(name): value for name, value in given.items()}
    by_cell = {
        (transmitter_of(name), post): value for (name, post), value in (receptors or {}).items()
    }
    for value in (*by_name.values(), *by_cell.values(), *([] if guess is None else [guess])):
        if isinstance(value, bool) or value not in (1, -1):
            raise WiringError(f"a sign is 1 (excites) or -1 (inhibits), got {value!r}")
    edges = connectome.chemical
    names = {name: k for k, name in enumerate(dict.fromkeys(connectome.transmitters))}
    released = np.array([names[name] for name in connectome.transmitters])[edges.pre]
    by_transmitter = np.array([by_name.get(name, 0) for name in names], dtype=np.int8)[released]
    by_receptor = np.zeros(len(edges), dtype=np.int8)
    for (name, post), value in by_cell.items():
        here = np.isin(edges.post, connectome.indices([post]))
        by_receptor[here & (released == names.get(name, -1))] = value
    sign: NDArray[np.int8] = edges.sign.copy()
    told: dict[str, NDArray[np.bool_]] = {"from the file": sign != 0}
    for what, found in (("by receptor", by_receptor), ("by transmitter", by_transmitter)):
        told[what] = (sign == 0) & (found != 0)
        sign[told[what]] = found[told[what]]
    missing: NDArray[np.bool_] = sign == 0
    share = edges.count[missing].sum() / edges.synapses if len(edges) else 0.0
    if missing.any() and guess is None:
        without = {
            name or "none known": None
            for name, k in names.items()
            if (released[missing] == k).any()
        }
        raise WiringError(
            f"{int(missing.sum())} connections with {share:.0%} of the synapses have no sign; "
            f"their transmitters: {', '.join(without)}; add them to signs or receptors, or say "
            "what to guess, as by guess=1"
        )
    told["by a guess"] = missing
    sign[missing] = guess or 0
    parts = [
        f"{edges.count[where].sum():.10g} {what}" for what, where in told.items() if where.any()
    ]
    note = f"signs of {edges.synapses:.10g} synapses: {', '.join(parts) or 'none'}"
    if missing.any():
        note += f" ({share:.1%} are guesses)"
    return _signed(connectome, sign, missing | connectome.guessed, note)


def _signed(
    connectome: Connectome, sign: NDArray[np.int8], guessed: NDArray[np.bool_], note: str
) -> Connectome:
    """Return the connectome with these signs; what two entries of a pair share is summed."""
    from elegans.wiring.connectome.subcircuits import merged

    edges = connectome.chemical
    chemical, guessed = merged(edges.pre, edges.post, edges.count, sign, guessed)
    return connectome.replace(chemical=chemical, guessed=guessed, notes=(*connectome.notes, note))


@checked(WiringError)
def conductances(edges: Edges, *, mean: float = 1.0, exponent: float = 1.0) -> NDArray[np.float64]:
    r"""Return a conductance for each connection from its number of synapses.

    .. math:: g_k = \bar g \, \frac{n_k^p}{\frac{1}{E} \sum_l n_l^p}

    with the number :math:`n_k` of synapses of connection :math:`k` among :math:`E`, and the mean
    conductance :math:`\bar g`. With :math:`p = 1` synapses conduct equally; :math:`p = 1/2` tempers
    the few connections of many synapses; :math:`p = 0` gives all connections the mean.

    Parameters
    ----------
    edges
        The connections, such as `Connectome.chemical`.
    mean
        The mean conductance of a connection, from 0, in the unit of the layer.
    exponent
        The power :math:`p`.

    Returns
    -------
    ndarray
        Shape (edge,), in the order of `edges`.

    Examples
    --------
    >>> conductances(Edges([0, 0], [1, 2], [1, 3]), mean=2.0).tolist()
    [1.0, 3.0]
    """
    if not (np.isfinite(mean) and mean >= 0 and np.isfinite(exponent)):
        raise WiringError(
            f"mean must be a number from 0 and exponent a finite one, got {mean!r} and {exponent!r}"
        )
    if not len(edges):
        return np.zeros(0)
    power = edges.count.astype(np.float64) ** exponent
    return np.asarray(mean * power / power.mean(), dtype=np.float64)
