"""Tables as they are published: separators, headers, dates, gaps, words; files, folders, frames."""

import gzip
import io
import json
import sys

import numpy as np
import pandas as pd
import pytest

from elegans.cli import main
from elegans.data import Dialect, Reading, column_names, read_table, split_sequences
from elegans.data.kinds import categories_of, kind_of
from elegans.data.metered import reading_shown
from elegans.data.opening import open_data
from elegans.errors import DataError, ElegansError

R_STYLE = (
    '"date","Temperature","Occupancy"\n'
    '"1","2015-02-04 17:51:00",23.18,1\n'
    '"2","2015-02-04 17:51:59",23.15,0\n'
    '"3","2015-02-04 17:53:00",23.15,1\n'
)
NO_HEADER = "5,1,a,2\n4,?,b,2\n3,1,a,4\n8,10,b,4\n"


def write(folder, text, name="data.csv"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def inputs(table):
    return np.concatenate([one.inputs for one in table])


# --- how text is written -----------------------------------------------------------------


def test_row_names_of_r_dates_and_a_class_of_0_and_1(tmp_path):
    table = read_table(write(tmp_path, R_STYLE), targets="Occupancy", time="date")
    (only,) = table
    assert (table.input_names, table.classes) == (("Temperature",), ("0", "1"))
    np.testing.assert_array_equal(only.inputs[:, 0], [23.18, 23.15, 23.15])
    np.testing.assert_array_equal(only.elapsed, [60, 59, 61])
    np.testing.assert_array_equal(only.targets, [[0, 1], [1, 0], [0, 1]])
    assert table.reading.time_unit == "s"
    assert any("without a name are left out" in note for note in table.reading.notes)


def test_a_file_without_names(tmp_path):
    path = write(tmp_path, NO_HEADER, "uci.data")
    assert column_names(path) == ("column1", "column2", "column3", "column4")
    with pytest.raises(DataError, match=r"line 2, column 'column2': got '\?', .*--missing fill"):
        read_table(path, targets="column4")
    table = read_table(path, targets="column4", missing="drop")
    assert table.input_names == ("column1", "column2", "column3=a", "column3=b")
    (only,) = table
    np.testing.assert_array_equal(only.inputs, [[5, 1, 1, 0], [3, 1, 1, 0], [8, 10, 0, 1]])
    np.testing.assert_array_equal(only.elapsed, [1.5, 2, 1])  # the gap is in the elapsed time


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "t\tx\ty\n0\t1.5\t2\n1\t2.5\t3\n"),
        ("a.csv", "t;x;y\n0;1,5;2\n1;2,5;3\n"),
        ("a.csv", "t;x;y\n0;1.5;2\n1;2.5;3\n"),
        ("a.txt", "t   x  y\n0   1.5 2\n1  2.5   3\n"),
        ("a.dat", "  t x y\n  0 1.5 2\n  1 2.5 3\n"),
        ("a.csv", "t|x|y\n0|1.5|2\n1|2.5|3\n"),
        ("a.csv", 't,x,y,"a;b"\n0,1.5,2,x;y\n1,2.5,3,\n'),
        ("a.csv", "0,1,2\n0,1.5,2\n1,2.5,3\n"),
        ("a.csv", ",0,1,2\n0,0,1.5,2\n1,1,2.5,3\n"),
    ],
    ids=[
        "tabs", "semicolons", "semicolons and points", "spaces", "indented", "bars",
        "words with marks", "names that count", "names of pandas",
    ],
)  # fmt: skip
def test_marks_are_found_out(tmp_path, name, text):
    counted = "0,1,2" in text
    t, x, y = ("0", "1", "2") if counted else ("t", "x", "y")
    (only,) = read_table(write(tmp_path, text, name), x, y, time=t)
    np.testing.assert_array_equal(only.inputs[:, 0], [1.5, 2.5])
    np.testing.assert_array_equal(only.targets[:, 0], [2, 3])


