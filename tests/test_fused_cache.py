"""Compiled kernels on disk: no folder for them, damaged files, several processes at a time."""

import ast
import importlib.util
import os
import shutil
from pathlib import Path

import fresh_process
import numba
import numpy as np
import pytest

import elegans
from elegans.solvers.fused.cpu import compiling

TINY = """
from elegans.solvers.fused.cpu.compiling import kernel

@kernel()
def double(x):
    for i in range(len(x)):
        x[i] *= 2
"""


@pytest.fixture
def module(tmp_path):
    """The path of a module with a small kernel."""
    path = tmp_path / "code" / "tiny.py"
    path.parent.mkdir()
    path.write_text(TINY)
    return path


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder where kernels are kept, in a process that has said nothing yet."""
    folder = tmp_path / "kept"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    monkeypatch.setattr(compiling, "_said", set())
    return folder


@pytest.fixture
def nowhere(module, kept, monkeypatch):
    """No folder in which numba could keep kernels of the module."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    (module.parent / "__pycache__").write_text("a file, so that there is no such folder")


def start(module):
    """Return the kernel as a process has it that begins."""
    spec = importlib.util.spec_from_file_location("tiny", module)
    spec.loader.exec_module(tiny := importlib.util.module_from_spec(spec))
    return tiny.double


def doubles(kernel, kind=np.float32):
    """Whether the kernel does what it should; and how often it has been found on disk."""
    x = np.arange(3).astype(kind)
    kernel(x)
    assert x.tolist() == [0, 2, 4]
    return sum(kernel.stats.cache_hits.values())


def test_a_kernel_is_found_on_disk_until_its_file_changes(module, kept, capsys):
    assert doubles(start(module)) == 0
    assert "the next start will find them on disk" in capsys.readouterr().err
    assert doubles(start(module)) == 1
    assert doubles(start(module), np.float64) == 0
    assert len([*kept.rglob("*.nbc")]) == len([*kept.rglob("*")]) - 1 == 2
    os.utime(module, (1, 1))
    assert doubles(start(module)) == 0
    assert doubles(start(module)) == 1
    start(module)._cache.flush()
    assert not [*kept.rglob("*.nbc")]


def test_a_kernel_depends_on_the_files_it_is_made_of(module, kept):
    part = module.with_name("part.py")
    part.write_text("")
    module.write_text(TINY.replace("kernel()", f"kernel(made_of=({str(part)!r},))"))
    assert [doubles(start(module)) for _ in range(2)] == [0, 1]
    part.write_text("changed = True")
    assert doubles(start(module)) == 0


def test_without_a_folder_kernels_are_compiled_in_memory_and_that_is_said_once(
    module, nowhere, capsys
):
    kernel = start(module)
    with pytest.warns(RuntimeWarning, match="no locator available.*set NUMBA_CACHE_DIR") as said:
        assert [doubles(k) for k in (kernel, kernel, start(module))] == [0, 0, 0]
    assert len(said) == 1
    assert "the next start" not in capsys.readouterr().err


def test_a_folder_that_is_gone_when_a_kernel_is_saved(module, kept, capsys):
    kernel = start(module)
    shutil.rmtree(kept)
    kept.write_text("a file now")
    with pytest.warns(RuntimeWarning, match="cannot be kept on disk.*set NUMBA_CACHE_DIR") as said:
        assert [doubles(kernel, kind) for kind in (np.float32, np.float64)] == [0, 0]
    assert len(said) == 1
    assert kept.read_text() == "a file now"


FULL_DISK = """
import resource, sys, warnings
import numba, numpy as np
from elegans.solvers.fused.cpu import compiling

module, numba.config.CACHE_DIR = sys.argv[1:]
sys.path.insert(0, module)
import tiny

before = resource.getrlimit(resource.RLIMIT_FSIZE)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    for kind in (np.float32, np.float64):
        x = np.ones(3, kind)
        tiny.double(x)
        assert x.tolist() == [2, 2, 2]
resource.setrlimit(resource.RLIMIT_FSIZE, before)
assert [w.category for w in said] == [RuntimeWarning], said
"""


