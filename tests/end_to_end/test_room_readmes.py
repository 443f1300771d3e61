"""The example of each room's README prints what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "late_rerank"
EXAMPLES = [
    pytest.param(code, id=f"{readme.parent.name}-{i}")
    for readme in sorted(PACKAGE.glob("*/README.md"))
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_prints_what_its_comments_say(code, tmp_path):
    printed = [
        line[2:] for line in code.splitlines() if line == "#" or line.startswith("# ")
    ]  # a comment on code stands beside it
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.rstrip("\n").splitlines() == printed


@pytest.mark.parametrize("readme", sorted(PACKAGE.glob("*/README.md")), ids=lambda readme: readme.parent.name)
def test_its_links_lead_somewhere(readme):
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", readme.read_text(encoding="utf-8")):
        assert (readme.parent / link).exists(), link
