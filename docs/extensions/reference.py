"""The reference: a page a public module, written from its ``__all__`` and its docstrings.

Each name is documented once, in the first module of `GROUPS` that hands it on; the tables of the
others lead there. References find a name by whatever module it is imported from.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from sphinx.ext.napoleon import NumpyDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

GROUPS = {
    "Circuits": ["elegans", "elegans.wiring", "elegans.solvers"],
    "Training": [
        "elegans.data",
        "elegans.training",
        "elegans.pruning",
        "elegans.pruning.compact",
        "elegans.pruning.measuring.efficiency",
        "elegans.ensemble",
        "elegans.lesions",
        "elegans.parallel",
        "elegans.tasks.cartpole",
        "elegans.control.lqr",
        "elegans.control.policy",
        "elegans.control.ensemble_policy",
        "elegans.control.plants",
        "elegans.control.youla",
        "elegans.control.safety",
        "elegans.control.reach",
    ],
    "Other languages": ["elegans.export"],
    "Other libraries": ["elegans.integrations.sb3", "elegans.integrations.lightning"],
    "Proofs and reports": [
        "elegans.proofs",
        "elegans.proofs.lyapunov",
        "elegans.proofs.claims",
        "elegans.proofs.verify",
        "elegans.reporting",
        "elegans.reporting.stability",
    ],
    "Published systems": [
        "elegans.replications.causality",
        "elegans.replications.experiments",
        "elegans.replications.hawkmoth",
        "elegans.replications.sets",
    ],
    "Extending": [
        "elegans.layers.cell",
        "elegans.layers.sequence_layer",
        "elegans.layers.capabilities",
        "elegans.synapses.slots",
        "elegans.synapses.signed",
        "elegans.errors",
    ],
}
RETURNED = {
    "elegans.data": ["elegans.data.kinds.Column"],
    "elegans.pruning.compact": ["elegans.pruning.compact.sparse_linear.sparse_pays"],
    "elegans.proofs": [
        "elegans.proofs.certificates.certificate.Figures",
        "elegans.proofs.certificates.network.Box",
        "elegans.proofs.certificates.network.SynapseNumbers",
        "elegans.proofs.dynamics.equilibrium.Equilibria",
        "elegans.proofs.dynamics.equilibrium.Equilibrium",
        "elegans.proofs.dynamics.sparse_jacobian.JacobianProduct",
    ],
    "elegans.reporting.stability": ["elegans.reporting.stability.verdicts.Verdict"],
    "elegans.synapses.slots": ["elegans.synapses.initial.INITIAL_RANGES"],
}
"""What the functions of a module return or name without handing it on."""

FOLDER = "reference"
logger = logging.getLogger(__name__)


def names_of(module):
    """Return the full public names of a module, without modules."""
    handed_on = getattr(module, "__all__", None)
    if handed_on is None:
        handed_on = [
            name
            for name, thing in vars(module).items()
            if getattr(thing, "__module__", None) == module.__name__
            and not name.startswith("_")
            and (inspect.isclass(thing) or inspect.isroutine(thing))
        ]
    names = [f"{module.__name__}.{name}" for name in handed_on]
    names += RETURNED.get(module.__name__, [])
    return [name for name in names if not isinstance(thing_of(name), ModuleType)]


def thing_of(name):
    """Return what has this full name; an AttributeError says that nothing has."""
    parts = name.split(".")
    thing = importlib.import_module(parts[0])
    for count, part in enumerate(parts[1:], start=2):
        if isinstance(thing, ModuleType) and not hasattr(thing, part):
            try:
                thing = importlib.import_module(".".join(parts[:count]))
            except ModuleNotFoundError as error:
                raise AttributeError(name) from error
        else:
            thing = getattr(thing, part)
    return thing


def identity(thing):
    """Return what tells a class, a function or a constant apart, whatever hands it on."""
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return thing.__module__, thing.__qualname__
    return id(thing)


def said_of(name):
    """Return the docstring of a name; of a constant, the string below it."""
    thing = thing_of(name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return inspect.getdoc(thing) or ""
    home, _, short = name.rpartition(".")
    package = importlib.import_module(home)
    inner = pkgutil.walk_packages(getattr(package, "__path__", ()), home + ".")
    for module in (home, *(found.name for found in inner)):
        said = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", short))
        if said:
            return "\n".join(said).strip()
    logger.warning("%s has no string below it", name)
    return ""


class Reference:
    """All pages, and where each name is documented."""

    def __init__(self):
        self.modules = {
            name: importlib.import_module(name) for group in GROUPS.values() for name in group
        }
        self.homes = {}
        for module in self.modules.values():
            for name in names_of(module):
                self.homes.setdefault(identity(thing_of(name)), name)
        self.classes = {name.rpartition(".")[2]: name for name in reversed(self.homes.values())}

    def index(self):
        """Return the page that lists the modules, as reStructuredText."""
        lines = ["Reference", "=========", ""]
        for group, names in GROUPS.items():
            lines += [group, "-" * len(group), "", ".. list-table::", "   :class: names", ""]
            for name in names:
                first = inspect.getdoc(self.modules[name]).partition("\n")[0]
                lines += [f"   * - :doc:`{name} <{name}>`", f"     - {first}"]
            lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""]
        return "\n".join(lines)

    def page(self, name):
        """Return the page of a module: what it is for, a table of its names, and the names."""
        module = self.modules[name]
        lines = [name, "=" * len(name), "", f".. automodule:: {name}", "   :no-members:", ""]
        public = names_of(module)
        if public:
            lines += [".. list-table::", "   :class: names", ""]
        for full in public:
            first = " ".join(said_of(full).partition("\n\n")[0].split())
            home = self.homes[identity(thing_of(full))]
            lines += [f"   * - :py:obj:`{full.rpartition('.')[2]} <{home}>`", f"     - {first}"]
        lines.append("")
        for full in public:
            if self.homes[identity(thing_of(full))] == full:
                lines += [*self.entry(full), ""]
        return "\n".join(lines)

    def entry(self, name):
        """Return the directives that document a name."""
        thing = thing_of(name)
        if inspect.isroutine(thing):
            return [f".. autofunction:: {name}"]
        if not inspect.isclass(thing):
            short = name.rpartition(".")[2]
            said = said_of(name).splitlines()
            return [f".. py:data:: {short}", "", *(f"   {line}" for line in said)]
        lines = [f".. autoclass:: {name}"]
        if any(self.is_shown(base) for base in thing.__bases__):
            lines.append("   :show-inheritance:")
        own = set(vars(thing))
        for base in thing.__mro__[1:]:
            if base.__module__.startswith("elegans.") and identity(base) not in self.homes:
                for member, value in vars(base).items():
                    if member not in own and not member.startswith("_") and value.__doc__:
                        kind = "property" if isinstance(value, property) else "method"
                        if kind == "property" or inspect.isroutine(value):
                            lines += ["", f"   .. auto{kind}:: {member}"]
                    own.add(member)
        return lines

    def is_shown(self, base):
        """Tell whether a reader can look up a base class."""
        if base.__module__.startswith("elegans"):
            return identity(base) in self.homes
        return base is not object


def write(app):
    """Write the pages that have changed."""
    app.reference = reference = Reference()
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    pages = {name: reference.page(name) for name in reference.modules}
    pages["index"] = reference.index()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def keep_shown_bases(app, name, obj, options, bases):
    """Leave out private bases, the members of which stand with the class."""
    bases[:] = [base for base in bases if app.reference.is_shown(base)]


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out what another library writes into our classes."""
    module = getattr(obj, "__module__", None) or ""
    return True if what == "class" and module.startswith("sklearn") else None


