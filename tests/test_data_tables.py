"""Reading users' files: what is read, and that every fault is named with its place and remedy."""

import io
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elegans.data import Sequence, column_names, read_table
from elegans.errors import DataError

GOOD = "id,t,a,b,y,note\n1,0,1,10,7,x\n1,0.5,2,20,8,\n1,2,3,30,7,z\n2,5,4,40,8,é\n2,6,5,50,7,\n"


def write(folder: Path, text: str, name: str = "data.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def npz(folder: Path, **arrays) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def test_csv_columns_become_sequences_with_elapsed_times(tmp_path):
    table = read_table(write(tmp_path, GOOD), ["b", "a"], "y", time="t", sequence="id")
    assert (table.input_names, table.target_names) == (("b", "a"), ("y",))
    assert (table.input_size, table.output_size, len(table)) == (2, 1, 2)
    assert (table.time_name, table.sequence_name) == ("t", "id")
    first, second = table
    assert (first.name, second.name) == ("1", "2")
    np.testing.assert_array_equal(first.inputs, [[10, 1], [20, 2], [30, 3]])
    np.testing.assert_array_equal(second.targets, [[8], [7]])
    np.testing.assert_array_equal(first.elapsed, [1.0, 0.5, 1.5])  # starts with the median
    np.testing.assert_array_equal(second.elapsed, [1, 1])
    assert first.inputs.dtype == first.elapsed.dtype == np.float64


def test_without_time_and_sequence_the_file_is_one_sequence_of_unit_steps(tmp_path):
    (only,) = read_table(write(tmp_path, GOOD, "walk.csv"), "a", ["y", "a"])
    assert only.name == "walk"
    np.testing.assert_array_equal(only.elapsed, np.ones(5))
    np.testing.assert_array_equal(only.targets[:, 1], only.inputs[:, 0])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffa,y\n1,2\n3,4\n",
        "a,y\r\n1,2\r\n3,4\r\n",
        "a,y\n1,2\n3,4",
        "a,y\n1,2\n3,4\n\n\n",
        ' a , "y"\n 1 , 2\n"3",4e0\n',
        ",a,y,\n0,1,2,\n1,3,4,\n",
        'a,y,note\n1,2,"two\nlines"\n3,4,\n',
    ],
    ids=["bom", "crlf", "no last newline", "blank end", "spaces", "unnamed index", "multi-line"],
)
def test_csv_dialects_of_spreadsheets(tmp_path, text):
    (only,) = read_table(write(tmp_path, text), "a", "y")
    np.testing.assert_array_equal(only.inputs[:, 0], [1, 3])
    np.testing.assert_array_equal(only.targets[:, 0], [2, 4])


CSV_FAULTS = {
    "empty file": ("", r"line 1: got nothing, expected the names of the columns"),
    "header only": ("a,y\n", r"got no rows of data, expected at least one"),
    "missing": ("alpha,y\n1,2\n", r"got 'a', not among .* from 'alpha', 'y'; correct the name"),
    "capitals": ("A,y\n1,2\n", r"got 'a', not among .*; did you mean 'A'\?"),
    "duplicate": ("a,y,a\n1,2,3\n", r"line 1: got 2 columns named 'a', expected each name once"),
    "no header": ("1,2\n3,4\n", r"got 'a', 'y', not among .*'column1', 'column2'; .*--header yes"),
    "per cent": ("a,y\n1%,2\n2%,3\n", r"line 2, column 'a': got '1%', expected a number"),
    "text": ("a,y\n1,2\nlots,4\n", r"line 3, column 'a': got 'lots', expected a number"),
    "underscore": ("a,y\n1_000,2\n", r"line 2, column 'a': got '1_000', expected a number"),
    "empty cell": ("a,y\n1,2\n3, \n", r"line 3, column 'y': got an empty cell.*fill the value in"),
    "nan": (
        "a,y\n1,2\n3,nan\n",
        r"line 3, column 'y': got 'nan', expected a value; drop .*--missing",
    ),
    "infinite": ("a,y\n-inf,2\n", r"line 2, column 'a': got -inf, expected a finite number"),
    "too big": ("a,y\n1e999,2\n", r"line 2, column 'a': got inf, expected a finite number"),
    "ragged": ("a,y\n1,2\n1,2,3\n", r"line 3: got 3 cells, expected 2 as in the first line; quote"),
    "short row": ("a,y\n1\n", r"line 2: got 1 cells, expected 2"),
    "blank line": ("a,y\n1,2\n\n3,4\n", r"line 3: got a blank line between rows.*remove the line"),
    "open quote": ('a,y\n1,2\n"3,4\n', r"got text that is not CSV \(.*balanced quotes"),
}


@pytest.mark.parametrize(("text", "message"), CSV_FAULTS.values(), ids=CSV_FAULTS)
def test_csv_faults_are_named_with_place_and_remedy(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"data\.csv.*{message}"):
        read_table(write(tmp_path, text), "a", "y")