def test_what_is_said_goes_before_what_is_found_out(tmp_path):
    path = write(tmp_path, "2019,2020\n1,2\n3,4\n")
    assert column_names(path) == ("column1", "column2")
    (only,) = read_table(path, "2019", "2020", dialect=Dialect(header=True))
    np.testing.assert_array_equal(only.inputs[:, 0], [1, 3])
    latin = tmp_path / "latin.csv"
    latin.write_bytes("größe,y\n1,2\n3,4\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not UTF-8 .*--encoding latin-1"):
        column_names(latin)
    assert column_names_of(latin, Dialect(encoding="latin-1")) == ("größe", "y")
    odd = write(tmp_path, "a:y\n1:2\n3:4\n", "odd.csv")
    (only,) = read_table(odd, "a", "y", dialect=Dialect(separator=":"))
    np.testing.assert_array_equal(only.targets[:, 0], [2, 4])
    thousands = write(tmp_path, "a;y\n1.500;2\n2.500;3\n", "thousands.csv")
    (only,) = read_table(thousands, "a", "y")
    np.testing.assert_array_equal(only.inputs[:, 0], [1.5, 2.5])


def column_names_of(path, dialect):
    return open_data(path, dialect).names


def test_compressed_files(tmp_path):
    packed = tmp_path / "walk.csv.gz"
    packed.write_bytes(gzip.compress(b"a,y\n1,2\n3,4\n"))
    (only,) = read_table(packed, "a", "y")
    assert only.name == "walk"
    packed.write_bytes(gzip.compress(b"a,y\n1,2\n" * 1000)[:-20])
    with pytest.raises(DataError, match="got a damaged compressed file"):
        read_table(packed, "a", "y")


def test_lines_are_named_behind_cells_of_several_lines(tmp_path):
    path = write(tmp_path, 'a,note,y\n1,"two\nlines",2\n1,,3\nlots,,4\n')
    with pytest.raises(DataError, match="line 5, column 'a': got 'lots'"):
        read_table(path, "a", "y")


# --- other formats -----------------------------------------------------------------------


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "when": pd.date_range("2024-03-31", periods=4, freq="h"),
            "x": [1.0, 2.0, np.nan, 4.0],
            "on": [True, False, True, True],
            "y": [5, 6, 7, 8],
            "who": ["a", "a", "b", "b"],
        }
    )


