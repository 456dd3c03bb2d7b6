"""The package as it is installed and imported."""

import doctest
import importlib.metadata
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import plastic_rl
import plastic_rl.modules
import plastic_rl.ops
import plastic_rl.tasks

ROOT = Path(__file__).parents[1]
USE = """
import envs, agents
assert envs.OWNER == agents.OWNER == "the user", "the user's own packages come first"

import gymnasium as gym
import plastic_rl
env = gym.make("plastic_rl:PlasticRL/GridMaze-v0")
env.reset(seed=0)
env.step(env.action_space.sample())

import plastic_rl.agents, plastic_rl.envs
assert plastic_rl.agents.PlasticA2C and plastic_rl.envs.GridMaze
print(plastic_rl.__file__, plastic_rl.envs.__file__, plastic_rl.agents.__file__, sep="\\n")
"""


def python(*arguments: object, cwd: Path, executable: Path | str = sys.executable) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [executable, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path):
    """A user's folder, with packages of their own called envs and agents."""
    folder = tmp_path / "project"
    for name in ("envs", "agents"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text('OWNER = "the user"\n')
    return folder


@pytest.mark.parametrize("statement", ["import plastic_rl", "import plastic_rl; dir(plastic_rl)"])
def test_import_is_light(tmp_path, statement):
    script = f"{statement}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    loaded = set(python("-c", script, cwd=tmp_path).split())
    assert {"plastic_rl", "gymnasium"} <= loaded
    assert not loaded & {
        "torch",
        "pygame",
        "stable_baselines3",
        "numba",
        "matplotlib",
        "scipy",
        "pandas",
        "tyro",
        "rich",
        "pooch",
        "requests",
    }


def test_the_trainer_does_without_the_command_line(tmp_path):
    script = "import plastic_rl.training.trainer\nimport sys; print(*sys.modules)"
    assert not {"tyro", "plastic_rl.settings", "stable_baselines3"} & set(python("-c", script, cwd=tmp_path).split())


def test_the_reference_engine_does_not_load_numba(tmp_path):
    script = (
        "import sys, torch, plastic_rl\n"
        "plastic_rl.PlasticRNN(2, 3, engine='reference')(torch.zeros(4, 1, 2))\n"
        "print('numba' in sys.modules)"
    )
    assert python("-c", script, cwd=tmp_path) == "False\n"


def test_public_names_exist():
    expected = {
        "LSTMCore",
        "MemorylessCore",
        "PlasticLinear",
        "PlasticRNN",
        "PlasticRNNCell",
        "PlasticState",
        "RNNCore",
        "matching_hidden_size",
        "plastic_rnn",
    }
    assert expected <= set(plastic_rl.__all__) <= set(dir(plastic_rl))
    for module in (plastic_rl, plastic_rl.ops, plastic_rl.modules, plastic_rl.tasks):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="module 'plastic_rl' has no attribute 'Plastic'"):
        plastic_rl.Plastic  # noqa: B018


def test_versions_agree():
    assert plastic_rl.__version__ == importlib.metadata.version("plastic-rl")


def test_a_users_own_envs_and_agents_are_not_in_the_way(project):
    python("-c", USE, cwd=project)


def documented_modules():
    for package in (plastic_rl.ops, plastic_rl.modules, plastic_rl.tasks):
        yield package.__name__
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            yield module.name


def test_examples_in_docstrings_run():
    results = [
        doctest.testmod(import_module(name))
        for name in ("plastic_rl.rules", "plastic_rl.training.trainer", *documented_modules())
    ]
    assert not sum(result.failed for result in results)
    assert sum(result.attempted for result in results) >= 10


