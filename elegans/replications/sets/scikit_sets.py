"""The small data sets that come with scikit-learn: digits, iris and diagnostic breast cancer."""

from __future__ import annotations

import numpy as np

from elegans.extras import require_extra
from elegans.replications.sets.classification_set import ClassificationSet


def digits() -> ClassificationSet:
    """Return 1,797 handwritten digits of 8 by 8 pixels, each between 0 and 1.

    The 64 features are the pixels row by row, ink in 17 steps divided by 16.

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed.

    Examples
    --------
    >>> digits()
    ClassificationSet('digits': 1797 rows, 64 features, 10 classes)

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998 (its test
    part), as in scikit-learn.
    """
    bunch = require_extra("sklearn.datasets", "lab").load_digits()
    return ClassificationSet(
        "digits",
        bunch.data / 16,
        bunch.target,
        tuple(str(digit) for digit in range(10)),
        tuple(f"pixel, row {row}, column {column}" for row in range(8) for column in range(8)),
        "UCI, Optical Recognition of Handwritten Digits, test part, as in scikit-learn",
    )


def iris() -> ClassificationSet:
    """Return 150 iris flowers of three species by four lengths in cm.

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed.

    Examples
    --------
    >>> iris().classes
    ('setosa', 'versicolor', 'virginica')

    Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", 1936, as in
    scikit-learn.
    """
    bunch = require_extra("sklearn.datasets", "lab").load_iris()
    return ClassificationSet(
        "iris",
        bunch.data,
        bunch.target,
        tuple(str(name) for name in bunch.target_names),
        tuple(str(name) for name in bunch.feature_names),
        "R. A. Fisher 1936, as in scikit-learn",
    )


def cancer() -> ClassificationSet:
    """Return 569 breast tumours by thirty measures of their cells' nuclei: the *diagnostic* set.

    This is Wisconsin Breast Cancer (Diagnostic), 1995, which scikit-learn has. It is another set
    than the *original* one of 1992 (699 rows of nine grades from 1 to 10), which studies of pruning
    have used; figures measured on one do not carry over to the other.

    Raises
    ------
    MissingExtraError
        When scikit-learn is not installed.

    Examples
    --------
    >>> cancer().class_counts.tolist(), cancer().classes
    ([212, 357], ('malignant', 'benign'))

    Source: W. Wolberg, O. Mangasarian, N. Street, W. Street, UCI 1995, as in scikit-learn.
    """
    bunch = require_extra("sklearn.datasets", "lab").load_breast_cancer()
    return ClassificationSet(
        "cancer (diagnostic)",
        np.asarray(bunch.data),
        bunch.target,
        tuple(str(name) for name in bunch.target_names),
        tuple(str(name) for name in bunch.feature_names),
        "UCI, Breast Cancer Wisconsin (Diagnostic), as in scikit-learn",
    )