@pytest.mark.parametrize("kind", ["frame", "parquet", "xlsx", "nullable", "zoned"])
def test_one_table_in_every_format(frame, tmp_path, kind):
    data = frame
    if kind == "parquet":
        frame.to_parquet(tmp_path / "t.parquet")
        data = tmp_path / "t.parquet"
    elif kind == "xlsx":
        frame.to_excel(tmp_path / "t.xlsx", index=False)
        data = tmp_path / "t.xlsx"
    elif kind == "nullable":
        data = frame.convert_dtypes()
    elif kind == "zoned":
        data = frame.assign(when=frame["when"].dt.tz_localize("Europe/Berlin", nonexistent="NaT"))
        with pytest.raises(DataError, match=r"column 'when': got an empty cell.*give its time"):
            read_table(data, ["x", "on"], "y", time="when", sequence="who", missing="fill")
        data = frame.assign(when=frame["when"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    table = read_table(data, ["x", "on"], "y", time="when", sequence="who", missing="fill")
    first, second = table
    assert table.input_names == ("x", "x seen", "x age", "on")
    np.testing.assert_allclose(first.inputs, [[1, 1, 0, 1], [2, 1, 0, 0]])
    np.testing.assert_allclose(second.inputs, [[7 / 3, 0, 0, 1], [4, 1, 0, 1]])
    np.testing.assert_array_equal(first.elapsed, [3600, 3600])
    np.testing.assert_array_equal(second.targets, [[7], [8]])


def test_faults_of_frames_and_damaged_files(frame, tmp_path):
    with pytest.raises(DataError, match=r"row 2 \(index 2\), column 'x': got an empty cell"):
        read_table(frame, "x", "y")
    with pytest.raises(DataError, match="got 2 columns named 'x', expected each name once"):
        read_table(frame.set_axis(["x", "x", "on", "y", "who"], axis=1), "x", "y")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(DataError, match=r"t\.parquet: got a file that cannot be read"):
        read_table(tmp_path / "t.parquet", "x", "y")
    for wrong in (7, []):
        with pytest.raises(DataError, match="expected a path, several, or a DataFrame"):
            read_table(wrong, "x", "y")


def test_a_folder_of_files_and_several_files(tmp_path):
    for name, letter in (("b", "X"), ("a", "Y"), ("c", "X")):
        rows = "".join(f"{1.7e12 + 40 * k:.0f},{k},{letter}\n" for k in range(3))
        write(tmp_path / "all", "stamp,ax,activity\n" + rows, f"{name}.csv")
    (tmp_path / "all" / "README").write_text("no table")
    table = read_table(tmp_path / "all", targets="activity", time="stamp")
    assert [one.name for one in table] == ["a", "b", "c"]
    assert table.classes == ("X", "Y")
    assert table.reading.time_unit == "s"
    np.testing.assert_allclose(table.sequences[0].elapsed, [0.04, 0.04, 0.04])
    pair = read_table([tmp_path / "all" / "b.csv", tmp_path / "all" / "a.csv"], "ax", "ax")
    assert [one.name for one in pair] == ["b", "a"]
    write(tmp_path / "all", "stamp,ax\n1,lots\n", "d.csv")
    with pytest.raises(DataError, match=r"d\.csv: got the columns 'stamp', 'ax', expected those"):
        read_table(tmp_path / "all", targets="activity")
    write(tmp_path / "all", "stamp,ax,activity\n1,3,X\n2,lots,X\n", "d.csv")
    with pytest.raises(DataError, match=r"d\.csv, line 3, column 'ax': got 'lots'"):
        read_table(tmp_path / "all", targets="activity")


# --- times -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "options", "elapsed"),
    [
        (["2024-01-01", "2024-01-02", "2024-01-04"], {}, 86400),
        (["2024-01-01T00:00:00Z", "2024-01-01T01:00:01+01:00", "2024-01-01T00:00:03Z"], {}, 1),
        (["31/01/2024", "01/02/2024", "03/02/2024"], {"date_format": "%d/%m/%Y"}, 86400),
        ([1.7e9, 1.7e9 + 1, 1.7e9 + 3], {}, 1),
        ([1_700_000_000_000, 1_700_000_001_000, 1_700_000_003_000], {}, 1),
        ([0, 5, 15], {"time_unit": "ms"}, 5),
    ],
    ids=["days", "offsets", "format", "epoch", "epoch in ms", "a unit"],
)
def test_times(tmp_path, times, options, elapsed):
    rows = "".join(f"{time},{k},{k}\n" for k, time in enumerate(times))
    table = read_table(write(tmp_path, "t,a,y\n" + rows), "a", "y", time="t", **options)
    np.testing.assert_allclose(table.sequences[0].elapsed[1:], [elapsed, 2 * elapsed])
    assert table.reading.time_unit == options.get("time_unit", "s")
    assert Reading.from_plain(json.loads(json.dumps(table.reading.to_plain()))) == table.reading


def test_times_that_cannot_be(tmp_path):
    mixed = write(tmp_path, "t,a,y\n2024-01-01 00:00Z,1,2\n2024-01-01 00:01,2,3\n")
    with pytest.raises(
        DataError, match=r"line 3, column 't': .*an offset from UTC as in other rows"
    ):
        read_table(mixed, "a", "y", time="t")
    with pytest.raises(DataError, match="got the unit of time 'weeks', expected one of s, ms"):
        read_table(write(tmp_path, "t,a\n1,2\n2,3\n"), "a", "a", time="t", time_unit="weeks")
    wrong = write(tmp_path, "t,a\n2024-01-01,2\n2024-02-30,3\n")
    with pytest.raises(DataError, match="line 3, column 't': got '2024-02-30', expected a date"):
        read_table(wrong, "a", "a", time="t")
    with pytest.raises(DataError, match="input column 't' with dates; make it the --time"):
        read_table(wrong, "t", "a")


def test_sorting(tmp_path):
    path = write(tmp_path, "s,t,a\n1,2,12\n2,1,21\n1,1,11\n2,0,20\n")
    with pytest.raises(DataError, match=r"line 4, column 's': got sequence '1' again .*--sort"):
        read_table(path, "a", "a", time="t", sequence="s")
    table = read_table(path, "a", "a", time="t", sequence="s", sort=True)
    assert [one.inputs[:, 0].tolist() for one in table] == [[11, 12], [20, 21]]
    twice = write(tmp_path, "t,a\n2,1\n1,1\n2,3\n")
    with pytest.raises(DataError, match=r"line 4, column 't': got time 2.0 twice .* merge"):
        read_table(twice, "a", "a", time="t", sort=True)


# --- columns -----------------------------------------------------------------------------


def test_kinds_of_columns():
    cases = {
        "number": [[1, 2], [1.5, None], ["1", "lots"], ["1%", "2%"], [None, 3]],
        "boolean": [[True, False], ["yes", "No"], ["TRUE", None, "false"]],
        "category": [["a", "b"], ["a", None], ["1", "b", "c"]],
        "date": [["2024-01-01", None], ["2024-01-01 10:00:00.5+01:00"], pd.to_datetime(["2024"])],
        "text": [[f"word {k}" for k in range(51)]],
        "empty": [[None, None], [np.nan]],
    }
    for kind, columns in cases.items():
        for cells in columns:
            assert kind_of(pd.Series(cells)) == kind, cells
    assert categories_of(pd.Series(["10", "9", "b", "a", None])) == ("9", "10", "a", "b")


def test_names_and_patterns(tmp_path):
    path = write(tmp_path, "t,ax,ay,b,note,y\n0,1,2,3,2024-01-01,5\n1,2,3,4,2024-01-02,6\n")

    def names(*asked, **options):
        return read_table(path, asked, "y", time="t", **options).input_names

    assert names("all") == ("ax", "ay", "b")  # not the time, the target, or dates
    assert names("a*") == ("ax", "ay")
    assert names("b", "a?") == ("b", "ax", "ay")
    assert names("all", exclude="a*") == ("b",)
    assert names("all", "y") == ("ax", "ay", "b", "y")
    with pytest.raises(DataError, match="got input column 'ax' 2 times"):
        names("ax", "a*")
    with pytest.raises(DataError, match=r"got 'z\*', not among the columns"):
        names("z*")
    with pytest.raises(DataError, match="got no input column of numbers or categories"):
        names("n*")
    with pytest.raises(DataError, match="got the target column 'note' of kind date"):
        read_table(path, "b", "note")


def test_gaps_are_filled_forward_with_mask_and_age(tmp_path):
    path = write(tmp_path, "t,a,c,y\n0,,u,1\n2,4,v,2\n3,,,\n7,6,u,4\n")
    table = read_table(path, ["a", "c"], "y", time="t", missing="fill")
    expected = [  # a, seen, age, c=u, c=v, seen, age
        [5, 0, 0, 1, 0, 1, 0],
        [4, 1, 0, 0, 1, 1, 0],
        [4, 0, 1, 0, 1, 0, 1],
        [6, 1, 0, 1, 0, 1, 0],
    ]
    np.testing.assert_array_equal(inputs(table), expected)
    np.testing.assert_array_equal(table.sequences[0].targets[:, 0], [1, 2, np.nan, 4])
    assert sum("missing cells: the last value" in note for note in table.reading.notes) == 2
    whole = write(tmp_path, "t,a,c,y\n0,1,u,1\n2,4,v,2\n", "whole.csv")
    again = table.reading.read(open_data(whole))
    assert again.input_names == table.input_names
    learnt = read_table(whole, ["a", "c"], "y", time="t", missing="fill").reading
    with pytest.raises(
        DataError, match=r"line 2, column 'a': got an empty cell.*no cell was missi"
    ):
        learnt.read(open_data(path))
    empty = write(tmp_path, "a,b,y\n,3,1\n2,,2\n", "empty.csv")
    with pytest.raises(DataError, match="got no rows without missing cells"):
        read_table(empty, ["a", "b"], "y", missing="drop")


def test_other_files_are_read_as_the_first(tmp_path):
    first = read_table(write(tmp_path, "a,c,y\n1,u,p\n2,v,q\n3,u,p\n4,v,q\n"), ["a", "c"], "y")
    reading = Reading.from_plain(json.loads(json.dumps(first.reading.to_plain())))
    assert reading == first.reading

    def read(text):
        return reading.read(open_data(write(tmp_path, text, "other.csv")))

    np.testing.assert_array_equal(inputs(read("y,c,a\nq,v,2\n")), [[2, 0, 1]])
    for text, message in {
        "a,c,y\n1,w,p\n": "line 2, column 'c': got 'w', expected one of 'u', 'v', which were there",
        "a,c,y\n1,u,r\n": "line 2, column 'y': got 'r', expected one of 'p', 'q'",
        "a,c,y\nx,u,p\n": "line 2, column 'a': got 'x', expected a number",
        "a,y\n1,p\n": "got 'c', not among the columns",
    }.items():
        with pytest.raises(DataError, match=message):
            read(text)


# --- what is asked for -------------------------------------------------------------------


def test_horizons(tmp_path):
    path = write(tmp_path, "s,a\n" + "".join(f"{k // 4},{k}\n" for k in range(8)))
    table = read_table(path, "a", "a", sequence="s", horizon=3)
    assert table.target_names == ("a (+3)",)
    assert read_table(path, targets="a", sequence="s", horizon=3).input_names == ("a",)
    np.testing.assert_array_equal(table.sequences[1].inputs[:, 0], [4, 5, 6, 7])
    np.testing.assert_array_equal(table.sequences[1].targets[:, 0], [7, np.nan, np.nan, np.nan])
    with pytest.raises(DataError, match="got no step at which the targets are known"):
        read_table(path, "a", "a", sequence="s", horizon=4).require_learnable()


def test_tasks(tmp_path):
    path = write(tmp_path, "a,n,b,w\n1,0,yes,p\n2,1,no,q\n3,1,no,q\n4,0,yes,p\n")

    def classes(target, **options):
        return read_table(path, "a", target, **options).classes

    assert classes("n") == ("0", "1")
    assert classes("n", task="regression") == ()
    assert classes("b") == ("no", "yes")
    assert classes("w") == ("p", "q")
    assert classes("a") == ()
    assert classes("a", task="classification") == ("1", "2", "3", "4")
    with pytest.raises(DataError, match=r"got words in the target column 'w'.*--task classific"):
        classes("w", task="regression")
    with pytest.raises(DataError, match="got 2 target columns with classes, expected one"):
        classes(["n", "w"])
    many = write(tmp_path, "a\n" + "".join(f"{k}\n" for k in range(51)), "many.csv")
    with pytest.raises(DataError, match="got 51 classes, expected at most 50; pass --task regr"):
        read_table(many, "a", "a", task="classification")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n1,3\n2,3\n", "got the target 'y' that is 3.0 in all rows"),
        ("a,y\n1,p\n2,p\n", "got the class 'p' in all rows"),
        ("a,y\n1,p\n2,p\n3,q\n", "got class 'q' in 1 rows, expected at least two"),
        ("a,y\n1,3\n", "got the target 'y' that is 3.0 in all rows"),
    ],
)
def test_what_cannot_be_learnt(tmp_path, text, message):
    table = read_table(write(tmp_path, text), "a", "y")
    with pytest.raises(DataError, match=message):
        table.require_learnable()


