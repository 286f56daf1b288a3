"""The largest Lyapunov exponent of thousands of short windows at once, after Rosenstein.

A window is embedded, each embedded point gets its nearest neighbour, and the exponent is the slope
of the mean logarithm of the distance between the two as they are followed in time. The search runs
over time differences instead of over points, so that all windows take each step together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from elegans.errors import PruningError

_BLOCK = 1 << 17  # numbers in a block of windows: what a core keeps in its cache

_ROUNDING = 2.0**-40
"""Share of the largest value that some thousand roundings in double precision add up to."""


@dataclass(frozen=True)
class ExponentSettings:
    r"""Settings that cut a series into windows and make an exponent of each window.

    With the embedded points :math:`X_i = (x_i, x_{i + \tau}, \dots, x_{i + (m - 1) \tau})` and
    :math:`j(i)` the point nearest to :math:`X_i` among those with :math:`|j - i| > t`,

    .. math:: S(k) = \big\langle \log \lVert X_{i + k} - X_{j(i) + k} \rVert \big\rangle_i

    and the exponent is the slope of the line fitted to S(k) for k in `fit`, per iterate. Points
    nearer to each other than `rounding` coincide and are left out of S(k): their distance is the
    noise of arithmetic, which grows from nothing and would pass for chaos.

    Parameters
    ----------
    window
        Iterates in a window.
    stride
        Distance between the beginnings of neighbouring windows as a share of the window: 0.9
        makes neighbours share the remaining tenth.
    dimension, delay
        m and :math:`\tau` of the embedding.
    theiler
        t, iterates: nearer points in time are no neighbours, for their distance says how smooth
        the series is and not how states part.
    steps
        How long pairs are followed; points without so long a future are left out.
    fit
        First and last k of the fitted line, the last at most `steps`.
    skip_coincident
        Whether points that coincide are no neighbours either. They say nothing about growth, but
        leaving them out favours larger distances in rounded data.
    flat
        A window whose values span less than this, in their unit, has exponent 0; if
        `flat_is_relative`, as a share of the largest magnitude in the window.
    abrupt
        A window is abrupt and has exponent 0 if one cut in two lowers its sum of squared
        deviations from the mean by more than this, in the squared unit of the series; None for no
        such test. The default of MATLAB's ``ischange(x, 'mean')``, and so of the published work,
        is 1, whatever the scale of x.
    decimals
        Places that values are rounded to first; None for no rounding.

    Raises
    ------
    PruningError
        A setting is out of its range, or the window leaves some point without a neighbour: it
        must hold (dimension - 1) delay + steps + 2 theiler + 2 iterates.

    References
    ----------
    Rosenstein, Collins, De Luca, "A practical method for calculating largest Lyapunov exponents
    from small data sets", Physica D 65 (1993) 117. Theiler, Physical Review A 34 (1986) 2427.

    Examples
    --------
    >>> ExponentSettings(window=200).step
    180
    >>> ExponentSettings.published(window=200).fit
    (0, 1)
    """

    window: int = 50
    stride: float = 0.9
    dimension: int = 2
    delay: int = 1
    theiler: int = 10
    steps: int = 8
    fit: tuple[int, int] = (0, 8)
    skip_coincident: bool = False
    flat: float = 1e-5
    flat_is_relative: bool = True
    abrupt: float | None = None
    decimals: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("dimension", 1), ("delay", 1), ("theiler", 0), ("steps", 1)):
            if getattr(self, name) < least:
                raise PruningError(f"got {name}={getattr(self, name)}, expected at least {least}")
        if not 0 < self.stride <= 1:
            raise PruningError(
                f"got stride={self.stride}, expected a share of the window in (0, 1]; 1 lets "
                "windows touch, smaller strides let them overlap"
            )
        first, last = self.fit
        if not 0 <= first < last <= self.steps:
            raise PruningError(
                f"got fit={self.fit}, expected 0 <= first < last <= steps={self.steps}; raise steps"
            )
        if not (self.flat >= 0 and (self.abrupt is None or self.abrupt >= 0)):
            raise PruningError(
                f"got flat={self.flat} and abrupt={self.abrupt}, expected numbers >= 0"
            )
        if self.window < self.least_window:
            raise PruningError(
                f"got window={self.window}, expected at least {self.least_window}, so that every "
                f"point has a neighbour more than theiler={self.theiler} iterates away; take a "
                "longer window or a shorter Theiler window"
            )

    @classmethod
    def published(cls, window: int = 200) -> ExponentSettings:
        """Return the settings of the published work: no Theiler window, the slope S(1) - S(0).

        Its programs write windows with six decimals, follow pairs for 3 steps (TISEAN's
        ``lyap_r -m2 -d1 -s3``), give 0 to windows that span less than 1e-5 or change abruptly,
        and read slopes off S by linear interpolation between 0.25 and 1, where all equal
        S(1) - S(0). Windows had 50 to 250 iterates. Two points at the same distance: the earlier
        one is the neighbour here, the later one there.
        """
        return cls(
            window,
            theiler=0,
            steps=3,
            fit=(0, 1),
            skip_coincident=True,
            flat_is_relative=False,
            abrupt=1.0,
            decimals=6,
        )

    @property
    def least_window(self) -> int:
        """The shortest window in which every point has a neighbour."""
        return (self.dimension - 1) * self.delay + self.steps + 2 * self.theiler + 2

    @property
    def step(self) -> int:
        """Iterates between the beginnings of neighbouring windows."""
        return max(1, round(self.stride * self.window))

    def windows(self, iterates: int) -> int:
        """Return how many whole windows fit into a series."""
        return max(0, (iterates - self.window) // self.step + 1)

    def ends(self, iterates: int) -> NDArray[np.int64]:
        """Return the last iterate of each window, shape (window,)."""
        return np.arange(self.windows(iterates)) * self.step + self.window - 1


@dataclass(frozen=True, eq=False)
class WindowedExponents:
    """Exponents of the windows of many series."""

    values: NDArray[np.float64]
    """Per iterate, shape (series, window)."""
    flat: NDArray[np.bool_]
    """Windows that got 0 because they hardly change, shape (series, window)."""
    abrupt: NDArray[np.bool_]
    """Windows that got 0 because they change abruptly, shape (series, window)."""

    @property
    def constant(self) -> NDArray[np.bool_]:
        """Series that hardly change in any window, shape (series,)."""
        constant: NDArray[np.bool_] = np.all(self.flat, axis=1)
        return constant


def windowed_exponents(
    series: ArrayLike, settings: ExponentSettings | None = None
) -> WindowedExponents:
    """Return the largest Lyapunov exponent of each window of each series.

    Parameters
    ----------
    series
        Values, shape (series, time).
    settings
        See `ExponentSettings`.

    Returns
    -------
    WindowedExponents
        Exponents per iterate. A window all of whose pairs coincide has 0 too.

    Raises
    ------
    PruningError
        The array has other axes, holds no window, or a value that is not finite.

    Examples
    --------
    The logistic map at 4 doubles distances: its exponent is log 2 per step. The estimate comes
    from 200 iterates of each.

    >>> x = np.random.default_rng(0).uniform(size=(50, 1))
    >>> for _ in range(249):
    ...     x = np.hstack([x, 4 * x[:, -1:] * (1 - x[:, -1:])])
    >>> settings = ExponentSettings(window=200, steps=3, fit=(0, 3))
    >>> bool(abs(windowed_exponents(x, settings).values.mean() - np.log(2)) < 0.05)
    True
    """
    settings = settings or ExponentSettings()
    values = np.asarray(series)
    if values.ndim != 2:
        raise PruningError(f"got series of shape {values.shape}, expected (series, time)")
    count = settings.windows(values.shape[1])
    if count < 1:
        raise PruningError(
            f"got series of {values.shape[1]} iterates, expected at least one window of "
            f"{settings.window}; log more iterates or take a shorter window"
        )
    check_finite_series("series", values)
    exponents = WindowedExponents(
        np.zeros((len(values), count)),
        np.zeros((len(values), count), bool),
        np.zeros((len(values), count), bool),
    )
    together = max(1, _BLOCK // (settings.window * count))
    for begin in range(0, len(values), together):
        part = slice(begin, begin + together)
        own = np.ascontiguousarray(values[part])  # a log lies in memory by time
        cut = sliding_window_view(own, settings.window, axis=1)[:, :: settings.step]
        # (time in the window, series and window): every operation below runs along memory
        rows = cut.reshape(-1, settings.window)
        block, noise = rows.T.astype(np.float64, order="C"), rounding(rows)
        if settings.decimals is not None:
            np.round(block, settings.decimals, out=block)
            noise = rounding(block, axis=0)  # decimals are coarser than the type was
        span, shape = np.ptp(block, axis=0), cut.shape[:2]
        scale = np.abs(block).max(axis=0) if settings.flat_is_relative else 1.0
        flat = (span == 0) | (span < settings.flat * scale)
        abrupt = np.zeros_like(flat)
        if settings.abrupt is not None:
            abrupt = ~flat & (largest_gain(block) > settings.abrupt)
        live = ~flat & ~abrupt
        slopes = np.zeros(block.shape[1])
        if live.any():
            slopes[live] = _slopes(block[:, live], noise[live], settings)
        exponents.values[part] = slopes.reshape(shape)
        exponents.flat[part], exponents.abrupt[part] = flat.reshape(shape), abrupt.reshape(shape)
    return exponents


def rounding(values: NDArray[Any], axis: int = -1) -> NDArray[np.float64]:
    """Return the differences of `values` along `axis` that rounding explains.

    Twice the precision of their type, or 2⁻⁴⁰ where that is finer, of the largest magnitude.

    Examples
    --------
    >>> float(rounding(np.array([1.0, -4.0]))) == 4 * 2.0**-40
    True
    """
    is_float = np.issubdtype(values.dtype, np.floating)
    share = max(2 * float(np.finfo(values.dtype).eps), _ROUNDING) if is_float else 0.0
    largest: NDArray[np.float64] = np.abs(values.astype(np.float64)).max(axis=axis)
    return share * largest


def check_finite_series(name: str, values: NDArray[np.floating]) -> None:
    """Raise `PruningError` naming the first of `values` that is not finite, (..., time)."""
    if not np.isfinite(values.sum(dtype=np.float64)):
        broken = np.argwhere(~np.isfinite(values))
        if len(broken):
            *place, iterate = broken[0].tolist()
            where = " ".join(f"{index} " for index in place)
            raise PruningError(
                f"{name} {where}holds {values[tuple(broken[0])]} at iterate {iterate}, expected "
                "finite values; lower the learning rate, or cut the log before training diverged"
            )


def largest_gain(block: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return by how much the best cut in two lowers the sum of squared deviations from the mean.

    With :math:`P_k` the sum of the first k of n centred values, a cut after them gains
    :math:`P_k^2 \, n / (k (n - k))`. Arrays are (time, window) and (window,).
    """
    n = len(block)
    partial = np.cumsum(block - block.mean(axis=0), axis=0)[:-1]
    k = np.arange(1, n)[:, None]
    gain: NDArray[np.float64] = (partial**2 * (n / (k * (n - k)))).max(axis=0)
    return gain


