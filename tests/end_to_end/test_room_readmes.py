"""The examples of each page print what the page says."""

import json
import os
import re
import subprocess
import sys

import pytest
from readmes.pages import ROOT, blocks, name_of, pages, printed_by
from readmes.sessions import fits

# The wrappers' pages are tested with their frameworks, block after block.
PAGES = [page for page in pages() if not page.is_relative_to(ROOT / "integrations")]
EXAMPLES = [
    pytest.param(block.text, id=f"{name_of(page)}-{i}")
    for page in PAGES
    for i, block in enumerate(block for block in blocks(page.read_text(encoding="utf-8")) if block.language == "python")
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_prints_what_its_comments_say(code, tmp_path):
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.rstrip("\n").splitlines() == printed_by(code)


@pytest.mark.slow("trains the real model for an epoch, 75 s")
def test_the_example_of_training_prints_what_its_comments_say(minilm, tmp_path):
    pytest.importorskip("peft", reason='pip install "late-rerank[train]"')
    (code,) = (block.text for block in blocks(page_of("train")) if block.language == "python needs a BEIR folder")
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    texts = {f"d{i}": f"Machine {i} of the mill makes part {i * 7} from steel number {i % 5}." for i in range(40)}
    queries = {f"q{i}": f"which machine makes part {i * 7}" for i in range(40)}
    for name, rows in (("corpus", texts), ("queries", queries)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in rows.items())
        (beir / f"{name}.jsonl").write_text("".join(lines))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(40))
    (beir / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")

    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == printed_by(code)


def test_the_example_of_a_broken_retriever_fails_as_its_page_says(tmp_path):
    code, session = (block.text for block in blocks(page_of("testing"))[:2])
    command, said = session.split("\n", 1)
    (tmp_path / command.split()[-1]).write_text(code)
    arguments = [*command.removeprefix("$ pytest ").split(), "-p", "no:cacheprovider"]
    # Where either is set, pytest prints each failure's message too.
    terminal = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=tmp_path, env=terminal, capture_output=True, text=True, check=False
    )

    assert fits(run.stdout, re.sub(r"in [\d.]+s", "in ...s", said)), run.stdout


def page_of(room):
    return (ROOT / "late_rerank" / room / "README.md").read_text(encoding="utf-8")