def test_classes_of_sequences_are_split_in_proportion(tmp_path):
    rows = "".join(f"{k},{t},{'pqr'[k % 3]}\n" for k in range(12) for t in range(2))
    table = read_table(write(tmp_path, "s,a,y\n" + rows), "a", "y", sequence="s")
    for seed in range(5):
        split = split_sequences(table, seed, (6, 3, 3), classes=True)
        for part, each in zip(split, (2, 1, 1), strict=True):
            counts = np.sum([one.targets[0] for one in part], axis=0)
            np.testing.assert_array_equal(counts, [each] * 3)
    assert len(split_sequences(table, 0, (6, 3, 3)).train) == 6


# --- what a hostile reader found ---------------------------------------------------------


def test_lines_that_end_with_a_separator(tmp_path):
    path = write(tmp_path, "a,b,c\n1,2,9,\n3,4,8,\n5,7,7,\n")
    table = read_table(path, targets="b")
    np.testing.assert_array_equal(inputs(table), [[1, 9], [3, 8], [5, 7]])
    np.testing.assert_array_equal(table.sequences[0].targets[:, 0], [2, 4, 7])
    with pytest.raises(DataError, match="line 2: got 4 cells, expected 3"):
        read_table(write(tmp_path, "a,b,c\n1,2,9,5\n1,4,8,6\n"), targets="b")


