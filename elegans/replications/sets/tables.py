"""Small tables: those of scikit-learn, the Palmer penguins, and a synthetic stand-in."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elegans.errors import DataError
from elegans.extras import require_extra
from elegans.files import open_file
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
    source = "UCI, Optical Recognition of Handwritten Digits, test part, as in scikit-learn"
    pixels = [f"pixel, row {row}, column {column}" for row in range(8) for column in range(8)]
    return _of_scikit("digits", "load_digits", source, features=pixels, largest=16)


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
    return _of_scikit("iris", "load_iris", "R. A. Fisher 1936, as in scikit-learn")


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
    source = "UCI, Breast Cancer Wisconsin (Diagnostic), as in scikit-learn"
    return _of_scikit("cancer (diagnostic)", "load_breast_cancer", source)


def _of_scikit(
    name: str, load: str, source: str, features: Sequence[str] | None = None, largest: float = 1
) -> ClassificationSet:
    bunch = getattr(require_extra("sklearn.datasets", "lab"), load)()
    classes = tuple(map(str, bunch.target_names))
    names = tuple(map(str, bunch.feature_names if features is None else features))
    return ClassificationSet(name, bunch.data / largest, bunch.target, classes, names, source)


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


SPECIES = ("Adelie", "Chinstrap", "Gentoo")
_ISLANDS = ("Biscoe", "Dream", "Torgersen")
_SEXES = ("female", "male")
_YEARS = ("2007", "2008", "2009")
# Each divided by a round number near its maximum, so that all features are of order 1.
_DIVISORS = {
    "bill_length_mm": 50.0,
    "bill_depth_mm": 20.0,
    "flipper_length_mm": 200.0,
    "body_mass_g": 5000.0,
}


def penguins() -> ClassificationSet:
    """Return the 333 complete rows of the Palmer penguins, of three species.

    The twelve features are island (one-hot: Biscoe, Dream, Torgersen), bill length / 50 mm, bill
    depth / 20 mm, flipper length / 200 mm, body mass / 5000 g, sex (one-hot: female, male) and year
    (one-hot: 2007, 2008, 2009). The eleven rows with a missing value are left out.

    Raises
    ------
    MissingExtraError
        When palmerpenguins is not installed.
    DataError
        When its table is not as expected.

    Examples
    --------
    >>> penguins()
    ClassificationSet('penguins': 333 rows, 12 features, 3 classes)
    >>> penguins().features[0].tolist()[:3], round(float(penguins().features[0, 3]) * 50, 3)
    ([0.0, 0.0, 1.0], 39.1)

    Source: K. Gorman, T. Williams, W. Fraser, PLoS ONE 9(3) e90081, 2014; A. Horst, A. Hill,
    K. Gorman, palmerpenguins (CC0).
    """
    return read_penguins(_table())


def read_penguins(path: Path) -> ClassificationSet:
    """Return the complete rows of a table with the columns of palmerpenguins' ``penguins.csv``.

    Raises
    ------
    DataError
        When a column is missing or a cell holds something else than expected.
    """
    features: list[list[float]] = []
    labels: list[int] = []
    try:
        _read_rows(path, features, labels)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); install palmerpenguins again"
        ) from error
    if not features:
        raise DataError(f"{path}: got no complete row, expected some; install palmerpenguins again")
    return ClassificationSet(
        "penguins",
        np.array(features, dtype=np.float32),
        np.array(labels, dtype=np.int64),
        SPECIES,
        (
            *(f"island {name}" for name in _ISLANDS),
            "bill length / 50 mm",
            "bill depth / 20 mm",
            "flipper length / 200 mm",
            "body mass / 5000 g",
            *(f"sex {name}" for name in _SEXES),
            *(f"year {name}" for name in _YEARS),
        ),
        "Palmer Station LTER, from the package palmerpenguins (CC0)",
    )


def _read_rows(path: Path, features: list[list[float]], labels: list[int]) -> None:
    """Add the complete rows of the table to features and labels."""
    with io.TextIOWrapper(open_file(path), encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        expected = ["species", "island", *_DIVISORS, "sex", "year"]
        missing = [name for name in expected if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{path}: got no columns {', '.join(missing)}, expected {', '.join(expected)}; "
                "install palmerpenguins again"
            )
        for row in reader:
            if any(row[name] in ("", "NA", None) for name in expected):
                continue
            try:
                features.append(
                    [
                        *_one_hot(row["island"], _ISLANDS),
                        *(float(row[name]) / divisor for name, divisor in _DIVISORS.items()),
                        *_one_hot(row["sex"], _SEXES),
                        *_one_hot(row["year"], _YEARS),
                    ]
                )
                labels.append(_number(row["species"], SPECIES))
            except ValueError as error:
                raise DataError(
                    f"{path}, line {reader.line_num}: got {error}, expected a number or one of "
                    f"{', '.join(SPECIES + _ISLANDS + _SEXES + _YEARS)}; install palmerpenguins "
                    "again"
                ) from error


def _table() -> Path:
    """Return the table of the installed package, without importing it and pandas with it."""
    package = importlib.util.find_spec("palmerpenguins")
    if package is None or package.origin is None:
        require_extra("palmerpenguins", "lab")  # names the extra
        raise DataError(
            "got a package palmerpenguins without files, expected penguins.csv in it; install it "
            "again"
        )
    path = Path(package.origin).parent / "data" / "penguins.csv"
    if not path.is_file():
        raise DataError(
            f"{path}: got no such file, expected the table of palmerpenguins; install it again"
        )
    return path


def _one_hot(value: str, choices: tuple[str, ...]) -> list[float]:
    at = _number(value, choices)
    return [float(choice == at) for choice in range(len(choices))]


def _number(value: str, choices: tuple[str, ...]) -> int:
    if value not in choices:
        raise ValueError(repr(value))
    return choices.index(value)