def copy_of_the_source(folder: Path) -> Path:
    """Copy the source, so that nothing of an earlier build or installation gets into the next."""
    made = {ROOT: {"build", "dist", "runs", "venv"}, ROOT / "plastic_rl": {"envs", "agents"}}  # the last two are links

    def ignored(path: str, names: list[str]) -> set[str]:
        return {*shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")(path, names), *made.get(Path(path), ())}

    return Path(shutil.copytree(ROOT, folder, ignore=ignored))


def isolation() -> list[str]:
    """Build with this environment's setuptools where it is new enough, so that nothing is downloaded."""
    setuptools = importlib.metadata.version("setuptools") if find_spec("setuptools") else "0"
    return ["--no-build-isolation"] if int(setuptools.split(".")[0]) >= 77 else []


def fresh_environment(folder: Path) -> tuple[Path, Path]:
    """Make an environment that borrows everything but the package itself; return its Python and its packages."""
    venv.create(folder)
    executable = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(python("-c", show, cwd=folder, executable=executable).strip())
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)))
    return executable, site


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_of_the_source(folder / "source")
    python("-m", "pip", "wheel", "--no-deps", *isolation(), "--wheel-dir", folder, source, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def editable(tmp_path_factory):
    """A clone after ``pip install -e .``, and the Python that it is installed for."""
    folder = tmp_path_factory.mktemp("editable")
    source = copy_of_the_source(folder / "source")
    executable, _ = fresh_environment(folder / "fresh")
    # The borrowed environment may hold this package too, and must not count as an installation of it.
    install = ("-m", "pip", "install", "--no-deps", "--ignore-installed", *isolation(), "-e", source)
    python(*install, cwd=folder, executable=executable)
    return source, executable


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    info = f"plastic_rl-{plastic_rl.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"plastic_rl", info}
    assert not [name for name in names if "test" in name]
    assert {
        "plastic_rl/py.typed",
        "plastic_rl/ops/README.md",
        "plastic_rl/envs/__init__.py",
        "plastic_rl/agents/__init__.py",
        f"{info}/licenses/LICENSE",
        f"{info}/entry_points.txt",
    } <= set(names)
    for folder, package in (("plastic_rl", "plastic_rl"), ("envs", "plastic_rl/envs"), ("agents", "plastic_rl/agents")):
        sources = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py")}
        assert {f"{package}/{source}" for source in sources} <= set(names)


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment(wheel, project, tmp_path):
    executable, site = fresh_environment(tmp_path / "fresh")
    python(
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
        wheel,
        cwd=tmp_path,
        executable=executable,
    )
    files = python("-c", USE, cwd=project, executable=executable).split()
    assert all(Path(file).is_relative_to(site / "plastic_rl") for file in files)
    assert "maze" in python("-m", "plastic_rl.cli", "--help", cwd=project, executable=executable)
    script = executable.with_name("plastic-rl.exe" if os.name == "nt" else "plastic-rl")
    assert "maze" in python("--help", cwd=project, executable=script)


@pytest.mark.slow
def test_an_editable_install_follows_the_clone(editable, project):
    source, executable = editable
    files = python("-c", USE, cwd=project, executable=executable).split()
    folders = [source / name for name in ("plastic_rl", "envs", "agents")]
    assert [Path(file).resolve().parent for file in files] == [folder.resolve() for folder in folders]


@pytest.mark.slow
def test_an_editable_install_adds_one_name(editable, tmp_path):
    _, executable = editable
    script = """
import importlib.util, sys
for name in ("envs", "agents", "tests", "benchmarks", "train", "setup"):
    print(name, importlib.util.find_spec(name) is not None)
"""
    assert "True" not in python("-c", script, cwd=tmp_path, executable=executable)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "mine.py").write_text("OWNER = 'the user'\n")  # a folder without __init__.py
    script = "import plastic_rl.envs, envs.mine; print(envs.mine.OWNER, *envs.__path__, sep='\\n')"
    assert python("-c", script, cwd=tmp_path, executable=executable).split("\n") == [
        "the user",
        str(tmp_path / "envs"),
        "",
    ]


TYPED = """
import plastic_rl
import plastic_rl.agents
import plastic_rl.envs
from plastic_rl.agents import PlasticA2C
from plastic_rl.envs import GridMaze

reveal_type(plastic_rl.PlasticRNN)
reveal_type(plastic_rl.agents.PlasticA2C)
reveal_type(PlasticA2C)
reveal_type(GridMaze)
"""
TYPES = ["type[PlasticRNN]", "type[PlasticA2C]", "type[PlasticA2C]", "type[GridMaze]"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pyright") is None, reason="needs pyright, which the extra [test] installs")
@pytest.mark.parametrize("inside", [True, False], ids=["inside the clone", "outside it"])
def test_editors_find_the_packages_after_an_editable_install(editable, tmp_path, inside):
    """Pyright is what VS Code and other editors ask for types and definitions."""
    source, executable = editable
    folder = source if inside else tmp_path
    script = folder / "example_of_a_user.py"
    script.write_text(TYPED)
    command = ("-m", "pyright", "--outputjson", "--pythonpath", executable, script)
    found = json.loads(python(*command, cwd=folder))["generalDiagnostics"]
    assert not [each["message"] for each in found if each["severity"] != "information"]
    assert re.findall(r'is "(.+?)"', " ".join(each["message"] for each in found)) == TYPES


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mypy") is None, reason="needs mypy, which the extra [test] installs")
def test_mypy_finds_the_packages_after_an_editable_install(editable, tmp_path):
    _, executable = editable
    (tmp_path / "example_of_a_user.py").write_text(TYPED)
    out = python("-m", "mypy", "--python-executable", executable, "example_of_a_user.py", cwd=tmp_path)
    assert "Success: no issues found" in out
    assert "Any" not in re.findall(r'Revealed type is "([^"]*)"', out)
    assert "plastic_rl.agents.a2c.PlasticA2C" in out
    assert "plastic_rl.envs.maze.mazes.GridMaze" in out