@pytest.mark.parametrize(
    ("text", "x", "y"),
    [
        ("t\tx\n0\t2,5\n1\t3,5\n2\t4,75\n", "x", "t"),
        ("t x\n0 2,5\n1 3,5\n2 4,75\n", "x", "t"),
        ("2,5\t0\n3,5\t1\n4,75\t2\n", "column1", "column2"),
        ("x,t,note\n2.5,0,a;b\n3.5,1,c;d\n4.75,2,e;f\n", "x", "t"),
    ],
)
def test_commas_in_numbers_and_marks_in_words(tmp_path, text, x, y):
    (only,) = read_table(write(tmp_path, text, "a.txt"), x, y)
    np.testing.assert_array_equal(only.inputs[:, 0], [2.5, 3.5, 4.75])


def test_files_of_one_name_stay_apart(tmp_path):
    paths = [write(tmp_path / k, "a,y\n1,2\n3,4\n", "data.csv") for k in ("e1", "e2")]
    table = read_table(paths, "a", "y")
    assert [one.name for one in table] == [str(path) for path in paths]
    rows = "s,a\n" + "".join(f"{s},{k}\n" for s in "pq" for k in range(2))
    paths = [write(tmp_path, rows, f"{k}.csv") for k in "ab"]
    table = read_table(paths, "a", "a", sequence="s")
    assert [one.name for one in table] == ["a/p", "a/q", "b/p", "b/q"]


