"""Small files that ask for much memory or time are refused, and what is no file is not waited for.

Each is read in a process of its own that may take so much memory and time and no more.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import resource
import socket
import struct
import zipfile
from multiprocessing import Pipe

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from damaged_files import MODEL, READERS, attempt, whole
from fresh_process import processes
from numpy.lib import format as npy

from elegans import capacity
from elegans.cli import main
from elegans.data import column_names, read_table
from elegans.errors import DataError, ElegansError
from elegans.wiring import Synapses, Wiring

AVAILABLE = 1 << 27
ROOM = 1 << 29
SECONDS = 150  # against hanging: a busy machine may take a while


def _answer(requests):
    """Read file after file as if there were little memory; say what came of it and what it took."""
    capacity.available_bytes = lambda: AVAILABLE
    while True:
        name, content, folder = requests.recv()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            error = attempt(name, content, folder)
            said = "nothing was refused" if error is None else f"{type(error).__name__}: {error}"
        except BaseException as error:
            said = f"FOREIGN {type(error).__name__}: {error}"
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        requests.send((said, 1024 * (after - before)))


class Reading:
    """A process that reads files, begun anew after one on which it hung or died."""

    def __init__(self):
        self.process = None

    def __call__(self, name, content, folder):
        if self.process is None:
            self.requests, other = Pipe()
            self.process = processes().Process(target=_answer, args=(other,))
            self.process.start()
            other.close()
            self.requests.send((name, whole(name)[READERS[name].file], folder))
            assert self.requests.poll(300)
            self.requests.recv()
        self.requests.send((name, content, folder))
        try:
            if self.requests.poll(SECONDS):
                return self.requests.recv()
            said = "it took too long"
        except EOFError:
            said = "the process died"
        self.end()
        return said, 0

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.join()
        self.process = None


@pytest.fixture(scope="module")
def read_in_bounds():
    reading = Reading()
    yield reading
    reading.end()


def zipped(method=zipfile.ZIP_DEFLATED, **members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return packed.getvalue()


def npy_header(shape, descr="<f8"):
    begin = io.BytesIO()
    npy.write_array_header_1_0(begin, {"descr": descr, "fortran_order": False, "shape": shape})
    return begin.getvalue()


def config(kind, **settings):
    plain = json.loads(whole(f"{kind}/config.json")[f"{kind}/config.json"])
    plain["model"] |= settings
    return json.dumps(plain).encode()


def wiring(**fields):
    plain = json.loads(whole("ltc/wiring.json")["ltc/wiring.json"])
    return json.dumps(plain | fields).encode()


def safetensors(header, length=None):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def repeated(begin, line, count):
    return begin + line * count


def sheet(rows):
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    book = io.BytesIO(whole("a.xlsx")["a.xlsx"])
    with zipfile.ZipFile(book) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    text = f'<worksheet xmlns="{space}"><sheetData>{rows}</sheetData></worksheet>'
    members["xl/worksheets/sheet1.xml"] = text.encode()
    return zipped(**{name.replace("/", "__"): inner for name, inner in members.items()})


def parquet(rows):
    """Return a table of equal numbers, which need no place in the file."""
    file = io.BytesIO()
    schema = pa.schema([("x", pa.float64()), ("y", pa.float64())])
    with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        block = pa.table({"x": np.zeros(10**6), "y": np.zeros(10**6)})
        for _ in range(rows // 10**6):
            writer.write_table(block)
    return file.getvalue()


LAUGHS = "<!DOCTYPE a [<!ENTITY b 'c'>]><graphml/>"
ZEROS = b"\0" * (1 << 24)

BOMBS = {
    "columns without rows": lambda: ("a.npz", zipped(**{"x.npy": npy_header((0, 10**9))})),
    "rows of no bytes": lambda: ("a.npz", zipped(**{"y.npy": npy_header((10**12,), "<U0")})),
    "rows that are not there": lambda: ("a.npz", zipped(**{"y.npy": npy_header((10**12,))})),
    "more axes": lambda: ("a.npz", zipped(**{"y.npy": npy_header((2**40, 2**40))})),
    "a long header": lambda: (
        "a.npz",
        zipped(**{"y.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * (1 << 28)}),
    ),
    "another compression": lambda: (
        "a.npz",
        zipped(zipfile.ZIP_LZMA, **{"y.npy": npy_header((0,))}),
    ),
    "an array of a flight": lambda: (
        "trajectories",
        zipped(**{"about.npy": npy_header((10**12,))}),
    ),
    "a line without end": lambda: ("a.csv.gz", gzip.compress(b"7" * (1 << 28))),
    "many columns": lambda: ("a.csv", b"a," * 10**6 + b"y\n"),
    "many alike": lambda: ("a.csv", repeated(b"y", b",a", 19_000) + b"\n"),
    "gz": lambda: ("a.csv.gz", gzip.compress(repeated(b"x,y\n", b"1,2\n", 1 << 24), 1)),
    "bz2": lambda: ("a.csv.bz2", bz2.compress(repeated(b"x,y\n", b"1,2\n", 1 << 24), 1)),
    "xz": lambda: ("a.csv.xz", lzma.compress(repeated(b"x,y\n", b"1,2\n", 1 << 24), preset=0)),
    "wide rows of a sheet": lambda: (
        "a.xlsx",
        sheet("".join(f'<row r="{k}"><c r="XFD{k}"><v>1</v></c></row>' for k in range(1, 3000))),
    ),
    "a row far below": lambda: ("a.xlsx", sheet('<row r="1000000000"><c r="A1"/></row>')),
    "a large member": lambda: ("a.xlsx", zipped(a=b" " * (1 << 29))),
    "rows of parquet": lambda: ("a.parquet", parquet(2 * 10**7)),
    "neurons": lambda: ("ltc/wiring.json", wiring(layers=[{"name": "motor", "size": 10**9}])),
    "inputs": lambda: ("cfc/config.json", config("cfc", input_size=10**9)),
    "units": lambda: ("cfc/config.json", config("cfc", units=10**6)),
    "a wide backbone": lambda: ("cfc/config.json", config("cfc", backbone_units=30_000)),
    "a deep backbone": lambda: ("cfc/config.json", config("cfc", backbone_layers=2**31)),
    "unfolds": lambda: ("ltc/config.json", config("ltc", ode_unfolds=2**40)),
    "outputs": lambda: ("ctrnn/config.json", config("ctrnn", readout=10**9)),
    "a long header of tensors": lambda: ("ltc/model.safetensors", safetensors({}, 2**60)),
    "tensors beyond the file": lambda: (
        "ltc/model.safetensors",
        safetensors({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    ),
    "tensors of nothing": lambda: (
        "ltc/model.safetensors",
        safetensors({"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
    ),
    "deep JSON": lambda: ("ltc/config.json", b"[" * 10**6),
    "wide JSON": lambda: ("run/config.json", b"[" + b"[]," * 10**7 + b"[]]"),
    "digits": lambda: ("ltc/config.json", b'{"version": ' + b"9" * 10**6 + b"}"),
    "fields twice": lambda: ("ltc/config.json", b'{"version": 1, "version": 1, "model": {}}'),
    "wide JSON of a wiring": lambda: ("wiring.json", b"[" + b"[]," * 10**7 + b"[]]"),
    "deep XML": lambda: ("wiring.graphml", b"<a>" * 3 * 10**6),
    "wide XML": lambda: ("wiring.graphml", b"<a>" + b"<b/>" * 3 * 10**6 + b"</a>"),
    "entities": lambda: ("wiring.graphml", LAUGHS.encode()),
    "empty lines": lambda: ("wiring.csv", b"# elegans.wiring,1\n" + b"\n" * 10**7),
    "numbers of a certificate": lambda: ("certificate", b'{"a": [' + b"[]," * 10**7 + b"[]]}"),
    "an image": lambda: ("idx", struct.pack(">BBBB3I", 0, 0, 0x0E, 3, *[2**32 - 1] * 3)),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused(bomb, tmp_path, read_in_bounds):
    name, content = BOMBS[bomb]()
    assert len(content) < 1 << 26
    said, taken = read_in_bounds(name, content, tmp_path)
    assert re.match(r"[A-Z]\w+Error: ", said), said[:500]
    assert taken < ROOM


def test_a_name_that_is_not_there_loads_no_array(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(10**6), y=np.zeros(10**6), z=np.zeros((10**6, 4)))
    monkeypatch.setattr(capacity, "available_bytes", lambda: 1 << 20)
    assert column_names(path) == ("x", "y", *(f"z[{k}]" for k in range(4)))
    with pytest.raises(DataError, match="got 'xx', not among the columns"):
        read_table(path, "xx", "y")
    with pytest.raises(DataError, match=r"columns 'x', 'y' needs .*name fewer columns"):
        read_table(path, "x", "y")
    monkeypatch.setattr(capacity, "available_bytes", lambda: 1 << 26)
    assert len(read_table(path, "x", "y").sequences[0]) == 10**6


def test_members_that_lie_about_their_size(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(100.0))
    content = path.read_bytes()
    more = content.replace(struct.pack("<II", 928, 928), struct.pack("<II", 928, 10**9))
    assert more != content
    path.write_bytes(more)
    with pytest.raises(DataError, match="expected them to agree"):
        read_table(path, "x", "x")
    (tmp_path / "b.npz").write_bytes(zipped(**{"x.npy": npy_header((100,)) + bytes(799)}))
    with pytest.raises(DataError, match=r"takes 800 bytes by its shape .* and 799 by"):
        read_table(tmp_path / "b.npz", "x", "x")


def test_a_wiring_of_a_billion_neurons_is_a_value_whose_names_are_not_spelt_out(tmp_path):
    none = Synapses.empty()
    path = tmp_path / "large.json"
    Wiring(1, {"motor": 10**9}, none, none).save(path)
    assert Wiring.load(path).units == 10**9
    assert main(["draw", str(path)]) == 2


# --- what is no file ---------------------------------------------------------------------


def link(path):
    path.symlink_to(path.with_name("nothing"))


def serve(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


OTHERS = {
    "a folder": os.mkdir,
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": serve,
    "a broken link": link,
}


DOORS = (
    "a.csv", "a.csv.gz", "a.npz", "a.xlsx", "wiring.json", *(f"ltc/{file}" for file in MODEL),
    "run/metrics.jsonl", "run/standardiser.json", "certificate", "trajectories", "idx",
)  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", DOORS)
def test_what_is_no_file_is_refused(name, kind, tmp_path, monkeypatch):
    file = READERS[name].file
    for path, content in whole(name).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if path != file:
            (tmp_path / path).write_bytes(content)
    monkeypatch.chdir((tmp_path / file).parent)  # names of sockets are short
    OTHERS[kind]((tmp_path / file).relative_to((tmp_path / file).parent))
    try:
        READERS[name].read(tmp_path / file)
    except ElegansError:
        return
    assert file.endswith(".jsonl")
    assert kind == "a broken link"


@pytest.mark.parametrize("name", ["\0.csv", "a" * 300 + ".csv", "a" * 300])
def test_names_that_cannot_be(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = whole("a.csv")["a.csv"]
    (tmp_path / "a.csv").write_bytes(rows)
    with pytest.raises(DataError):
        read_table(name, "x", "y")
    table = ["--targets", "y", "--inputs", "x", "--quiet"]
    commands = [
        ["inspect", name],
        ["train", name, *table],
        ["train", "a.csv", *table, "--out", name, "--steps", "1"],
        ["train", "a.csv", *table, "--out", name, "--steps", "1", "--resume"],
        ["train", "a.csv", *table, "--wiring", name],
        ["train", "a.csv", *table, "--warm-start", name],
        ["evaluate", name, "a.csv"],
        ["predict", name, "a.csv", "--out", name],
        ["draw", name],
        ["report", name],
        ["demo", "--out", name],
    ]
    for command in commands:
        assert main(command) == 2, command
        assert capsys.readouterr().err.count("\n") == 1
