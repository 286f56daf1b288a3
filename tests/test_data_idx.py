"""Reading idx files: every type, compressed and plain, and every way in which one is damaged."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans import capacity
from elegans.errors import DataError
from elegans.replications.sets.image_sets import read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def encoded(array, code=None, shape=None):
    """Return the bytes of an idx file, written independently of the reader."""
    code = CODES[array.dtype.str[1:]] if code is None else code
    shape = array.shape if shape is None else shape
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(folder, content, name="a.idx"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_type_is_read_back(tmp_path, kind, pack):
    array = (np.arange(24).reshape(2, 3, 4) * 5 - (0 if kind == "u1" else 50)).astype(kind)
    found = read_idx(write(tmp_path, pack(encoded(array))))
    assert found.dtype == np.dtype(kind)
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_the_bytes_are_read_as_the_format_says(tmp_path):
    # Written out by hand: int32, one axis of length 2, the numbers 258 and -2.
    content = bytes([0, 0, 0x0C, 1, 0, 0, 0, 2, 0, 0, 1, 2, 255, 255, 255, 254])
    assert read_idx(write(tmp_path, content)).tolist() == [258, -2]


def test_the_name_does_not_say_whether_it_is_compressed(tmp_path):
    content = encoded(np.arange(5, dtype="u1"))
    assert read_idx(write(tmp_path, content, "plain.gz")).tolist() == [0, 1, 2, 3, 4]
    assert read_idx(write(tmp_path, gzip.compress(content), "packed")).tolist() == [0, 1, 2, 3, 4]


GOOD = encoded(np.arange(6, dtype="i2").reshape(2, 3))
HUGE = struct.pack(">BBBB3I", 0, 0, 0x0E, 3, *[2**32 - 1] * 3)
FAULTS = {
    "empty": (b"", r"got first bytes none, expected 00 00"),
    "short": (b"\0\0", r"got first bytes 00 00, expected 00 00, then one of 08, 09, 0b"),
    "picture": (b"\x89PNG\r\n\x1a\n", r"got first bytes 89 50 4e 47.*no idx file"),
    "little endian": (GOOD[3::-1] + GOOD[4:], r"got first bytes 02 0b 00 00"),
    "type": (b"\0\0\x0a\x01" + GOOD[4:], r"got first bytes 00 00 0a 01"),
    "no axes": (b"\0\0\x08\0", r"got 0 axes, expected 1 to 32"),
    "many axes": (b"\0\0\x08\xff" + bytes(1020), r"got 255 axes, expected 1 to 32"),
    "cut header": (
        GOOD[:9],
        r"got an end of the file inside the header, expected the lengths of 2 axes",
    ),
    "cut": (GOOD[:-1], r"got 11 bytes of numbers, expected 12 bytes for shape \(2, 3\) .*int16"),
    "more": (GOOD + b"\0", r"got more bytes than the 12 that .* announce, expected the end"),
    "nothing": (encoded(np.zeros((0, 3), "u1")), r"got shape \(0, 3\), expected every axis at"),
    "huge": (HUGE, r"got 0 bytes of numbers, expected 633\d+ bytes for shape \(4294967295, "),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"a\.idx: {message}"):
        read_idx(write(tmp_path, content))


PACKED_FAULTS = {
    "cut inside": (gzip.compress(GOOD)[:-12], r"got damaged gzip data"),
    "wrong sum": (gzip.compress(GOOD)[:-8] + bytes(8), r"got damaged gzip data"),
    "cut before": (gzip.compress(GOOD[:-1]), r"got 11 bytes of numbers, expected 12 bytes"),
    "more": (gzip.compress(GOOD + b"\0"), r"got more bytes than the 12"),
    "huge": (gzip.compress(HUGE), r"got a file of \d+ bytes, expected 633\d+ bytes"),
    "no deflate": (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 40, r"got damaged gzip data"),
}


@pytest.mark.parametrize(("content", "message"), PACKED_FAULTS.values(), ids=PACKED_FAULTS)
def test_faults_of_compressed_files_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=rf"a\.gz: {message}"):
        read_idx(write(tmp_path, content, "a.gz"))


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"absent: got no file of this name, expected an idx file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match=r"got a folder, expected an idx file; check the path"):
        read_idx(tmp_path)


def test_what_is_announced_but_absent_costs_no_memory(tmp_path):
    # 900 MB are announced and not excluded by the size of the archive, 1 MB is there.
    header = struct.pack(">BBBB2I", 0, 0, 0x08, 2, 30_000, 30_000)
    noise = np.random.default_rng(0).bytes(1 << 20)
    path = write(tmp_path, gzip.compress(header + noise))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="got 1048576 bytes of numbers, expected 900000000"):
            read_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_an_array_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(capacity, "available_bytes", lambda: 11)
    with pytest.raises(DataError, match=r"shape \(2, 3\) needs .*\(12 bytes\), but .*\(11 bytes\)"):
        read_idx(write(tmp_path, GOOD))
    monkeypatch.setattr(capacity, "available_bytes", lambda: None)  # nobody says
    assert read_idx(write(tmp_path, GOOD)).shape == (2, 3)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.booleans(), st.booleans())
def test_whatever_the_bytes_it_is_an_array_or_a_data_error(tmp_path_factory, noise, good, packed):
    content = b"\0\0\x08\x01\0\0\0" + noise if good else noise
    path = tmp_path_factory.mktemp("idx") / "a"
    path.write_bytes(gzip.compress(content) if packed else content)
    try:
        array = read_idx(path)
    except DataError:
        return
    assert array.nbytes == len(content) - 4 - 4 * content[3]
