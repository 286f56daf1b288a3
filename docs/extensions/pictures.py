"""Pictures and pages of the site: what the examples draw, run when the library has changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sphinx.errors import ExtensionError

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
FOLDER = DOCS / "_pictures"
STAMP = FOLDER / "drawn"
ILLUSTRATED = ("gallery", "worm")
"""Pages that show what the examples draw."""

EXAMPLES = {
    "wiring_gallery": [],
    "touch_circuit": [],
    "wiring_report": [],
    "lesion_study": [],
    "stability_report": [],
    "worm": ["--quick"],
}
"""Examples that draw, and their arguments."""

PAGES = {"pole": ["-m", "elegans", "play", ROOT / "tests/demo_run", "--out"]}
"""Pages besides those of the examples, and the arguments of Python that write them to a file."""

SOURCES = ("elegans", "wiring", "solvers", "proofs", "examples")
WRITTEN_IN = (".py", ".js", ".css", ".html")


def is_current(stamp):
    """Tell whether nothing has changed since the stamp was set."""
    if not stamp.exists():
        return False
    files = (path for folder in SOURCES for path in (ROOT / folder).rglob("*"))
    changed = (path.stat().st_mtime for path in files if path.suffix in WRITTEN_IN)
    return stamp.stat().st_mtime > max(changed)


def make_folder(app, config):
    """Make the folder that the site copies whole, before Sphinx looks for it."""
    (FOLDER / "pages").mkdir(parents=True, exist_ok=True)


def begin(app):
    """Run the examples, all at the same time, unless nothing has changed."""
    app.examples = {}
    if is_current(STAMP):
        return
    shutil.rmtree(FOLDER)
    make_folder(app, app.config)
    environment = os.environ | {"MPLBACKEND": "Agg"}
    commands = {
        name: [ROOT / "examples" / f"{name}.py", *words, "--out", FOLDER / name]
        for name, words in EXAMPLES.items()
    }
    for name, words in PAGES.items():
        commands[name] = [*words, FOLDER / name / f"{name}.html"]
    for name, words in commands.items():
        command = [sys.executable, *words]
        app.examples[name] = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )


def illustrated_last(app, env, docnames):
    """Let the examples run while other pages are read."""
    docnames.sort(key=lambda name: name in ILLUSTRATED)


def finish(app, *_):
    """Wait for the examples; their pages go to the root of the site."""
    while app.examples:
        name, run = app.examples.popitem()
        _, errors = run.communicate()
        if run.returncode:
            raise ExtensionError(f"{name} failed:\n{errors[-3000:]}")
        for page in (FOLDER / name).glob("*.html"):
            page.rename(FOLDER / "pages" / page.name)
        if not app.examples:
            STAMP.touch()


def before_reading(app, docname, source):
    """Finish when a page is read that looks for the pictures."""
    if docname in ILLUSTRATED:
        finish(app)


def setup(app):
    """Draw while Sphinx reads."""
    app.connect("config-inited", make_folder)
    app.connect("builder-inited", begin)
    app.connect("env-before-read-docs", illustrated_last)
    app.connect("source-read", before_reading)
    app.connect("env-updated", finish)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
