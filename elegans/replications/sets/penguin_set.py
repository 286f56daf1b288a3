"""The Palmer penguins, from the table in the package `palmerpenguins`."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np

from elegans.errors import DataError
from elegans.extras import require_extra
from elegans.replications.sets.classification_set import ClassificationSet

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
    features, labels = [], []
    with path.open(encoding="utf-8", newline="") as file:
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


def _table() -> Path:
    """Return the table of the installed package, without importing it and pandas with it."""
    found = importlib.util.find_spec("palmerpenguins")
    if found is None or found.origin is None:
        require_extra("palmerpenguins", "lab")  # names the extra
        raise DataError(
            "got a package palmerpenguins without files, expected penguins.csv in it; install it "
            "again"
        )
    path = Path(found.origin).parent / "data" / "penguins.csv"
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
