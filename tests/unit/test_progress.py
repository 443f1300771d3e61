"""Progress bars: tqdm's where one is wanted, and nothing of tqdm where none is."""

import subprocess
import sys

from late_rerank.observing.progress import progress_bar


def test_without_a_bar_items_are_gone_through_all_the_same():
    assert list(progress_bar(iter("abc"), progress=False, unit=" letters")) == ["a", "b", "c"]


def test_without_a_bar_it_takes_what_a_bar_takes():
    with progress_bar(total=3, desc="Reading", progress=False) as bar:
        bar.update(2 - bar.n)
        bar.set_description("Writing")
        bar.set_postfix(loss="1.0")
    assert list(bar) == []


def test_without_a_bar_tqdm_is_not_loaded():
    code = (
        "import sys; from late_rerank import Reranker; from late_rerank.testing.fakes import FakeEncoder\n"
        "Reranker(FakeEncoder()).index(['a'])\n"
        "assert 'tqdm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_with_a_bar_it_is_tqdms():
    assert type(progress_bar("abc")).__name__ == "tqdm"