def test_words_are_those_of_the_file(tmp_path):
    write(tmp_path / "f", "a,y\n1,TRUE\n2,FALSE\n3,NOTSURE\n", "a.csv")
    write(tmp_path / "f", "a,y\n1,TRUE\n2,FALSE\n", "b.csv")
    table = read_table(tmp_path / "f", "a", "y")
    assert table.classes == ("FALSE", "NOTSURE", "TRUE")
    again = table.reading.read(open_data(tmp_path / "f" / "b.csv"))
    np.testing.assert_array_equal(again.sequences[0].targets, [[0, 0, 1], [1, 0, 0]])
    path = write(tmp_path, "a,y\n1,01\n2,02\n3,A3\n")
    with pytest.raises(DataError, match=r"line 4, column 'y': got 'A3', .*--task classification"):
        read_table(path, "a", "y")  # most of them are numbers
    codes = read_table(path, "a", "y", task="classification")
    assert codes.classes == ("01", "02", "A3")
    other = write(tmp_path, "a,y\n1,01\n2,02\n", "other.csv")
    np.testing.assert_array_equal(
        codes.reading.read(open_data(other)).sequences[0].targets, [[1, 0, 0], [0, 1, 0]]
    )
    gap = write(tmp_path, "a,y\n1,0\n2,\n3,1\n", "gap.csv")
    for data in (gap, pd.read_csv(gap), pd.read_csv(gap, dtype={"y": "Int64"})):
        found = read_table(data, "a", "y", missing="fill")
        assert found.classes == ("0", "1")
        np.testing.assert_array_equal(found.sequences[0].targets[:, 1], [0, np.nan, 1])


