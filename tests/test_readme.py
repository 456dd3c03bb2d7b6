"""Every Python example in the README runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^### ([^\n]+)\n.*?^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_there_is_an_example_of_each_level():
    assert [title for title, _ in SNIPPETS] == [
        "The op", "The layer", "Neuromodulation", "The output layer", "The trained classifier", "The environment",
        "The cue tasks", "The agent", "The trained agents",
    ]  # fmt: skip


@pytest.mark.parametrize(("title", "code"), SNIPPETS, ids=[title for title, _ in SNIPPETS])
def test_example_runs(title, code, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(code)
    result = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https:)([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()
