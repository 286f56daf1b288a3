"""MNIST and Fashion-MNIST: small files written here, found under every usual name."""

import gzip
import struct

import numpy as np
import pytest

from elegans.errors import DataError
from elegans.replications.sets import DATA_VARIABLE, fashion_mnist, has_files, mnist


@pytest.fixture(autouse=True)
def _no_folder_of_the_user(monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write(folder, rows=5, mark="-", suffix=".gz", pictures=None, labels=None):
    folder.mkdir(exist_ok=True, parents=True)
    generator = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        images = generator.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        arrays = {
            f"images{mark}idx3": images if pictures is None else pictures,
            f"labels{mark}idx1": np.arange(rows, dtype=np.uint8) if labels is None else labels,
        }
        for name, array in arrays.items():
            content = gzip.compress(idx(array)) if suffix else idx(array)
            (folder / f"{prefix}-{name}-ubyte{suffix}").write_bytes(content)
    return folder


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_of_every_usual_name_are_read(tmp_path, mark, suffix):
    write(tmp_path, mark=mark, suffix=suffix)
    train, test = mnist(tmp_path), mnist(tmp_path, "test")
    assert (train.features.shape, test.features.shape) == ((5, 784), (5, 784))
    assert train.features.dtype == np.float32
    raw = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    np.testing.assert_allclose(train.features, raw.reshape(5, 784) / 255, rtol=1e-6)
    assert train.labels.tolist() == [0, 1, 2, 3, 4]
    assert not np.array_equal(train.features, test.features)
    assert (train.name, test.name) == ("mnist, train", "mnist, test")
    assert has_files("mnist", tmp_path)


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    write(tmp_path / "fashion-mnist", rows=7)
    assert len(fashion_mnist()) == 7
    assert not has_files("mnist")
    write(tmp_path, rows=6)
    assert len(mnist()) == 6  # in the folder itself
    write(tmp_path / "mnist", rows=8)
    assert len(mnist()) == 8  # its own folder goes first
    assert fashion_mnist().classes[9] == "ankle boot"


def test_files_of_mnist_are_not_taken_for_fashion(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    write(tmp_path)
    assert has_files("mnist")
    assert not has_files("fashion-mnist")
    with pytest.raises(DataError, match="got no files of fashion-mnist"):
        fashion_mnist()


def test_missing_files_are_named_with_where_to_get_them(tmp_path):
    with pytest.raises(
        DataError,
        match=r"no files of mnist in any folder \(ELEGANS_DATA is not set\), expected "
        r"train-images-idx3-ubyte and train-labels-idx1-ubyte.*get them from yann\.lecun\.com",
    ):
        mnist()
    with pytest.raises(DataError, match=r"absent, expected t10k-images-idx3.*zalandoresearch"):
        fashion_mnist(tmp_path / "absent", "test")
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert not has_files("mnist", tmp_path)
    assert len(mnist(tmp_path)) == 5
    with pytest.raises(DataError, match="expected t10k-images-idx3-ubyte and t10k-labels"):
        mnist(tmp_path, "test")
    with pytest.raises(DataError, match=r"got part 'validation', expected 'train' or 'test'"):
        mnist(tmp_path, "validation")


FAULTS = {
    "size": ({"pictures": np.zeros((5, 32, 32), np.uint8)}, r"shape \(5, 32, 32\), expected uint8"),
    "flat": ({"pictures": np.zeros((5, 784), np.uint8)}, r"shape \(5, 784\), expected uint8"),
    "label": ({"labels": np.full(5, 10, np.uint8)}, r"up to 10, expected uint8 .* below 10"),
    "number": ({"labels": np.zeros(4, np.uint8)}, r"got 4 labels, expected 5"),
}


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS)
def test_files_of_another_kind_are_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        mnist(write(tmp_path, **changes))
