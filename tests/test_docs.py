"""The guides: their Python examples run as they stand, their commands exist, their links lead somewhere."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plastic_rl import cli

DOCS = Path(__file__).parents[1] / "docs"
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


@pytest.mark.parametrize("guide", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_links_lead_somewhere(guide):
    for target in re.findall(r"\]\(([^)#:]+)\)", guide.read_text()):
        assert (DOCS / target).exists(), target
