"""Who may import whom, and what stands nowhere: the shape of the house, read from the sources."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import supervisortw

OURS = "supervisortw"
PACKAGE = Path(supervisortw.__file__).parent
PLUGIN = Path(__file__).parents[2] / "twisted" / "plugins" / "supervisor_plugin.py"
LONGEST_FILE = 500


@dataclass(frozen=True)
class Layer:
    """What the modules of one part of the package may import besides the standard library.

    A module may always import from its own part. ``others`` are prefixes of module names.
    """

    ours: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()


def layer(*ours: str, others: tuple[str, ...] = ()) -> Layer:
    return Layer(frozenset(ours), others)


VERSION = "__init__"  # the package itself: its version
TWISTED_LOOP = ("twisted.internet", "twisted.logger", "zope.interface")
TLS = ("twisted.protocols.tls", "OpenSSL", "cryptography", "service_identity")
LAYERS = {
    VERSION: layer(),
    "core": layer(),
    "errors": layer(),
    # Processes are told of by twisted's own interfaces, which are declarations and no more.
    "interfaces": layer("core", others=("twisted.internet.interfaces", "twisted.internet.defer")),
    "auth": layer(
        "core", others=("twisted.cred", "twisted.internet.defer", "zope.interface", "gmpy2")
    ),
    "config": layer("core", "errors", others=("ZConfig",)),
    "daemon": layer("core", "interfaces", "errors", others=(*TWISTED_LOOP, "twisted.python")),
    "remote": layer(
        *("auth", "core", "interfaces", "errors", VERSION),
        others=(*TWISTED_LOOP, "twisted.spread", "twisted.cred", "twisted.python.failure", *TLS),
    ),
    "passwords": layer(
        *("config", "core", "daemon", "errors", "secrecy"),
        others=("twisted.internet", "twisted.logger", "twisted.python.filepath"),
    ),
    # The daemon's own code decides what happens; only the clock and the processes are others.
    "simulation": layer(
        *("daemon", "core", "interfaces", "errors"),
        others=("twisted.internet.defer", "twisted.internet.interfaces", "twisted.python.failure"),
    ),
    "client": layer(
        *("absence", "remote", "config", "core", "interfaces", "errors", VERSION, "simulation"),
        *("passwords", "secrecy"),
        others=("twisted.internet", "prompt_toolkit"),
    ),
    "tools": layer("config", "core", "errors", VERSION),
    # The entry points.
    "absence": layer(),
    "secrecy": layer(),
    "options": layer(VERSION),
    "supervisord": layer("config", "core", "daemon", "errors", "options"),
    "launch": layer("absence", "tap"),
    "programs": layer("supervisord", "client"),
    "inforce": layer("core", "errors", "config", "daemon", others=("twisted.logger",)),
    "service": layer(
        *("core", "errors", "interfaces", "config", "daemon", "remote", "passwords", "inforce"),
        VERSION,
        others=(*TWISTED_LOOP, "twisted.application"),
    ),
    "tap": layer(
        *("absence", "core", "errors", "config", "daemon", "inforce", "service", "options"),
        VERSION,
        others=(*TWISTED_LOOP, "twisted.python"),
    ),
}
# What one module may, and the rest of its part may not.
EXCEPTIONS = {"supervisortw.core.lifecycle": frozenset({"errors"})}

# What would let the core see the world outside.
OUTSIDE = {
    *("asyncio", "ctypes", "datetime", "fcntl", "glob", "grp", "io", "logging", "multiprocessing"),
    *("os", "pathlib", "pwd", "random", "secrets", "select", "shutil", "socket", "subprocess"),
    *("tempfile", "threading", "time"),
}
NAMES_THE_REACTOR = {"supervisortw.tap", "supervisortw.client.main"}


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    text: str
    tree: ast.Module
    at_the_top: frozenset[str] = field(repr=False)
    anywhere: frozenset[str] = field(repr=False)

    @property
    def part(self) -> str:
        """The part of the package that it belongs to."""
        return part_of(self.name)


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else VERSION


def imported(node: ast.AST) -> Iterator[str]:
    """Return the full names of what an import statement imports: modules, or things in them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def run_by_import(node: ast.AST) -> Iterator[ast.AST]:
    """Return all that is not inside of a function."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from run_by_import(child)


def read(path: Path) -> Module:
    relative = path.relative_to(PACKAGE).with_suffix("")
    parts = [part for part in relative.parts if part != "__init__"]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return Module(
        name=".".join([OURS, *parts]),
        path=path,
        text=path.read_text(encoding="utf-8"),
        tree=tree,
        at_the_top=frozenset(name for node in run_by_import(tree) for name in imported(node)),
        anywhere=frozenset(name for node in ast.walk(tree) for name in imported(node)),
    )


MODULES = [read(path) for path in sorted(PACKAGE.rglob("*.py"))]
NAMES = {module.name for module in MODULES}
each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def module_of(name: str) -> str:
    """Return the module of ours in which ``name`` is; it may be a module itself."""
    while name not in NAMES:
        name = name.rpartition(".")[0]
    return name


def is_under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def trespasses(module: Module) -> list[str]:
    """Return what a module imports and may not."""
    rule = LAYERS[module.part]
    allowed = rule.ours | {module.part} | EXCEPTIONS.get(module.name, frozenset())
    found = []
    for name in module.anywhere:
        if is_under(name, (OURS,)):
            if part_of(module_of(name)) not in allowed:
                found.append(name)
        elif name.split(".")[0] not in sys.stdlib_module_names and not is_under(name, rule.others):
            found.append(name)
    return sorted(found)


def test_every_part_has_its_rule() -> None:
    assert {module.part for module in MODULES} == set(LAYERS)


@each_module
def test_a_module_imports_what_its_part_may(module: Module) -> None:
    assert trespasses(module) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("core.plan", "from twisted.internet.defer import Deferred"),
        ("core.plan", "from supervisortw.errors import Refused"),
        ("core.plan", "from supervisortw import errors"),
        ("errors", "from supervisortw.core.model import Program"),
        ("daemon.spawn", "from supervisortw.remote import wire"),
        ("daemon.spawn", "def late():\n    import supervisortw.config.loader"),
        ("remote.wire", "from supervisortw.daemon.process import ManagedProcess"),
        ("client.desk", "from supervisortw.tap import main"),
        ("config.loader", "import twisted"),
        ("tools.claim", "from twisted.logger import Logger"),
        ("auth", "from twisted.spread import pb"),
    ],
)
def test_a_trespass_is_noticed(name: str, text: str) -> None:
    tree = ast.parse(text)
    found = frozenset(name for node in ast.walk(tree) for name in imported(node))
    module = Module(f"{OURS}.{name}", Path(), text, tree, found, found)
    assert len(trespasses(module)) == 1


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if module.part == "core"],
    ids=lambda module: module.name,
)
def test_the_core_sees_nothing_of_the_world(module: Module) -> None:
    assert {name.split(".")[0] for name in module.anywhere} & OUTSIDE == set()
    calls = [node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    names = {function.id for function in calls if isinstance(function, ast.Name)}
    assert names & {"open", "print", "input"} == set()


@pytest.mark.parametrize("name", ["supervisortw.daemon.holder", "supervisortw.daemon.forker"])
def test_what_is_run_by_its_path_imports_the_standard_library_only(name: str) -> None:
    [alone] = [module for module in MODULES if module.name == name]
    assert {name.split(".")[0] for name in alone.anywhere} <= sys.stdlib_module_names


def test_the_global_reactor_is_named_by_entry_points_only() -> None:
    named = {
        module.name
        for module in MODULES
        if "twisted.internet.reactor" in module.anywhere
        or "from twisted.internet.reactor" in module.text
    }
    assert named == NAMES_THE_REACTOR
    at_the_top = [module for module in MODULES if "twisted.internet.reactor" in module.at_the_top]
    assert at_the_top == [], "importing a module must not install a reactor"


def test_what_puts_the_parts_together_is_imported_by_nobody_but_the_launcher() -> None:
    users = {module.name for module in MODULES if is_tap_used(module.anywhere)}
    assert users == {"supervisortw.launch"}
    assert '"supervisortw.tap"' in PLUGIN.read_text()


def is_tap_used(names: frozenset[str]) -> bool:
    return any(is_under(name, ("supervisortw.tap",)) for name in names)


def test_only_the_prompt_pays_for_the_prompt() -> None:
    users = {
        module.name
        for module in MODULES
        if any(is_under(name, ("prompt_toolkit", "asyncio")) for name in module.anywhere)
    }
    assert users == {"supervisortw.client.prompt"}
    early = {
        module.name
        for module in MODULES
        if any(is_under(name, ("supervisortw.client.prompt",)) for name in module.at_the_top)
    }
    assert early == set()


def test_only_tcp_pays_for_tls() -> None:
    alone = {"supervisortw.remote.tls", "supervisortw.remote.certificate"}
    users = {
        module.name for module in MODULES if any(is_under(name, TLS) for name in module.anywhere)
    }
    assert users == alone
    early = {
        module.name
        for module in MODULES
        if any(is_under(name, tuple(alone)) for name in module.at_the_top)
    }
    assert early == {"supervisortw.remote.tls"}


def test_only_a_simulation_brings_the_daemon_into_the_client() -> None:
    part = ("supervisortw.simulation",)
    outside = [module for module in MODULES if module.part != "simulation"]
    users = {
        module.name for module in outside if any(is_under(each, part) for each in module.anywhere)
    }
    assert users == {"supervisortw.client.simulate"}
    early = {
        module.name for module in outside if any(is_under(each, part) for each in module.at_the_top)
    }
    assert early == set()


@each_module
def test_a_file_is_not_too_long(module: Module) -> None:
    assert len(module.text.splitlines()) < LONGEST_FILE


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if module.path.name == "__init__.py"],
    ids=lambda module: module.name,
)
def test_a_package_below_the_root_is_empty(module: Module) -> None:
    if module.name != OURS:
        assert module.text == ""


NOWHERE = re.compile(r"\b(pickle|marshal|shelve)\b|\b(eval|exec)\(|shell\s*=\s*True|yaml\.load")


@each_module
def test_nothing_that_runs_what_it_reads(module: Module) -> None:
    assert [line for line in module.text.splitlines() if NOWHERE.search(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from marshal import loads",
        "eval(text)",
        "x = exec(text)",
        "run(command, shell=True)",
        "run(command, shell = True)",
        "yaml.load(text)",
    ],
)
def test_what_stands_nowhere_is_noticed(line: str) -> None:
    assert NOWHERE.search(line)


@pytest.mark.parametrize("line", ["os.execv(path, command)", "retrieval(x)", "shell='/bin/sh'"])
def test_what_may_stand_is_left_alone(line: str) -> None:
    assert not NOWHERE.search(line)


def test_plugin_directories_are_no_packages() -> None:
    twisted = PLUGIN.parent.parent
    assert list(twisted.rglob("__init__.py")) == []
