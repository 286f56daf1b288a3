"""Pictures of the gallery: what the examples draw, run when the library or they have changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sphinx.errors import ExtensionError

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
FOLDER = DOCS / "_pictures"
EXAMPLES = ("wiring_gallery", "wiring_report", "stability_report")
SOURCES = ("elegans", "wiring", "solvers", "proofs", "examples")


def is_current(stamp):
    """Tell whether nothing has changed since the stamp was set."""
    if not stamp.exists():
        return False
    files = (path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))
    return stamp.stat().st_mtime > max(path.stat().st_mtime for path in files)


def make_folder(app, config):
    """Make the folder that the site copies whole, before Sphinx looks for it."""
    (FOLDER / "pages").mkdir(parents=True, exist_ok=True)


def draw(app):
    """Run the examples at the same time; their pages go to the root of the site."""
    stamp = FOLDER / "drawn"
    if is_current(stamp):
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "pages").mkdir(parents=True)
    environment = os.environ | {"MPLBACKEND": "Agg"}
    runs = {}
    for name in EXAMPLES:
        command = [sys.executable, ROOT / "examples" / f"{name}.py", "--out", FOLDER / name]
        runs[name] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
    for name, run in runs.items():
        _, errors = run.communicate()
        if run.returncode:
            raise ExtensionError(f"examples/{name}.py failed:\n{errors[-3000:]}")
        for page in (FOLDER / name).glob("*.html"):
            page.rename(FOLDER / "pages" / page.name)
    stamp.touch()


def setup(app):
    """Draw before anything is read."""
    app.connect("config-inited", make_folder)
    app.connect("builder-inited", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