ROW_FAULTS = {
    "unsorted": (
        "id,t,a\n1,0,1\n1,3,1\n1,2,1\n",
        r"line 4, column 't': got time 2.0 after 3.0 in sequence '1', .* sort the rows",
    ),
    "twice": (
        "id,t,a\n1,0,1\n2,0,1\n2,0,1\n1,1,1\n",
        r"line 5, column 'id': got sequence '1' again after it ended at line 2, .*sort the rows",
    ),
    "same time": (
        "id,t,a\n1,0,1\n1,1,1\n2,0,1\n2,4,1\n2,4,1\n",
        r"line 6, column 't': got time 4.0 twice in sequence '2', .* merge the two rows",
    ),
    "again later": (
        "id,t,a\n1,0,1\n2,0,1\n2,1,1\n3,0,1\n2,2,1\n",
        r"line 6, column 'id': got sequence '2' again after it ended at line 4",
    ),
    "single row": (
        "id,t,a\n1,0,1\n1,1,1\n2,0,1\n",
        r"line 4: got sequence '2' with a single row, expected at least two .* remove the row",
    ),
    "no id": ("id,t,a\n1,0,1\n ,1,1\n", r"line 3, column 'id': got an empty cell"),
}


@pytest.mark.parametrize(("text", "message"), ROW_FAULTS.values(), ids=ROW_FAULTS)
def test_faults_of_time_and_sequence_are_named(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, text), "a", "a", time="t", sequence="id")


def test_faults_of_the_file_itself(tmp_path):
    with pytest.raises(DataError, match=r"absent\.csv: got no file of this name, expected a file"):
        read_table(tmp_path / "absent.csv", "a", "y")
    with pytest.raises(DataError, match=r"suffix '.doc', expected .csv or .* or .npz; convert"):
        read_table(tmp_path / "data.doc", "a", "y")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="got a folder without tables, expected files with"):
        read_table(tmp_path / "folder.csv", "a", "y")
    latin = write(tmp_path, "a,y,é\n1,2,3\n", encoding="latin-1")
    with pytest.raises(DataError, match=r"not UTF-8 .*expected UTF-8 text; save the file as"):
        read_table(latin, "a", "y")


def test_faults_of_the_choice(tmp_path):
    path = write(tmp_path, GOOD)
    with pytest.raises(DataError, match="got no target column, expected at least one"):
        read_table(path, "a", [])
    with pytest.raises(DataError, match="got input column 'a' 2 times, expected each once"):
        read_table(path, ["a", "b", "a"], "y")
    with pytest.raises(DataError, match=r"got 'aa', 'nots', not among .* mean 'a', 'note'\?"):
        read_table(path, ["aa"], "y", time="nots")


def test_column_names_of_both_formats(tmp_path):
    assert column_names(write(tmp_path, ",a, b \n1,2,3\n")) == ("a", "b")
    path = npz(tmp_path, t=np.arange(3), x=np.zeros((3, 2)), rate=np.float64(5))
    assert column_names(path) == ("t", "x[0]", "x[1]")


def test_npz_columns_become_sequences(tmp_path):
    x = np.arange(8.0).reshape(4, 2)
    path = npz(
        tmp_path,
        x=x,
        y=np.array([4, 5, 6, 7], dtype=np.uint8),
        t=np.array([0, 1, 5, 9], dtype=np.uint8),
        worm=np.array(["a", "a", "b", "b"]),
        rate=np.float64(5),
    )
    table = read_table(path, "x", ["y", "x[1]"], time="t", sequence="worm")
    assert (table.input_names, table.target_names) == (("x[0]", "x[1]"), ("y", "x[1]"))
    first, second = table
    np.testing.assert_array_equal(first.inputs, x[:2])
    np.testing.assert_array_equal(second.targets, [[6, 5], [7, 7]])
    np.testing.assert_array_equal(second.elapsed, [4, 4])
    assert (first.name, second.name) == ("a", "b")
    (only,) = read_table(path, "x[1]", "y")
    np.testing.assert_array_equal(only.inputs, x[:, 1:])


NPZ_FAULTS = {
    "length": ({"a": np.ones(3), "y": np.ones(4)}, r"'a' of length 3, 'y' of length 4, expected"),
    "missing": ({"a": np.ones(3), "z": np.ones((3, 2))}, r"got 'y', .* 'a', 'z\[0\]', 'z\[1\]'"),
    "objects": ({"a": np.array([1, None]), "y": np.ones(2)}, r"array 'a' .* unpickling objects"),
    "complex": ({"a": np.ones(1, complex), "y": np.ones(1)}, r"of type complex128, expected real"),
    "cube": ({"a": np.ones((1, 2, 3)), "y": np.ones(1)}, r"shape \(1, 2, 3\), expected \(row,\)"),
    "scalar": ({"a": np.float64(1), "y": np.ones(1)}, r"shape \(\), expected \(row,\)"),
    "nan": (
        {"a": np.array([1, np.nan]), "y": np.ones(2)},
        r"index 1, column 'a': got an empty cell, exp",
    ),
    "rows": ({"a": np.ones(0), "y": np.ones(0)}, r"got no rows of data"),
}