def test_faults_are_named_where_they_are_also_when_rows_are_sorted(tmp_path):
    path = write(tmp_path, "t,x,c,y\n3,3,p,1\n1,bad,p,2\n2,5,p,3\n4,6,q,3\n")
    with pytest.raises(DataError, match="line 3, column 'x': got 'bad'"):
        read_table(path, "x", "y", time="t", sort=True)
    reading = read_table(path, "c", "y", time="t", sort=True).reading
    other = write(tmp_path, "t,x,c,y\n3,3,p,1\n1,4,r,2\n", "other.csv")
    with pytest.raises(DataError, match="line 3, column 'c': got 'r'"):
        reading.read(open_data(other))


def test_every_row_is_found_again(tmp_path):
    path = write(tmp_path, "s,t,x\nb,2,1\na,5,2\nb,1,\na,4,3\nb,3,4\n")
    table = read_table(path, "x", "t", time="t", sequence="s", sort=True, missing="drop")
    assert table.row_names == ("b", "a", "b", "a", "b")
    assert [places.tolist() for places in table.places] == [[0, 4], [3, 1]]
    for one, places in zip(table, table.places, strict=True):
        expected = pd.read_csv(path)["x"].to_numpy()[places]
        np.testing.assert_array_equal(one.inputs[:, 0], expected)


def test_sheets_are_read_like_text(tmp_path):
    frame = pd.DataFrame(
        {"x": [1, "?", 3, 4], "k": ["None", "n/a", "ok", "ok"], "y": [1.0, 2, 3, 5]}
    )
    frame.to_excel(tmp_path / "x.xlsx")
    table = read_table(tmp_path / "x.xlsx", targets="y", missing="fill")
    assert table.input_names == ("x", "x seen", "x age", "k=None", "k=n/a", "k=ok")
    with pytest.raises(DataError, match="row 3, column 'x': got an empty cell"):
        read_table(tmp_path / "x.xlsx", targets="y")
    frame.set_axis(["a", "a", "y"], axis=1).to_excel(tmp_path / "x.xlsx", index=False)
    with pytest.raises(DataError, match="got 2 columns named 'a'"):
        read_table(tmp_path / "x.xlsx", targets="y")
    pd.DataFrame().to_excel(tmp_path / "x.xlsx", index=False)
    with pytest.raises(DataError, match="got an empty sheet"):
        column_names(tmp_path / "x.xlsx")


def test_what_is_excluded_is_there(tmp_path):
    path = write(tmp_path, "a,ab,y\n1,2,3\n2,3,4\n")
    with pytest.raises(DataError, match="got 'zz', not among the columns"):
        read_table(path, targets="y", exclude=["ab", "zz"])
    np.savez(tmp_path / "n.npz", x=np.eye(3), x0=np.arange(3), y=np.arange(3))
    assert read_table(tmp_path / "n.npz", targets="y", exclude="x").input_names == ("x0",)
    odd = write(tmp_path, "x[0],x0,z,y\n1,2,3,4\n2,3,4,5\n", "odd.csv")
    assert read_table(odd, targets="x[0]").input_names == ("x0", "z", "y")


