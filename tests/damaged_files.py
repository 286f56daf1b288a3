"""Every reader of files, whole files for each, and ways to damage them.

`READERS` lists them by name. `whole(name)` returns the files that a reader needs, `damaged` one of
them changed, and `attempt` writes and reads them: it returns what was raised on purpose, or None,
and lets everything else through.
"""

import bz2
import gzip
import io
import json
import lzma
import random
import struct
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import torch

import elegans
from elegans.data import Dialect, Scale, Scales, cut_windows, read_table
from elegans.data.opening import open_data
from elegans.errors import ElegansError
from elegans.proofs import Certificate, certify, verify
from elegans.replications.hawkmoth import load_trajectories, sample, save_trajectories
from elegans.replications.sets import read_idx
from elegans.training import RunData, RunFolder, TrainingConfig, fit
from elegans.wiring import AutoNCP, Wiring
from elegans.wiring.connectome import load as load_connectome
from elegans.wiring.connectome import tap_withdrawal

ODD = [
    None, True, 0, -1, 2**31, 2**40, 2**63, 10**400, 0.5, -1e308, 1e400, float("nan"), "", "x",
    "\ud800", "\0", "a" * 300, [], [[]], {}, {"a": 1}, [1, "x"],
]  # fmt: skip
"""Values that stand where others are expected."""


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    `make` writes whole files into a folder, `read` is given the one of these called `file`.
    """

    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]


# --- whole files -------------------------------------------------------------------------


def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "t": np.arange(60.0),
            "x": rng.normal(size=60),
            "word": [("calm", "brisk")[k // 30] for k in range(60)],
            "y": rng.normal(size=60),
        }
    )


def make_text(folder):
    text = frame().to_csv(index=False)
    (folder / "a.csv").write_text(text)
    (folder / "a.tsv").write_text(text.replace(",", "\t"))
    for suffix, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        (folder / f"a.csv.{suffix}").write_bytes(pack(text.encode()))


def make_npz(folder):
    columns = {name: frame()[name].to_numpy() for name in ("t", "x", "y")}
    np.savez(folder / "a.npz", word=frame()["word"].to_numpy(str), z=np.ones((60, 2)), **columns)
    np.savez_compressed(folder / "b.npz", **columns)


def make_sheets(folder):
    frame().to_parquet(folder / "a.parquet")
    frame().to_excel(folder / "a.xlsx", index=False)


def make_wirings(folder):
    wiring = AutoNCP(8, 2).build(3)
    for suffix in ("json", "csv", "graphml"):
        wiring.save(folder / f"a.{suffix}")


def make_connectomes(folder):
    connectome = tap_withdrawal()
    connectome.save(folder / "worm.npz")
    graph = nx.MultiDiGraph(connectome.to_networkx())
    nx.write_graphml(graph, folder / "worm.graphml")
    nx.write_gexf(graph, folder / "worm.gexf")
    edges = nx.to_pandas_edgelist(graph)[["source", "target", "weight", "type"]]
    edges.to_csv(folder / "worm.csv", index=False)
    edges.to_csv(folder / "worm.csv.gz", index=False)
    edges.to_parquet(folder / "worm.parquet")
    edges.to_excel(folder / "worm.xlsx", index=False)
    (folder / "worm.nml").write_text(
        '<neuroml xmlns="http://www.neuroml.org/schema/neuroml2"><network id="n">'
        '<population id="PVCL" component="cell" size="1"/>'
        '<population id="DA" component="cell" size="2">'
        '<instance id="1"><location x="0" y="0.5" z="-2"/></instance></population>'
        '<projection id="p" presynapticPopulation="PVCL" postsynapticPopulation="DA">'
        '<connectionWD id="0" preCellId="../PVCL/0/c" postCellId="../DA/1/c" weight="3"/>'
        "</projection></network></neuroml>"
    )


CONNECTOMES = ("npz", "graphml", "gexf", "csv", "csv.gz", "parquet", "xlsx", "nml")


def circuit():
    return elegans.LTC(3, AutoNCP(8, 1), generator=torch.Generator().manual_seed(0))


def make_models(folder):
    elegans.save(circuit(), folder / "ltc")
    elegans.save(elegans.CfC(3, 8, proj_size=2, mixed_memory=True), folder / "cfc")
    elegans.save(elegans.Readout(elegans.CTRNN(3, AutoNCP(8, 1)), 2), folder / "ctrnn")
    stack = elegans.Stacked(lambda inputs: elegans.LTC(inputs, AutoNCP(8, 1)), 3, 2)
    elegans.save(stack, folder / "stack")


def windows_of_run():
    table = read_table(frame(), ["x", "word"], "y", time="t")
    scales = Scales.fit(table.sequences, table.input_names, table.target_names)
    return table, scales, cut_windows(scales.apply(table.sequences), 8)


CONFIG = TrainingConfig(steps=4, batch_size=2, evaluate_every=2, checkpoint_every=2)


def make_run(folder):
    table, scales, windows = windows_of_run()
    settings = {
        "command": "train",
        "data": {"path": "a.csv", "sha256": "", **table.reading.to_plain(), "text": {}},
        "training": {"steps": CONFIG.steps, "seed": 0, "window": 8},
    }
    run = RunFolder.create(folder / "run", circuit(), settings, scales)
    fit(circuit(), windows, windows, CONFIG, run=run, progress=False)
    if not (run.path / "ledger.jsonl").read_bytes():
        edit = {
            "step": 2, "synapses": "cell.recurrent", "source": 1, "cut": 2, "grown_source": 1,
            "grown": 0, "polarity": 1, "weight": 0.5, "outcome": "rewired",
        }  # fmt: skip
        run.write_ledger([edit, {**edit, "step": 3, "grown": None, "outcome": "pruned"}])


def make_scale(folder):
    (folder / "scale.json").write_text(Scale([0.0, 1.0], [1.0, 2.0], names=("a", "b")).to_json())


def make_certificate(folder):
    model = circuit()
    with torch.no_grad():
        model.cell.recurrent.weight *= 0.01
    certify(model, inputs=(-1, 1)).save(folder / "certificate.json")


def make_trajectories(folder):
    save_trajectories(sample(4, seed=0, progress=False), folder / "moths.npz")


def make_idx(folder):
    content = struct.pack(">BBBB2I", 0, 0, 0x0B, 2, 3, 4) + bytes(range(24))
    (folder / "a.idx").write_bytes(content)
    (folder / "b.gz").write_bytes(gzip.compress(content))


# --- readers -----------------------------------------------------------------------------


def read_rows(path):
    source = open_data(path, Dialect())
    source.load(source.names, source.names[:1])
    read_table(path, "all", "y", missing="fill")


def read_model(path):
    model = elegans.load(path.parent)
    model(torch.zeros(1, 2, model.input_size))
    _ = model.wiring.names
    elegans.Policy.load(path.parent)(np.zeros(model.input_size))


def read_stack(path):
    model = elegans.load(path.parent)
    model(torch.zeros(1, 2, model.input_size))


def read_run(path):
    folder = path.parent if path.parent.name == "run" else path.parent.parent
    run = RunFolder.open(folder)
    _ = run.steps, run.scales, run.initial_wiring, run.metrics(), run.ledger()
    run._repr_html_()
    RunData.read(folder, frame()).frame()
    elegans.Policy.load(folder)({"x": 0.5, "word": "calm"}, 1.0)
    for record in run.ledger():
        elegans.pruning.Edit.from_dict(record)


def resume_run(path):
    folder = path.parent if path.parent.name == "run" else path.parent.parent
    _, _, windows = windows_of_run()
    run = RunFolder.open(folder)
    fit(circuit(), windows, windows, CONFIG, run=run, resume=True, progress=False)


def read_certificate(path):
    # That one file has exceptions of its own, so that it runs alone.
    with suppress(verify.MalformedError, verify.NotProvedError):
        verify.verify(verify.read(str(path)))
    Certificate.load(path)


def read_scale(path):
    Scale.from_json(path.read_text(encoding="utf-8", errors="replace"))


TABLES = ("a.csv", "a.tsv", "a.csv.gz", "a.csv.bz2", "a.csv.xz")
RUN = ("config.json", "wiring.json", "model.safetensors", "wiring_initial.json")
RUN = (*RUN, "standardiser.json", "metrics.jsonl", "ledger.jsonl")
CHECKPOINT = ("training.json", "model.safetensors", "best.safetensors", "training.safetensors")
MODEL = ("config.json", "wiring.json", "model.safetensors")

READERS: dict[str, Reader] = {
    **{name: Reader(name, make_text, read_rows) for name in TABLES},
    **{name: Reader(name, make_npz, read_rows) for name in ("a.npz", "b.npz")},
    **{name: Reader(name, make_sheets, read_rows) for name in ("a.parquet", "a.xlsx")},
    **{
        f"wiring.{suffix}": Reader(f"a.{suffix}", make_wirings, Wiring.load)
        for suffix in ("json", "csv", "graphml")
    },
    **{
        f"connectome.{suffix}": Reader(f"worm.{suffix}", make_connectomes, load_connectome)
        for suffix in CONNECTOMES
    },
    **{
        f"{kind}/{file}": Reader(f"{kind}/{file}", make_models, read_model)
        for kind in ("ltc", "cfc", "ctrnn")
        for file in MODEL
    },
    "stack/config.json": Reader("stack/config.json", make_models, read_stack),
    **{f"run/{file}": Reader(f"run/{file}", make_run, read_run) for file in RUN},
    **{
        f"checkpoint/{file}": Reader(f"run/checkpoint-00000004/{file}", make_run, resume_run)
        for file in CHECKPOINT
    },
    "resumed metrics": Reader("run/metrics.jsonl", make_run, resume_run),
    "scale": Reader("scale.json", make_scale, read_scale),
    "certificate": Reader("certificate.json", make_certificate, read_certificate),
    "trajectories": Reader("moths.npz", make_trajectories, load_trajectories),
    "idx": Reader("a.idx", make_idx, read_idx),
    "packed idx": Reader("b.gz", make_idx, read_idx),
}


@cache
def files_by(make):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make(place)
        paths = sorted(path for path in place.rglob("*") if path.is_file())
        return {str(path.relative_to(place)): path.read_bytes() for path in paths}


def whole(name):
    """Return the content of each file that the reader `name` needs, by its path."""
    return dict(files_by(READERS[name].make))


def attempt(name, content, folder):
    """Read `content` as the file of the reader `name`; return the error that says so, or None."""
    reader = READERS[name]
    for path, kept in (whole(name) | {reader.file: content}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(kept)
    try:
        reader.read(folder / reader.file)
    except ElegansError as error:
        return error
    return None


# --- damage ------------------------------------------------------------------------------


def damaged(name, seed):
    """Return the file of the reader `name`, changed in a way that `seed` draws."""
    draw = random.Random(f"{name} {seed}")
    content = whole(name)[READERS[name].file]
    ways = [flipped, cut, spliced, renumbered]
    if content[:1] == b"{":
        ways += [json_edited] * 4
    if name == "certificate":
        ways += [resealed] * 8
    if content[:2] == b"PK":
        ways += [rezipped] * 3
    if content[:2] == b"\x1f\x8b":
        ways += [repacked] * 2
    if name.endswith(".safetensors"):
        ways += [header_edited] * 3
    return draw.choice(ways)(content, draw)


def flipped(content, draw):
    """Change a few bytes."""
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def cut(content, draw):
    """Cut the file off, or a piece out of it."""
    a, b = sorted((draw.randrange(len(content) + 1), draw.randrange(len(content) + 1)))
    return content[:a] if draw.random() < 0.5 else content[:a] + content[b:]


def spliced(content, draw):
    """Repeat a piece of the file at another place."""
    a, b = sorted((draw.randrange(len(content) + 1), draw.randrange(len(content) + 1)))
    at = draw.randrange(len(content) + 1)
    return content[:at] + content[a : min(b, a + 200)] + content[at:]


def renumbered(content, draw):
    """Replace a number in text by another one, or bytes in binary files by large numbers."""
    digits = [k for k, byte in enumerate(content) if 48 <= byte <= 57]
    numbers = (b"0", b"-1", b"99", b"4294967296", b"1e400", b"nan", b"9" * 5000, b"1.5", b"")
    if digits and draw.random() < 0.7:
        a = b = draw.choice(digits)
        while b < len(content) and 48 <= content[b] <= 57:
            b += 1
        return content[:a] + draw.choice(numbers) + content[b:]
    at = draw.randrange(max(1, len(content) - 8))
    width = draw.choice((1, 2, 4, 8))
    number = draw.choice((b"\xff" * width, bytes(width), b"\x7f" + b"\xff" * (width - 1)))
    return content[:at] + number + content[at + width :]


def json_edited(content, draw):
    """Replace, remove, add or repeat a value somewhere in JSON, or in a line of it."""
    lines = content.splitlines(keepends=True)
    at = None
    try:
        value = json.loads(content)
    except ValueError:
        at = draw.randrange(len(lines))
        value = json.loads(lines[at])
    where, places = value, []
    while isinstance(where, dict | list) and where:
        key = draw.choice(list(where) if isinstance(where, dict) else range(len(where)))
        places.append((where, key))
        where = where[key]
    parent, key = draw.choice(places)
    way = draw.randrange(4)
    if way == 0:
        del parent[key]
    elif way == 1 and isinstance(parent, dict):
        parent[draw.choice(("", "extra", "step", "names"))] = draw.choice(ODD)
    else:
        parent[key] = draw.choice(ODD)
    text = json.dumps(value)
    if way == 2 and draw.random() < 0.3:
        text = text.replace("{", '{"format": 1, ', 1)
    if at is not None:
        lines[at] = text.encode() + b"\n"
        return b"".join(lines)
    return text.encode()


def resealed(content, draw):
    """Edit a certificate and give it the digest that it should have then."""
    document = json.loads(json_edited(content, draw))
    try:
        return json.dumps(document | {"digest": verify.digest(document)}).encode()
    except (verify.MalformedError, TypeError):
        return json.dumps(document).encode()


def rezipped(content, draw):
    """Damage a member of a zip archive whose sums are right."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    name = draw.choice(list(members))
    members[name] = draw.choice((flipped, cut, spliced, renumbered))(members[name] or b"0", draw)
    method = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(packed, "w", method) as archive:
        for each, inner in members.items():
            archive.writestr(each, inner)
    return packed.getvalue()


def repacked(content, draw):
    """Damage what gzip holds."""
    return gzip.compress(draw.choice((flipped, cut, renumbered))(gzip.decompress(content), draw))


def header_edited(content, draw):
    """Change the header of a safetensors file, its length in accordance or not."""
    (length,) = struct.unpack("<Q", content[:8])
    header = draw.choice((json_edited, renumbered))(content[8 : 8 + length], draw)
    said = draw.choice((len(header), len(header), 2**60, 0, len(content)))
    return struct.pack("<Q", said) + header + content[8 + length :]
