"""The package as it is installed and imported."""

import doctest
import importlib.metadata
import os
import pkgutil
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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built in a copy of the source, where nothing of an earlier build can get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "build", "dist", "venv", "__pycache__", "*.egg-info")
    at_root = {str(ROOT): {"runs"}}  # the package has a folder of that name, too
    copied = folder / "source"
    shutil.copytree(ROOT, copied, ignore=lambda at, names: left_out(at, names) | at_root.get(str(at), set()))
    setuptools = importlib.metadata.version("setuptools") if find_spec("setuptools") else "0"
    isolation = ["--no-build-isolation"] if int(setuptools.split(".")[0]) >= 77 else []
    python("-m", "pip", "wheel", "--no-deps", *isolation, "--wheel-dir", folder, copied, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


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
    """Everything but the package itself is borrowed from this environment."""
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=True)
    executable = fresh / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python("-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path, executable=executable)
    site = Path(
        python(
            "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path, executable=executable
        ).strip()
    )
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)))

    files = python("-c", USE, cwd=project, executable=executable).split()
    assert all(Path(file).is_relative_to(site / "plastic_rl") for file in files)
    assert "maze" in python("-m", "plastic_rl.cli", "--help", cwd=project, executable=executable)
    script = executable.with_name("plastic-rl.exe" if os.name == "nt" else "plastic-rl")
    assert "maze" in python("--help", cwd=project, executable=script)