@pytest.mark.slow
def test_a_disk_that_is_full(module, tmp_path):
    program, folder = tmp_path / "full.py", tmp_path / "run"
    program.write_text(FULL_DISK)
    folder.mkdir()
    done = fresh_process.run(program, str(module.parent), str(tmp_path / "kept"), folder=folder)
    assert done.returncode == 0, done.stderr
    assert not [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]


def _cut(content):
    return content[: len(content) // 2]


def _flip(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    "damage", [lambda _: b"", lambda _: b"\x80", lambda _: b"hello there" * 9, _cut, _flip]
)
def test_a_damaged_file_is_replaced(module, kept, damage):
    doubles(start(module))
    (path,) = kept.rglob("*.nbc")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert doubles(start(module)) == 0
    assert len(path.read_bytes()) > 1000
    assert doubles(start(module)) == 1


def test_the_file_of_another_signature_is_not_taken(module, kept):
    doubles(start(module))
    (path,) = kept.rglob("*.nbc")
    doubles(start(module), np.float64)
    (other,) = {*kept.rglob("*.nbc")} - {path}
    shutil.copy(other, path)
    assert doubles(start(module)) == 0
    assert doubles(start(module)) == 1


def test_a_whole_file_that_numba_cannot_use_is_replaced(module, kept):
    kernel = start(module)
    doubles(kernel)
    (signature,) = kernel.signatures
    files = kernel._cache._cache_file
    files.save(kernel._cache._index_key(signature, kernel.targetctx.codegen()), ("something", 3))
    assert doubles(start(module)) == 0
    assert doubles(start(module)) == 1


def test_signatures_that_are_saved_at_a_time_are_both_kept(module, kept, monkeypatch):
    first, second = start(module), start(module)
    write = compiling.write_bytes

    def slowly(path, content):
        monkeypatch.setattr(compiling, "write_bytes", write)
        doubles(second, np.float64)
        write(path, content)

    monkeypatch.setattr(compiling, "write_bytes", slowly)
    doubles(first)
    assert doubles(start(module)) == doubles(start(module), np.float64) == 1


SEVERAL = """
import os, sys, warnings
import numba, numpy as np

module, numba.config.CACHE_DIR = sys.argv[1:]
sys.path.insert(0, module)
import tiny

KINDS = [np.float32, np.float64, np.int8, np.int16, np.int32, np.int64]

def check(kinds):
    for kind in kinds:
        x = np.arange(3).astype(kind)
        tiny.double(x)
        assert x.tolist() == [0, 2, 4], kind

read, write = os.pipe()  # closed by the parent when all are there
children = []
for first in range(4):
    children.append(os.fork())
    if not children[-1]:
        os.close(write)
        os.read(read, 1)
        try:
            check(KINDS[first:] + KINDS[:first])
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
os.close(write)
ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert ends == [0] * 4, ends
check(KINDS)
hits = sum(tiny.double.stats.cache_hits.values())
assert hits == len(KINDS), hits
"""


@pytest.mark.slow
def test_processes_that_fill_an_empty_folder_at_a_time(module, tmp_path):
    program, folder = tmp_path / "several.py", tmp_path / "run"
    program.write_text(SEVERAL)
    folder.mkdir()
    done = fresh_process.run(program, str(module.parent), str(tmp_path / "kept"), folder=folder)
    assert done.returncode == 0, done.stderr
    assert {path.suffix for path in (tmp_path / "kept").rglob("*") if path.is_file()} == {".nbc"}


def test_all_that_is_kept_is_made_by_one_decorator():
    from elegans.ensemble import dense_backward, dense_kernels
    from elegans.replications.hawkmoth import stiff_steps
    from elegans.solvers.fused.cpu import lanes, stepping

    kernels = (dense_kernels.forward, dense_backward.backward, stiff_steps.integrate)
    for kernel in (*kernels, lanes.forward, stepping.step):
        assert type(kernel._cache) is compiling.KernelCache
        own = Path(kernel.py_func.__code__.co_filename)
        assert own.name in {name for name, *_ in kernel._cache._cache_file.stamp[1]}
    folders = [Path(elegans.__file__).parent, Path(compiling.__file__).parents[2]]
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"jit", "njit"}:
                assert "cache" not in {keyword.arg for keyword in node.keywords}, path
