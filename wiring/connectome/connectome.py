"""The connectome: cells with what is known of them, chemical and electrical connections."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elegans.arguments import checked
from elegans.errors import WiringError
from elegans.wiring.connectome.edges import Edges
from elegans.wiring.names import check_name

if TYPE_CHECKING:
    import networkx as nx

    from elegans.wiring.connectome.cleaning import Rules

NEURON = "neuron"
KINDS = (NEURON, "muscle", "other")
TEXTS = ("classes", "transmitters", "sides", "kinds")


@checked(WiringError)
class Connectome:
    """Cells, how many chemical synapses lead from one to another, and their gap junctions.

    An immutable value. What is not known of a cell is an empty text, or NaN for its position.

    Parameters
    ----------
    names
        Names of the cells, unique.
    chemical
        Chemical connections, by indices into `names`.
    electrical
        Pairs of cells with gap junctions, each once, with ``pre < post`` and without a sign.
    classes, transmitters, sides
        A text a cell: class (``AVA`` of AVAL and AVAR), transmitter, side (``left``).
    kinds
        One of ``neuron``, ``muscle`` and ``other`` a cell; by default ``neuron``.
    positions
        Place of each cell, shape (cell, 3), in the unit of the file.
    guessed
        Where the sign of a chemical connection is a guess, shape (edge,).
    notes
        What readers changed, a sentence each.

    Raises
    ------
    WiringError
        Names are missing or not unique, a connection leads to a cell that is not there, a pair of
        gap junctions is not sorted or joins a cell to itself, or a column has another length.

    Examples
    --------
    >>> reflex = Connectome(
    ...     ["AVM", "AVB", "PVC"],
    ...     Edges(pre=[0, 2, 0], post=[1, 1, 2], count=[12, 31, 9]),
    ...     transmitters=["glutamate", "acetylcholine", "acetylcholine"],
    ... )
    >>> reflex
    Connectome(3 cells; 52 synapses in 3 connections, 0 gap junctions in 0 pairs)
    >>> reflex.synapses("PVC", "AVB")
    31
    """

    def __init__(
        self,
        names: Sequence[str],
        chemical: Edges,
        electrical: Edges | None = None,
        *,
        classes: Sequence[str] | None = None,
        transmitters: Sequence[str] | None = None,
        sides: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        positions: ArrayLike | None = None,
        guessed: ArrayLike | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if isinstance(names, str) or not len(names):
            raise WiringError(
                f"names must be a list with a name a cell, at least one, got {names!r}"
            )
        names = tuple(check_name("a cell", name) for name in names)
        index = {name: i for i, name in enumerate(names)}
        if len(index) < len(names):
            twice = next(name for i, name in enumerate(names) if index[name] != i)
            raise WiringError(f"names of cells must be unique, got {twice!r} more than once")
        electrical = Edges.empty() if electrical is None else electrical
        for what, edges in (("chemical", chemical), ("electrical", electrical)):
            _check_edges(what, edges, len(names))
        if len(electrical) and ((electrical.pre >= electrical.post) | (electrical.sign != 0)).any():
            raise WiringError(
                "electrical must hold each pair once, with pre < post and sign 0; "
                "Connectome.from_rows sorts pairs and leaves out what joins a cell to itself"
            )
        columns = {
            "classes": _texts("classes", classes, len(names)),
            "transmitters": _texts("transmitters", transmitters, len(names)),
            "sides": _texts("sides", sides, len(names)),
            "kinds": _kinds(kinds, len(names)),
        }
        self.__dict__.update(  # plain assignment is refused
            names=names,
            chemical=chemical,
            electrical=electrical,
            **columns,
            positions=_positions(positions, len(names)),
            guessed=_guessed(guessed, len(chemical)),
            notes=tuple(notes),
            _index=index,
        )

    names: tuple[str, ...]
    chemical: Edges
    electrical: Edges
    classes: tuple[str, ...]
    transmitters: tuple[str, ...]
    sides: tuple[str, ...]
    kinds: tuple[str, ...]
    positions: NDArray[np.float64]
    guessed: NDArray[np.bool_]
    notes: tuple[str, ...]
    _index: Mapping[str, int]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a Connectome is immutable, {name!r} cannot be set; replace() returns a new one"
        )

    # --- cells ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the index of a cell; raise `WiringError` with similar names if it is not there."""
        if name in self._index:
            return self._index[name]
        near = difflib.get_close_matches(str(name), self.names, n=3, cutoff=0.5)
        also = f"; similar names: {', '.join(near)}" if near else ""
        raise WiringError(f"no cell is called {name!r} among {len(self)}{also}")

    def indices(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Return the index of each name, where the name of a class means all its cells."""
        if isinstance(names, str):
            names = [names]
        found: dict[int, None] = {}
        for name in names:
            if name in self._index:
                found[self._index[name]] = None
            else:
                found |= dict.fromkeys(self._members.get(name) or [self.index(name)])
        return np.fromiter(found, dtype=np.int64, count=len(found))

    @cached_property
    def _members(self) -> dict[str, list[int]]:
        members: dict[str, list[int]] = {}
        for i, name in enumerate(self.classes):
            if name:
                members.setdefault(name, []).append(i)
        return members

    @property
    def neurons(self) -> NDArray[np.int64]:
        """Indices of the cells that are neurons."""
        return np.flatnonzero(np.array(self.kinds) == NEURON)

    # --- connections ---------------------------------------------------------------------

    def synapses(self, pre: str, post: str) -> float:
        """Return the number of chemical synapses from one cell to another."""
        edges = self.chemical
        j, i = self.index(pre), self.index(post)
        start, stop = np.searchsorted(edges.pre, (j, j + 1))
        here = edges.post[start:stop] == i
        total: float = edges.count[start:stop][here].sum().item()
        return total

    def gap_junctions(self, one: str, other: str) -> float:
        """Return the number of gap junctions between two cells."""
        edges = self.electrical
        j, i = sorted((self.index(one), self.index(other)))
        total: float = edges.count[(edges.pre == j) & (edges.post == i)].sum().item()
        return total

    def adjacency(self) -> NDArray[np.float64]:
        """Return the numbers of chemical synapses as a dense matrix ``[pre, post]``."""
        size = len(self) ** 2 * 8
        if size > 2**31:
            raise WiringError(
                f"a dense matrix of {len(self)} cells would take {size / 2**30:.1f} GiB; work with "
                "the flat arrays of chemical"
            )
        matrix = np.zeros((len(self), len(self)))
        np.add.at(matrix, (self.chemical.pre, self.chemical.post), self.chemical.count)
        return matrix

    @property
    def guessed_share(self) -> float:
        """Share of the chemical synapses whose sign is a guess; see `with_polarity`."""
        if not len(self.chemical):
            return 0.0
        return float(self.chemical.count[self.guessed].sum() / self.chemical.synapses)

    # --- making --------------------------------------------------------------------------

    @classmethod
    def from_rows(
        cls,
        pre: Sequence[str],
        post: Sequence[str],
        count: ArrayLike | None = None,
        types: Sequence[str] | None = None,
        *,
        rules: Rules | None = None,
        **known: Any,
    ) -> Connectome:
        """Return the connectome of an edge list, cleaned by `rules`.

        Parameters
        ----------
        pre, post
            Names of the cells, one a row.
        count
            Synapses of each row, shape (row,); by default 1.
        types
            ``chemical``, ``electrical``, ``excitatory``, ``inhibitory`` or ``undirected`` a row.
        rules
            What bad rows get; see `Rules`.
        known
            ``neurons`` and ``naming`` as in `load`.

        Examples
        --------
        >>> pair = Connectome.from_rows(["AVM", "AVM"], ["PVC", "PVC"], [4, 5])
        >>> pair.synapses("AVM", "PVC"), pair.notes
        (9, ('2 rows of 1 connections were summed',))
        """
        from elegans.wiring.connectome.rows import EdgeRows  # it builds on this module

        rows = EdgeRows()
        rows.add(pre, post, np.ones(len(pre)) if count is None else count, types)
        return rows.connectome(rules, **known)

    @classmethod
    def from_adjacency(
        cls,
        matrix: Any,
        names: Sequence[str] | None = None,
        *,
        electrical: Any = None,
        **known: Any,
    ) -> Connectome:
        """Return the connectome of a matrix of counts ``[pre, post]``.

        Parameters
        ----------
        matrix
            Numbers of chemical synapses, shape (cell, cell), or a DataFrame, whose index and
            columns name the cells.
        names
            Names of the cells; by default those of the DataFrame, else ``cell_0`` and so on.
        electrical
            Numbers of gap junctions, in the same form.
        known
            ``rules``, ``neurons`` and ``naming`` as in `load`.

        Examples
        --------
        >>> Connectome.from_adjacency([[0, 3], [1, 0]], ["AVA", "PVC"])
        Connectome(2 cells; 4 synapses in 2 connections, 0 gap junctions in 0 pairs)
        """
        from elegans.wiring.connectome.matrices import from_adjacency

        return from_adjacency(matrix, names, electrical=electrical, **known)

    def replace(self, **fields: Any) -> Connectome:
        """Return a connectome with other fields of the constructor.

        Examples
        --------
        >>> pair = Connectome(["a", "b"], Edges([0], [1], [2]))
        >>> pair.replace(transmitters=["gaba", ""]).transmitters
        ('gaba', '')
        """
        names = ("names", "chemical", "electrical", *TEXTS, "positions", "guessed", "notes")
        return Connectome(**{name: getattr(self, name) for name in names} | fields)

    def noted(self, *notes: str) -> Connectome:
        """Return this connectome with further notes."""
        return self.replace(notes=(*self.notes, *notes))

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return the graph: edges have ``weight``, ``type`` and ``sign``, nodes what is known.

        A gap junction is an edge each way.
        """
        from elegans.wiring.connectome.graphs import to_networkx

        return to_networkx(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the connectome to a file ``.npz``, which `load` reads in seconds at any size."""
        from elegans.wiring.connectome.files import save

        save(self, path)

    # --- value ---------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Connectome):
            return NotImplemented
        return (
            all(
                getattr(self, name) == getattr(other, name)
                for name in ("names", "chemical", "electrical", *TEXTS)
            )
            and np.array_equal(self.positions, other.positions, equal_nan=True)
            and np.array_equal(self.guessed, other.guessed)
        )

    def __hash__(self) -> int:
        return hash((self.names, self.chemical, self.electrical))

    def __reduce__(self) -> tuple[object, ...]:
        names = ("names", "chemical", "electrical", *TEXTS, "positions", "guessed", "notes")
        return _rebuilt, ({name: getattr(self, name) for name in names},)

    def __repr__(self) -> str:
        return (
            f"Connectome({len(self)} cells; {self.chemical.synapses:.10g} synapses in "
            f"{len(self.chemical)} connections, {self.electrical.synapses:.10g} gap junctions in "
            f"{len(self.electrical)} pairs)"
        )


def _rebuilt(fields: dict[str, Any]) -> Connectome:
    return Connectome(**fields)


def _check_edges(what: str, edges: Edges, cells: int) -> None:
    if not isinstance(edges, Edges):
        raise WiringError(f"{what} must be Edges, got {type(edges).__name__}; make them by Edges()")
    for end in (edges.pre, edges.post):
        if len(end) and end.max() >= cells:
            raise WiringError(
                f"{what} holds the index {end.max()}, expected one from 0 to {cells - 1}"
            )


def _texts(name: str, values: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if values is None:
        return ("",) * count
    if isinstance(values, str) or len(values) != count:
        raise WiringError(
            f"{name} must hold one text for each of {count} cells, got {values!r:.60}"
        )
    return tuple(map(str, values))


def _kinds(values: Sequence[str] | None, count: int) -> tuple[str, ...]:
    kinds = (NEURON,) * count if values is None else _texts("kinds", values, count)
    wrong = set(kinds) - set(KINDS)
    if wrong:
        raise WiringError(f"a cell is one of {', '.join(KINDS)}, got {sorted(wrong)[0]!r}")
    return kinds


def _positions(values: ArrayLike | None, count: int) -> NDArray[np.float64]:
    if values is None:
        positions = np.full((count, 3), np.nan)
    else:
        try:
            positions = np.array(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise WiringError(f"positions must hold three numbers a cell: {error}") from error
    if positions.shape != (count, 3):
        raise WiringError(
            f"positions must have shape ({count}, 3), three numbers a cell, got {positions.shape}"
        )
    positions.flags.writeable = False
    return positions


def _guessed(values: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    guessed = np.zeros(count, dtype=np.bool_) if values is None else np.array(values)
    if guessed.shape != (count,) or guessed.dtype != np.bool_:
        raise WiringError(
            f"guessed must hold true or false for each of {count} connections, got shape "
            f"{guessed.shape} of {guessed.dtype}"
        )
    guessed.flags.writeable = False
    return guessed
