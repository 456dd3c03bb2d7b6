"""The guides: their Python examples run as they stand, their commands exist, their links lead somewhere."""

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import plastic_rl
from plastic_rl import cli

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TASKS = (DOCS / "tasks.md").read_text()


def test_the_task_of_a_user_s_own_is_learned(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", TASKS, re.MULTILINE | re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code)
    result = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    found = ast.literal_eval(result.stdout.splitlines()[-1])
    assert set(found) == {"loss", "wrong"}
    assert found["wrong"] < 0.02  # chance is a half


@pytest.mark.slow
def test_right_answers_by_trial_are_those_of_the_guide(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "reproduction.md").read_text(), re.MULTILINE | re.DOTALL)
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    first = re.findall(r"\[(0\.5|0\.49) +0\.6\d", result.stdout)
    assert len(first) == 2, result.stdout  # of the agent and of the ideal observer


@pytest.mark.parametrize(
    "flags", sorted(set(re.findall(r"plastic-rl (?:memorize|images|omniglot|evaluate)[^`#\n]*", TASKS)))
)
def test_commands_exist(flags, capsys):
    command, *words = flags.split()[1:]
    with pytest.raises(SystemExit) as end:
        cli.main([command, *words, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    for flag in re.findall(r"--[a-z-]+", flags):
        assert f"{flag} " in out


@pytest.mark.parametrize("guide", [*sorted(DOCS.glob("*.md")), *ROOT.glob("C*.md")], ids=lambda path: path.name)
def test_links_lead_somewhere(guide):
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", guide.read_text()):
        assert target.startswith("http") or (guide.parent / target).exists(), target


def test_the_files_to_touch_exist():
    files = re.findall(r"`((?:plastic_rl|envs|agents|tests)/[\w/]+\.\w+)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(files) > 10
    for file in files:
        assert "NAME" in file or (ROOT / file).exists(), file


def test_the_changelog_s_new_import_paths_exist():
    rows = re.findall(r"^\| `[^|]*\| (.*) \|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert len(rows) > 10
    for name in re.findall(r"plastic_rl[.\w]*", " ".join(rows)):
        module, _, attribute = name.rpartition(".")
        assert find_spec(name if not attribute.startswith("load_") else module) is not None, name


def test_citation_names_the_version():
    assert f"version: {plastic_rl.__version__}\n" in (ROOT / "CITATION.cff").read_text()