def read_sections(app, what, name, obj, options, lines):
    """Turn the sections of a docstring into fields.

    Sphinx's own handler takes what stands before a colon for the type of an attribute.
    """
    kind = "method" if what in ("attribute", "data", "property") else what
    docstring = NumpyDocstring(lines, app.config, app, kind, name, obj, options)
    lines[:] = str(docstring).splitlines()


def resolve(app, env, node, contnode):
    """Lead a reference to where its class or function is documented.

    A name that exists and is on no page stays text; one that does not exist is a warning.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"].removesuffix("()")
    first = target.partition(".")[0]
    if first in app.reference.classes:
        target = app.reference.classes[first] + target.removeprefix(first)
    elif first != "elegans":
        return None
    parts = target.split(".")
    exists = False
    for count in range(len(parts), 0, -1):
        try:
            thing = thing_of(".".join(parts[:count]))
        except AttributeError:
            continue
        exists = exists or count == len(parts)
        home = app.reference.homes.get(identity(thing))
        if home:
            home = ".".join((home, *parts[count:]))
            entry = env.domains["py"].objects.get(home)
            if entry:
                place = (node["refdoc"], entry.docname, entry.node_id)
                return make_refnode(app.builder, *place, contnode, home)
    return contnode if exists else None


def setup(app):
    """Write the pages before anything is read."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-bases", keep_shown_bases)
    app.connect("autodoc-process-docstring", read_sections)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
