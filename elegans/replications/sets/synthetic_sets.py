"""A synthetic stand-in for a small table of two classes."""

from __future__ import annotations

import numpy as np

from elegans.errors import DataError
from elegans.replications.sets.classification_set import ClassificationSet

_ROWS = (762, 610)
# Two clouds a class: centres (class, cloud, feature), and one deviation a feature.
_CENTRES = np.array(
    [
        [[2.2, 6.5, -1.0, -0.8], [2.3, -2.5, 4.0, -1.6]],
        [[-2.4, 1.5, 1.6, -1.0], [-1.2, -6.5, 7.0, -1.6]],
    ]
)
_DEVIATIONS = np.array([1.9, 3.0, 2.4, 1.8])
_TILT = -0.75  # correlation of the second and the third feature


def banknote_like(seed: int = 0) -> ClassificationSet:
    """Return a *synthetic* set of 1,372 rows, four features and two classes, drawn anew by `seed`.

    It stands in where the table of banknote authentication (UCI 2013) is not at hand: the same
    numbers of rows (762 and 610) and features, two overlapping clouds a class, two features that
    are strongly correlated. No number in it was measured on a banknote, and figures found with it
    must not be compared with those of the real table.

    Parameters
    ----------
    seed
        Draws the rows, at least 0.

    Raises
    ------
    DataError
        When the seed is negative.

    Examples
    --------
    >>> banknote_like(seed=1)
    ClassificationSet('banknote-like': 1372 rows, 4 features, 2 classes)
    """
    if seed < 0:
        raise DataError(f"got seed = {seed}, expected at least 0; choose another seed")
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(2), _ROWS)
    clouds = generator.integers(2, size=len(labels))
    noise = generator.standard_normal((len(labels), 4))  # (row, feature)
    noise[:, 2] = _TILT * noise[:, 1] + np.sqrt(1 - _TILT**2) * noise[:, 2]
    features = _CENTRES[labels, clouds] + 0.8 * _DEVIATIONS * noise
    order = generator.permutation(len(labels))
    return ClassificationSet(
        "banknote-like",
        features[order].astype(np.float32),
        labels[order],
        ("genuine-like", "forged-like"),
        ("first", "second", "third", "fourth"),
        f"synthetic, seed {seed}; not the banknote authentication data",
    )