def test_a_kept_reading_refuses_other_kinds_and_units(tmp_path):
    def kept(text, other, **options):
        reading = read_table(write(tmp_path, text), "a", "y", **options).reading
        return reading.read(open_data(write(tmp_path, other, "other.csv")))

    with pytest.raises(DataError, match=r"line 2, column 'a': got '?7'?, expected true or false"):
        kept("a,y\ntrue,1\nfalse,2\n", "a,y\n7,1\n-3,2\n")
    with pytest.raises(DataError, match=r"line 2, column 'a': got '?true'?, expected a number"):
        kept("a,y\n1,1\n2,2\n", "a,y\ntrue,1\nfalse,2\n")
    seconds, milliseconds = (
        "t,a,y\n" + "".join(f"{f * (1700000000 + k)},{k},{k}\n" for k in range(3))
        for f in (1, 1000)
    )
    with pytest.raises(DataError, match=r"column 't': .* expected times in s since 1970"):
        kept(seconds, milliseconds, time="t")


def test_more_that_is_refused(tmp_path):
    good = write(tmp_path, "a,y\n1,2\n3,4\n")
    quoted = write(tmp_path, 'a,"y\n', "q.csv")
    broken, cut = tmp_path / "b.csv.bz2", tmp_path / "c.csv.gz"
    broken.write_bytes(b"BZh91AY&SY broken")
    cut.write_bytes(gzip.compress(b"a,y\n1,2\n" * 99)[:30] + b"\xff" * 20)
    lists = pd.DataFrame({"a": [[1], [2]], "y": [1, 2]})
    for data, options, message in (
        (good, {"dialect": Dialect(encoding="foo")}, "the encoding 'foo'"),
        (good, {"dialect": Dialect(separator=";;")}, "separator ';;'"),
        (quoted, {}, "unbalanced quotes"),
        (broken, {}, "damaged compressed file"),
        (cut, {}, "damaged compressed file"),
        (lists, {"inputs": "a"}, "text of more than"),
        ([lists], {}, "got list as data"),
        (np.ones((3, 2)), {}, "got ndarray as data"),
        (good, {"targets": 1}, "got '1', not among"),
        (good, {"targets": None}, "got no target column"),
        (good, {"missing": "foo"}, "unknown missing 'foo'"),
        (good, {"horizon": -3}, "got horizon = -3"),
        (good, {"inputs": "y", "time": "a", "date_format": "%Q"}, "date format '%Q'"),
    ):
        with pytest.raises(ElegansError, match=message):
            read_table(data, **({"targets": "y"} | options))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("name", ["walk.csv", "walk.csv.gz"])
def test_a_bar_shows_how_far_reading_is_where_it_lasts(tmp_path, monkeypatch, name):
    pd.DataFrame({"x": range(20_000), "y": 1.5}).to_csv(path := tmp_path / name, index=False)
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("LINES", "30")

    def shown(file, patience, read):
        monkeypatch.setattr("elegans.data.metered.PATIENCE", patience)
        monkeypatch.setattr(sys, "stderr", file)
        read()
        return file.getvalue()

    def inside():
        with reading_shown():
            assert len(read_table(path, targets="y").places[0]) == 20_000

    assert f"reading {name}" in shown(Terminal(), 0.0, inside)
    assert f"reading {name}" in shown(Terminal(), 0.0, lambda: main(["inspect", str(path)]))
    assert shown(Terminal(), 60.0, inside) == ""  # it is soon done
    assert shown(io.StringIO(), 0.0, inside) == ""  # no terminal
    assert shown(Terminal(), 0.0, lambda: read_table(path, targets="y")) == ""  # a program reads
