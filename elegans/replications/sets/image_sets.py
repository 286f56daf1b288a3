"""MNIST and Fashion-MNIST from idx files that a user has, and the reader of such files."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from elegans.capacity import DEFLATE_GROWTH, require_bytes
from elegans.errors import DataError
from elegans.files import open_file
from elegans.replications.sets.classification_set import ClassificationSet

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_MOST_AXES = 32
_BLOCK = 1 << 20


def read_idx(path: str | Path) -> NDArray[Any]:
    """Return the array in an idx file, plain or compressed by gzip.

    The file begins with two zero bytes, one byte for the type of the numbers (0x08 uint8, 0x09
    int8, 0x0B int16, 0x0C int32, 0x0D float32, 0x0E float64) and one for the number of axes. The
    length of each axis follows as an unsigned number of four bytes, then the numbers themselves,
    last axis fastest. All numbers are big endian.

    Parameters
    ----------
    path
        The file. Whether it is compressed is told by its first bytes, not by its name.

    Returns
    -------
    numpy.ndarray
        The numbers, in the byte order of this machine.

    Raises
    ------
    DataError
        When there is no such file, its first bytes are of another format, or it holds fewer or
        more numbers than it announces. Memory is taken as the numbers arrive, so a file that
        announces more than it holds costs no more than what it holds.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = pathlib.Path(folder.name) / "labels.idx1-ubyte"
    >>> _ = file.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx(file).tolist()
    [7, 2, 1]
    >>> folder.cleanup()

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    path = Path(path)
    with _opened(path) as (file, compressed):
        size = path.stat().st_size
        kind, shape, header = _header(path, file)
        expected = math.prod(shape) * kind.itemsize
        most = size * DEFLATE_GROWTH if compressed else size - header
        if expected > most:
            got = f"a file of {size} bytes" if compressed else f"{most} bytes of numbers"
            raise _too_few(path, got, kind, shape, expected)
        what = f"{path}: an array of shape {shape}"
        require_bytes(expected, what, "read it on a larger machine", DataError)
        numbers = bytearray()
        while len(numbers) < expected:
            block = file.read(min(_BLOCK, expected - len(numbers)))
            if not block:
                raise _too_few(path, f"{len(numbers)} bytes of numbers", kind, shape, expected)
            numbers += block
        if file.read(1):
            raise DataError(
                f"{path}: got more bytes than the {expected} that shape {shape} and type "
                f"{kind.newbyteorder('=')} announce, expected the end of the file; the header is "
                "damaged or something was appended, so get the file again"
            )
    array = np.frombuffer(numbers, dtype=kind).reshape(shape)
    if not kind.isnative:
        array = array.byteswap(inplace=True).view(kind.newbyteorder("="))
    return array


def _header(path: Path, file: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return the type of the numbers, the shape, and the length of the header in bytes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        codes = ", ".join(f"{code:02x}" for code in _TYPES)
        raise DataError(
            f"{path}: got first bytes {magic.hex(' ') or 'none'}, expected 00 00, then one of "
            f"{codes}, then the number of axes; this is no idx file, or it is damaged"
        )
    axes = magic[3]
    if not 1 <= axes <= _MOST_AXES:
        raise DataError(
            f"{path}: got {axes} axes, expected 1 to {_MOST_AXES}; the header is damaged, so get "
            "the file again"
        )
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise DataError(
            f"{path}: got an end of the file inside the header, expected the lengths of {axes} "
            "axes; the file is cut off, so get it again"
        )
    shape = tuple(int(length) for length in np.frombuffer(lengths, dtype=">u4"))
    if 0 in shape:
        raise DataError(
            f"{path}: got shape {shape}, expected every axis at least 1; the header is damaged or "
            "the file holds nothing, so get it again"
        )
    return np.dtype(_TYPES[magic[2]]), shape, 4 + 4 * axes


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    try:
        opened = open_file(path)
    except OSError as error:
        got = {FileNotFoundError: "no file of this name", IsADirectoryError: "a folder"}
        raise DataError(
            f"{path}: got {got.get(type(error)) or error.strerror}, expected an idx file; check "
            "the path"
        ) from error
    with opened as plain:
        compressed = plain.read(2) == _GZIP
        plain.seek(0)
        if not compressed:
            yield plain, False
            return
        try:
            with gzip.GzipFile(fileobj=plain) as file:
                # GzipFile reads as a binary file does, but is typed as another class.
                yield file, True  # type: ignore[misc]
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{path}: got damaged gzip data ({error}), expected an intact archive; the file "
                "is cut off or changed, so get it again"
            ) from error


def _too_few(
    path: Path, got: str, kind: np.dtype[Any], shape: tuple[int, ...], expected: int
) -> DataError:
    return DataError(
        f"{path}: got {got}, expected {expected} bytes for shape {shape} of type "
        f"{kind.newbyteorder('=')}; the file is cut off or its header damaged, so get it again"
    )


DATA_VARIABLE = "ELEGANS_DATA"
"""The environment variable that names the folder of idx files."""

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
            if os.path.isfile(path):
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
