"""MNIST and Fashion-MNIST from the idx files that a user has."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elegans.errors import DataError
from elegans.replications.sets.classification_set import ClassificationSet
from elegans.replications.sets.idx_file import read_idx

DATA_VARIABLE = "ELEGANS_DATA"
_PREFIXES = {"train": "train", "test": "t10k"}
_SIDE = 28
_GARMENTS = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def mnist(folder: str | Path | None = None, part: str = "train") -> ClassificationSet:
    """Return handwritten digits of 28 by 28 pixels from 0 to 1, 60,000 to train and 10,000 to test.

    Parameters
    ----------
    folder
        Where ``train-images-idx3-ubyte`` and its fellows lie, with or without ``.gz``, also spelt
        ``train-images.idx3-ubyte``. Without it, the folder named by the environment variable
        ELEGANS_DATA, in which a folder ``mnist`` is looked into first.
    part
        "train" or "test".

    Raises
    ------
    DataError
        When the files are not there (the message says which names are expected and where to get
        them) or are not as expected.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    return _read(
        "mnist",
        folder,
        part,
        tuple(str(digit) for digit in range(10)),
        "MNIST (LeCun, Cortes, Burges)",
        "yann.lecun.com/exdb/mnist or through torchvision.datasets.MNIST (its folder MNIST/raw)",
    )


def fashion_mnist(folder: str | Path | None = None, part: str = "train") -> ClassificationSet:
    """Return garments of 28 by 28 pixels from 0 to 1, 60,000 to train and 10,000 to test.

    Parameters
    ----------
    folder
        As for `mnist`, whose file names it shares; in the folder of ELEGANS_DATA,
        ``fashion-mnist`` is looked into first, and the folder itself not at all.
    part
        "train" or "test".

    Raises
    ------
    DataError
        As for `mnist`.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST", arXiv 1708.07747.
    """
    return _read(
        "fashion-mnist",
        folder,
        part,
        _GARMENTS,
        "Fashion-MNIST (Xiao, Rasul, Vollgraf)",
        "github.com/zalandoresearch/fashion-mnist or through torchvision.datasets.FashionMNIST "
        "(its folder FashionMNIST/raw)",
    )


def has_files(name: str, folder: str | Path | None = None) -> bool:
    """Say whether all four files of "mnist" or "fashion-mnist" are found.

    Examples
    --------
    >>> has_files("mnist", "no/such/folder")
    False
    """
    return any(
        all(
            _find(place, prefix, content, axes)
            for prefix in _PREFIXES.values()
            for content, axes in (("images", 3), ("labels", 1))
        )
        for place in _places(name, folder)
    )


def _read(
    name: str,
    folder: str | Path | None,
    part: str,
    classes: tuple[str, ...],
    source: str,
    where: str,
) -> ClassificationSet:
    if part not in _PREFIXES:
        raise DataError(
            f"got part {part!r}, expected 'train' or 'test'; split a part further with split()"
        )
    prefix = _PREFIXES[part]
    for place in _places(name, folder):
        images = _find(place, prefix, "images", 3)
        labels = _find(place, prefix, "labels", 1)
        if images is not None and labels is not None:
            return ClassificationSet(
                f"{name}, {part}",
                _pixels(images),
                _numbers(labels, len(classes)),
                classes,
                tuple(
                    f"pixel, row {row}, column {column}"
                    for row in range(_SIDE)
                    for column in range(_SIDE)
                ),
                source,
            )
    places = ", ".join(str(place) for place in _places(name, folder))
    raise DataError(
        f"got no files of {name} in {places or f'any folder ({DATA_VARIABLE} is not set)'}, "
        f"expected {prefix}-images-idx3-ubyte and {prefix}-labels-idx1-ubyte, each plain or .gz; "
        f"get them from {where}, then pass folder=... or set {DATA_VARIABLE}"
    )


def _places(name: str, folder: str | Path | None) -> list[Path]:
    """Return the folders to look into."""
    if folder is not None:
        return [Path(folder)]
    variable = os.environ.get(DATA_VARIABLE)
    if not variable:
        return []
    root = Path(variable)
    # Fashion-MNIST has the names of MNIST, so that files in the root could only be guessed at.
    return [root / name, root] if name == "mnist" else [root / name]


def _find(folder: Path, prefix: str, content: str, axes: int) -> Path | None:
    for mark in ("-", "."):
        for suffix in ("", ".gz"):
            path = folder / f"{prefix}-{content}{mark}idx{axes}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def _pixels(path: Path) -> NDArray[np.float32]:
    images = read_idx(path)
    if images.dtype != np.uint8 or images.shape[1:] != (_SIDE, _SIDE):
        raise DataError(
            f"{path}: got {images.dtype} of shape {images.shape}, expected uint8 of shape "
            f"(picture, {_SIDE}, {_SIDE}); this is another file"
        )
    rows = images.reshape(len(images), -1).astype(np.float32)  # (picture, pixel)
    rows /= 255
    return rows


def _numbers(path: Path, classes: int) -> NDArray[np.int64]:
    labels = read_idx(path)
    if labels.dtype != np.uint8 or labels.ndim != 1 or labels.max() >= classes:
        raise DataError(
            f"{path}: got {labels.dtype} of shape {labels.shape} up to {labels.max()}, expected "
            f"uint8 of shape (picture,) below {classes}; this is another file"
        )
    return labels.astype(np.int64)
