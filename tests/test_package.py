"""The package: its floors, its guards, its wheel, its docstrings."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import elegans

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]


def modules():
    """Return the import name and the path of every module of the library."""
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts))
            yield name.removesuffix(".__init__"), path


MODULES = dict(modules())
EXAMPLES = re.compile(r"^ *Examples\n *-+\n(?:.*\n)*? *>>> ", re.M)


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


def of_modules():
    """Every module's name, that of long examples marked as slow."""
    long = (
        "elegans.integrations.",
        "elegans.proofs.claims.",
        "elegans.proofs.lyapunov.",
        "elegans.reporting.stability.",
    )
    for name in MODULES:
        if not name.endswith("__main__"):
            marks = pytest.mark.slow if name.startswith(long) else ()
            yield pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", list(of_modules()))
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "elegans.export.onnx_graph":
        pytest.importorskip("onnxruntime")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=flags)
    plt.close("all")
    assert not failed


def test_public_names_have_examples():
    """Every public class and function that the packages hand on shows how it is used."""
    without = set()
    for package in (
        "elegans",
        "elegans.wiring",
        "elegans.pruning",
        "elegans.solvers",
        "elegans.proofs",
    ):
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing) and not EXAMPLES.search(thing.__doc__ or ""):
                without.add(f"{package}.{name}")
    assert not without


def imports(path):
    """Return the absolute names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


GROUND = tuple(
    f"elegans.{name}"
    for name in (
        "arguments",
        "capacity",
        "checks",
        "errors",
        "extras",
        "files",
        "hooks",
        "html",
        "lazy",
    )
)
ALLOWED = {
    "elegans.wiring": {"numpy", "networkx", "matplotlib"},
    "elegans.solvers": {"llvmlite", "numba", "numpy", "torch", "torchdiffeq", "triton"},
}


@pytest.mark.parametrize("package", ALLOWED)
def test_ground_floor_stands_alone(package):
    for name, path in MODULES.items():
        if not (name + ".").startswith(package + "."):
            continue
        for imported in imports(path):
            top = imported.partition(".")[0]
            if top == "elegans":
                allowed = (package, *GROUND)
                assert imported.startswith(allowed), f"{name}: {imported}"
            else:
                assert top in sys.stdlib_module_names | ALLOWED[package], f"{name}: {imported}"


@pytest.mark.slow
def test_proofs_stand_above_layers_and_below_the_front_door():
    for name, path in MODULES.items():
        tops = ("elegans.proofs", "elegans.export", "elegans.cli", "elegans.reporting")
        front = name.startswith(tops)
        if not front and name != "elegans":
            assert not any(i.startswith("elegans.proofs") for i in imports(path)), name


def test_pruning_is_above_layers():
    lower = [name for name in MODULES if name.count(".") == 1 and "pruning" not in name]
    for name in lower:
        if name not in ("elegans.cli", "elegans.training", "elegans.reporting", "elegans.proofs"):
            assert not any(i.startswith("elegans.pruning") for i in imports(MODULES[name])), name


def test_wiring_needs_neither_torch_nor_matplotlib(tmp_path):
    code = (
        "import sys, elegans.wiring as w; w.AutoNCP(16, 2).build(4); "
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["wiring", "solvers", "proofs"])
def test_a_bare_import_is_refused(folder):
    done = subprocess.run(
        [sys.executable, "-c", f"import {folder}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert f"this folder is the package 'elegans.{folder}'" in done.stderr


def test_names_are_handed_on():
    for name in elegans.__all__:
        assert getattr(elegans, name) is not None
    assert set(elegans.__all__) <= set(dir(elegans))
    with pytest.raises(AttributeError, match="no attribute 'LSTM'"):
        _ = elegans.LSTM


@pytest.mark.parametrize("package", ["elegans", "elegans.proofs", "elegans.training"])
def test_packages_hand_on_what_type_checkers_see(package):
    module = importlib.import_module(package)
    tree = ast.parse(MODULES[package].read_text())
    (typed,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    listed = {alias.asname for node in typed.body for alias in node.names}
    assert listed == set(dir(module)) >= set(module.__all__)
    for name in listed:
        assert getattr(module, name) is not None


def test_the_version_is_stated_once():
    assert elegans.__version__ == PROJECT["project"]["version"]
    assert PROJECT["project"]["version"] in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {elegans.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_every_package_is_listed():
    found = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


@pytest.mark.slow
def test_the_wheel_holds_the_tracked_files(tmp_path):
    source = tmp_path / "source"
    tracked = [name for name in git("ls-files") if (ROOT / name).is_file()]
    for name in tracked:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", tmp_path, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name for name in names if ".dist-info/" not in name}
    expected = set()
    for package, folder in FOLDERS.items():
        prefix = package.replace(".", "/")
        for name in tracked:
            if name.startswith(folder + "/"):
                expected.add(prefix + name.removeprefix(folder))
    assert packed == expected
    assert any(name.endswith("licenses/LICENSE") for name in names)
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    described = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "elegans demo" in described
    assert not re.findall(r"\]\((?!https?:)", described), "links that lead nowhere from an index"


def test_nothing_speaks_of_how_it_was_made():
    words = ("../" + "shared", "/" + "work/", "/" + "tmp/")
    for name in git("ls-files"):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".cff", ".txt"} and not name.startswith(
            ("benchmarks/", ".ci/")
        ):
            text = path.read_text()
            assert not [word for word in words if word in text], name
