"""The structure that a newcomer can rely on: which room may import which, and that files and functions stay short."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"plastic_rl": "plastic_rl", "plastic_rl.envs": "envs", "plastic_rl.agents": "agents"}

LIGHT = {"errors", "checks", "choices", "seeds", "text"}
GROUND = LIGHT | {"files"}  # files loads PyTorch, to read and write weights
# Each room, and the rooms that it may import beside the ground. A room is a folder or a file of plastic_rl.
ROOMS: dict[str, set[str]] = {
    **{room: set() for room in GROUND},
    "rules": set(),
    "data": set(),
    "figures": set(),
    "envs": set(),
    "ops": {"rules"},
    "modules": {"ops", "rules"},
    "optim": {"modules"},
    "tasks": {"modules", "ops", "rules", "data", "figures"},
    "settings": {"envs", "modules", "tasks"},
    "agents": {"envs", "optim", "modules", "ops", "rules"},
    "evaluation": {"agents", "envs", "tasks", "modules", "ops"},
    "viewing": {"agents", "evaluation", "envs", "modules", "ops", "figures"},
    "runs": {"settings", "agents", "tasks", "envs", "modules", "data"},
    "training": {"runs", "viewing", "evaluation", "agents", "optim", "tasks", "figures", "envs", "modules", "ops"},
    "commands": {
        "training", "runs", "viewing", "evaluation", "settings", "agents", "tasks", "figures", "data", "envs",
        "optim", "modules", "ops",
    },
    "cli": {"commands", "settings", "runs"},
}  # fmt: skip
FRONT = ""  # plastic_rl/__init__.py, which loads everything else lazily
FRONT_IMPORTS = {"envs"}

MOST_LINES = 500
LONG_FILES = {"plastic_rl.ops.cpu.kernels"}  # Numba's cache sees changes in the file of a kernel only
MOST_LINES_OF_A_FUNCTION = 80
LONG_FUNCTIONS = {("plastic_rl.ops.cpu.kernels", "build")}  # the kernels of a rule are defined inside it


class Import(NamedTuple):
    file: Path
    line: int
    name: str  # of the imported module or object, absolute
    at_import: bool  # whether it runs when the file is imported, rather than when a function is called


def sources() -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of every module of the three packages."""
    for package, folder in FOLDERS.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            inside = file.relative_to(ROOT / folder)
            if package == "plastic_rl" and inside.parts[0] in ("envs", "agents"):
                continue  # links that an editable install makes
            parts = inside.with_suffix("").parts
            yield ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)]), file


SOURCES = dict(sources())
TREES = {name: ast.parse(file.read_text()) for name, file in SOURCES.items()}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"


def imports(name: str, node: ast.AST, at_import: bool = True) -> Iterator[Import]:
    """Yield all imports below a node; what only a type checker sees is left out."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            for other in child.orelse:
                yield from imports(name, other, at_import)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(SOURCES[name], child.lineno, alias.name, at_import)
        elif isinstance(child, ast.ImportFrom):
            package = name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
            module = resolve_name("." * child.level + (child.module or ""), package)
            for alias in child.names:
                yield Import(SOURCES[name], child.lineno, f"{module}.{alias.name}", at_import)
        else:
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports(name, child, at_import and not function)


IMPORTS = {name: list(imports(name, tree)) for name, tree in TREES.items()}


def room(name: str) -> str | None:
    """Return the room that a dotted name belongs to; None if it is not a name of this package."""
    parts = name.split(".")
    if parts[0] != "plastic_rl":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else FRONT


def where(found: Import) -> str:
    return f"{found.file.relative_to(ROOT)}:{found.line} imports {found.name}"


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of every function, decorators left out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            yield node.name, node.end_lineno - node.lineno + 1


def test_every_module_has_a_room():
    assert {room(name) for name in SOURCES} == {FRONT, *ROOMS}
    assert [name for name in SOURCES if room(name) == FRONT] == ["plastic_rl"]


def test_the_table_has_no_circle():
    assert {*TopologicalSorter(ROOMS).static_order()} == set(ROOMS)  # raises CycleError


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_down(name):
    own = room(name)
    allowed = FRONT_IMPORTS if own == FRONT else ROOMS[own] | {own} | GROUND
    assert not [where(found) for found in IMPORTS[name] if room(found.name) not in {None, *allowed}]


@pytest.mark.parametrize("name", [name for name in SOURCES if room(name) in LIGHT | {"envs", FRONT}])
def test_light_rooms_stay_light(name):
    """They use the standard library, NumPy and Gymnasium only; the envs load pygame for their first picture."""
    for found in IMPORTS[name]:
        allowed = {"plastic_rl", "numpy", "gymnasium", *sys.stdlib_module_names}
        if room(name) == "envs" and not found.at_import:
            allowed.add("pygame")
        assert found.name.split(".")[0] in allowed, where(found)
        assert room(found.name) != "files", where(found)


@pytest.mark.parametrize("module", ["plastic_rl", "plastic_rl.envs", "plastic_rl.settings", "plastic_rl.cli"])
def test_import_loads_nothing_heavy(module, tmp_path):
    script = f"import {module}, sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    heavy = {"torch", "numba", "pygame", "stable_baselines3", "matplotlib", "scipy", "pandas", "pooch", "requests"}
    assert not heavy & set(done.stdout.split())


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in LONG_FILES])
def test_files_are_short(name):
    assert len(SOURCES[name].read_text().splitlines()) <= MOST_LINES


def test_functions_are_short():
    found = {(name, function): lines for name, tree in TREES.items() for function, lines in functions(tree)}
    assert {key for key, lines in found.items() if lines > MOST_LINES_OF_A_FUNCTION} == LONG_FUNCTIONS