def _slopes(
    x: NDArray[np.float64], noise: NDArray[np.float64], settings: ExponentSettings
) -> NDArray[np.float64]:
    """Return the fitted slope of S(k) for each column of `x`, shape (time, window)."""
    floor = settings.dimension * noise**2  # of squared distances
    neighbour, has_neighbour = _neighbours(x, floor, settings)
    points, columns = neighbour.shape
    first, last = settings.fit
    reach = (settings.dimension - 1) * settings.delay
    here = neighbour * columns + np.arange(columns)  # places in the flat x
    flat_x = x.ravel()
    squares = {}
    for k in range(first, last + reach + 1):
        apart = flat_x.take(here + k * columns) - x[k : k + points]  # (point, window)
        squares[k] = apart * apart
    means = np.empty((last - first + 1, columns))
    for row, k in enumerate(range(first, last + 1)):
        distance = squares[k].copy()
        for place in range(1, settings.dimension):
            distance += squares[k + place * settings.delay]
        counted = has_neighbour & (distance > floor)  # pairs that coincide say nothing
        logs = np.log(distance, out=np.zeros_like(distance), where=counted)
        number = counted.sum(axis=0)
        means[row] = np.where(number, 0.5 * logs.sum(axis=0) / np.maximum(number, 1), np.nan)
    return _fitted_slope(means, np.arange(first, last + 1.0)[:, None])


