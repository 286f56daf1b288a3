"""One small data set for classification as a value: rows of features, each with its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegans.data.scale import Scale
from elegans.data.splits import part_sizes, spread_order
from elegans.errors import DataError


@dataclass(frozen=True, eq=False)
class ClassificationSet:
    """Rows of features, each with the number of its class.

    Parameters
    ----------
    name
        What tables and errors call the set.
    features
        Shape (row, feature), finite; kept as float32 and read-only.
    labels
        Shape (row,), whole numbers from 0 to the number of classes less one; kept as int64 and
        read-only.
    classes
        The name of each class, at least two.
    feature_names
        One name a feature, with its unit where it has one.
    source
        Where the numbers come from.

    Raises
    ------
    DataError
        When shapes, labels or names do not fit together or a number is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.arange(10.0)[:, None]
    >>> worms = ClassificationSet(
    ...     "worms", rows, rows[:, 0] > 4, ("still", "moving"), ("speed, um/s",), "made up"
    ... )
    >>> worms
    ClassificationSet('worms': 10 rows, 1 feature, 2 classes)
    >>> train, test = worms.split((8, 2), seed=0, stratified=True)
    >>> train.class_counts.tolist(), test.class_counts.tolist()
    ([4, 4], [1, 1])
    >>> train.tensors()[0].shape
    torch.Size([8, 1])
    """

    name: str
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", self._checked_features())
        object.__setattr__(self, "labels", self._checked_labels())
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "feature_names", tuple(self.feature_names))
        for what, got, expected in (
            ("names of features", len(self.feature_names), self.features.shape[1]),
            ("labels", len(self.labels), len(self.features)),
        ):
            if got != expected:
                raise DataError(
                    f"data set {self.name!r}: got {got} {what}, expected {expected} for features "
                    f"of shape {self.features.shape}; give one each"
                )
        if len(self.classes) < 2:
            raise DataError(
                f"data set {self.name!r}: got {len(self.classes)} classes, expected at least two; "
                "name the classes in the order of their numbers"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"data set {self.name!r}: got labels from {low} to {high}, expected 0 to "
                f"{len(self.classes) - 1} for {len(self.classes)} classes; number the classes from "
                "0 on"
            )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)

    def __repr__(self) -> str:
        count = len(self.feature_names)
        return (
            f"ClassificationSet({self.name!r}: {len(self)} rows, {count} "
            f"feature{'' if count == 1 else 's'}, {len(self.classes)} classes)"
        )

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Number of rows of each class, shape (class,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def tensors(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Return features (row, feature) and labels (row,) as tensors of their own."""
        # A copy, because PyTorch has no read-only tensors.
        return torch.tensor(self.features, dtype=dtype), torch.tensor(self.labels)

    def rows(self, indices: NDArray[np.int64] | Sequence[int], name: str) -> ClassificationSet:
        """Return the rows at `indices` as a data set called `name`."""
        at = np.asarray(indices, dtype=np.int64)
        return replace(self, name=name, features=self.features[at], labels=self.labels[at])

    def scaled(self, scale: Scale) -> ClassificationSet:
        """Return the set with scaled features; fit the scale to the training part alone.

        Examples
        --------
        >>> train = ClassificationSet("a", [[1.0], [3.0]], [0, 1], ("no", "yes"), ("x",), "made up")
        >>> test = ClassificationSet("b", [[5.0]], [1], ("no", "yes"), ("x",), "made up")
        >>> test.scaled(Scale.standard([train.features])).features.tolist()
        [[3.0]]
        """
        return replace(self, features=scale.apply(self.features))

    def split(
        self,
        parts: Sequence[int] | Sequence[float],
        seed: int = 0,
        *,
        stratified: bool = False,
        standardised: bool = False,
    ) -> tuple[ClassificationSet, ...]:
        """Return disjoint random parts, by convention training, validation and test.

        Parameters
        ----------
        parts
            Either the number of rows of each part, in all at most the rows there are, or the
            share of each part, with sum 1.
        seed
            Draws which row goes where, at least 0.
        stratified
            Whether every part gets the classes in the proportion of the whole set. A part of m
            rows then holds q m rows of a class, give or take 1 + C q, where q is the share of the
            class in the whole set and C the number of classes.
        standardised
            Whether to scale all parts by mean and deviation of the first.

        Raises
        ------
        DataError
            When the parts do not fit the set, one of them would be empty, or the seed is negative.
        """
        if seed < 0:
            raise DataError(f"got seed = {seed}, expected at least 0; choose another seed")
        try:
            counts = part_sizes(len(self), parts)
        except DataError as error:
            raise DataError(f"data set {self.name!r}: {error}") from None
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(self))
        if stratified:
            order = spread_order(self.labels, order, generator)
        ends = np.cumsum(counts)
        cut = np.split(order[: ends[-1]], ends[:-1])
        made = tuple(self.rows(rows, f"{self.name}, part {at}") for at, rows in enumerate(cut, 1))
        if not standardised:
            return made
        scale = Scale.standard([made[0].features], self.feature_names)
        return tuple(part.scaled(scale) for part in made)

    def _checked_features(self) -> NDArray[np.float32]:
        # A number too large for float32 becomes infinite, which is reported below.
        with np.errstate(over="ignore"):
            features = np.asarray(self.features, dtype=np.float32)
        if features.ndim != 2 or 0 in features.shape:
            raise DataError(
                f"data set {self.name!r}: got features of shape {features.shape}, expected "
                "(row, feature) with no empty axis; flatten pictures to rows"
            )
        if not np.isfinite(features).all():
            row, column = np.argwhere(~np.isfinite(features))[0]
            raise DataError(
                f"data set {self.name!r}: got {features[row, column]} in row {row}, feature "
                f"{column}, expected finite numbers in the range of float32; drop the row or fill "
                "it in"
            )
        return _read_only(features)

    def _checked_labels(self) -> NDArray[np.int64]:
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or labels.dtype.kind not in "biu":
            raise DataError(
                f"data set {self.name!r}: got labels of shape {labels.shape} and type "
                f"{labels.dtype}, expected whole numbers of shape (row,); number the classes from "
                "0 on"
            )
        return _read_only(labels.astype(np.int64, copy=False))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