@pytest.mark.parametrize(("arrays", "message"), NPZ_FAULTS.values(), ids=NPZ_FAULTS)
def test_npz_faults_are_named(tmp_path, arrays, message):
    with pytest.raises(DataError, match=rf"data\.npz.*{message}"):
        read_table(npz(tmp_path, **arrays), "a", "y")


def test_npz_names_that_do_not_fit(tmp_path):
    path = npz(tmp_path, x=np.ones((3, 2)), y=np.ones(3))
    with pytest.raises(DataError, match=r"got 'x\[2\]', not among .* did you mean 'x\[\d\]'"):
        read_table(path, "x[2]", "y")
    with pytest.raises(DataError, match=r"got 'y\[0\]', not among .* did you mean 'y'"):
        read_table(path, "x", "y[0]")
    with pytest.raises(DataError, match=r"got 'x', not among .* did you mean 'x\[0\]'"):
        read_table(path, "y", "y", time="x")
    with pytest.raises(DataError, match=r"got input column 'x\[0\]' 2 times"):
        read_table(path, ["x", "x[0]"], "y")
    with pytest.raises(DataError, match=r"index 1, column 's': got an empty cell"):
        read_table(npz(tmp_path, a=np.ones(2), s=np.array([0, np.nan])), "a", "a", sequence="s")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_damaged_npz(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"got (a damaged|an empty) file, expected an npz archive"):
        read_table(path, "a", "y")


def test_npz_with_wrong_contents(tmp_path):
    path = npz(tmp_path, a=np.ones(1000))
    content = bytearray(path.read_bytes())
    content[500] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="got a damaged array 'a'"):
        read_table(path, "a", "a")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "no array")
    with pytest.raises(DataError, match="got 'a' that is no array, expected one"):
        read_table(path, "a", "a")
    single = io.BytesIO()
    np.save(single, np.ones(3))
    path.write_bytes(single.getvalue())
    with pytest.raises(DataError, match="got a single array, expected an npz archive of named"):
        read_table(path, "a", "a")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.floats(0.01, 100), st.floats(allow_nan=False, allow_infinity=False)),
            min_size=2,
            max_size=6,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_numbers_survive_csv_and_npz_bit_by_bit(tmp_path_factory, recordings):
    folder = tmp_path_factory.mktemp("round")
    rows = [
        (f"s{which}", time, value)
        for which, steps in enumerate(recordings)
        for time, (_, value) in zip(
            np.cumsum([gap for gap, _ in steps]).tolist(), steps, strict=True
        )
    ]
    csv = write(folder, "s,t,v\n" + "\n".join(f"{s},{t!r},{v!r}" for s, t, v in rows))
    names, times, values = (np.array(column) for column in zip(*rows, strict=True))
    both = [
        read_table(path, "v", "v", time="t", sequence="s")
        for path in (csv, npz(folder, s=names, t=times, v=values))
    ]
    assert [len(one) for one in both[0]] == [len(steps) for steps in recordings]
    np.testing.assert_array_equal(np.concatenate([one.inputs[:, 0] for one in both[0]]), values)
    for from_csv, from_npz in zip(*both, strict=True):
        assert from_csv.name == from_npz.name
        np.testing.assert_array_equal(from_csv.inputs, from_npz.inputs)
        np.testing.assert_array_equal(from_csv.elapsed, from_npz.elapsed)
        assert from_csv.elapsed[0] == np.median(from_csv.elapsed[1:])


def test_reading_raises_no_warnings_on_extreme_times(tmp_path):
    path = write(tmp_path, "t,a\n-1.7e308,1\n1.7e308,2\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="got NaN or infinity in elapsed at step 0"):
            read_table(path, "a", "a", time="t")


def test_sequence_checks_its_arrays():
    ones = np.ones((3, 1))
    with pytest.raises(DataError, match=r"'s': got inputs of shape \(3,\), expected \(time, inp"):
        Sequence("s", np.ones(3), ones, np.ones(3))
    with pytest.raises(DataError, match=r"got 3 steps of inputs, 2 of targets and 3 of elapsed"):
        Sequence("s", ones, ones[:2], np.ones(3))
    with pytest.raises(DataError, match=r"got NaN or infinity in inputs at step 1, expected"):
        Sequence("s", np.array([[1], [np.nan], [1]]), ones, np.ones(3))
    with pytest.raises(DataError, match=r"got NaN or infinity in targets at step 2, expected"):
        Sequence("s", ones, np.array([[1], [np.nan], [np.inf]]), np.ones(3))
    with pytest.raises(DataError, match=r"got elapsed time -1.0 at step 2, expected at least 0"):
        Sequence("s", ones, ones, np.array([1, 1, -1]))
    with pytest.raises(DataError, match=r"slice with stride 2, expected 1"):
        Sequence("s", ones, ones, np.ones(3))[::2]