def _neighbours(
    x: NDArray[np.float64], floor: NDArray[np.float64], settings: ExponentSettings
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the nearest neighbour of each point and whether there is one, (point, window).

    Of two at the same distance the earlier one is taken.
    """
    reach = (settings.dimension - 1) * settings.delay
    points = len(x) - reach - settings.steps
    best = np.full((points, x.shape[1]), np.inf)
    neighbour = np.zeros(best.shape, np.int64)
    index = np.arange(points)[:, None]
    for apart in range(settings.theiler + 1, points):
        pairs = points - apart
        squares = x[apart : apart + pairs + reach] - x[: pairs + reach]
        squares *= squares
        distance = squares[:pairs].copy()  # between the points i and i + apart
        for place in range(1, settings.dimension):
            distance += squares[place * settings.delay :][:pairs]
        if settings.skip_coincident:
            distance[distance <= floor] = np.inf
        # The later point of a pair: an earlier partner than all before, so it wins a tie.
        nearer = distance <= best[apart:]
        np.copyto(best[apart:], distance, where=nearer)
        np.copyto(neighbour[apart:], index[:pairs], where=nearer)
        nearer = distance < best[:pairs]
        np.copyto(best[:pairs], distance, where=nearer)
        np.copyto(neighbour[:pairs], index[apart:], where=nearer)
    return neighbour, np.isfinite(best)


def _fitted_slope(y: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least-squares slope of each column of `y` over `k`; NaN is left out, 0 if none."""
    finite = np.isfinite(y)
    number = finite.sum(axis=0)
    many = np.maximum(number, 1)
    y = np.where(finite, y, 0.0)
    k = np.where(finite, k, 0.0)
    k = np.where(finite, k - k.sum(axis=0) / many, 0.0)
    spread = (k * k).sum(axis=0)
    slope = (k * y).sum(axis=0) / np.where(spread > 0, spread, 1.0)
    return np.where(number > 1, slope, 0.0)
