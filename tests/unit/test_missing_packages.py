"""A part whose package is an extra says what to install, before its work begins."""

import re
import sys

import pytest

from late_rerank import Candidate, Reranker, maxsim, train
from late_rerank.cli import main
from late_rerank.errors import MissingDependencyError, check_installed
from late_rerank.evaluate import Judged, compare, crossed, difference, evaluate
from late_rerank.evaluate.bench import benchmark
from late_rerank.evaluate.tuning import tune
from late_rerank.stores.existing import LanceVectors, PostgresVectors
from late_rerank.testing.fakes import FakeEncoder

RUN = {"q": [Candidate("cats sat", "a"), Candidate("a dog", "b")]}
QUERIES, QRELS = {"q": "cat"}, {"q": {"a": 1}}


def evaluated():
    evaluate(Reranker(FakeEncoder()), RUN, QUERIES, QRELS)


def compared():
    compare(crossed(codec=["int8"]), Judged(RUN, QUERIES, QRELS), load=lambda *_: pytest.fail("a model was loaded"))


def tested():
    difference({"q1": 0.1, "q2": 0.2}, {"q1": 0.3, "q2": 0.1})


def benchmarked():
    benchmark(quick=True, end_to_end=False, progress=False)


CASES = [
    ("ir_measures", "eval", evaluated),
    ("scipy", "eval", evaluated),
    ("ir_measures", "eval", compared),
    ("ir_measures", "eval", lambda: tune(Judged(RUN, QUERIES, QRELS))),
    ("scipy", "eval", tested),
    ("torch", "torch", lambda: Reranker(FakeEncoder(), kernel="torch")),
    ("torch", "torch", lambda: maxsim.kernel("auto", "cuda")),
    ("torch", "bench", benchmarked),
    ("sentence_transformers", "bench", benchmarked),
    ("torch", "train", lambda: train.adapt),
    ("transformers", "train", lambda: train.adapt),
    ("lancedb", "lancedb", lambda: LanceVectors("folder", "docs", fingerprint="x")),
    ("psycopg", "postgres", lambda: PostgresVectors("postgresql://localhost/x", "docs", dim=8, fingerprint="x")),
]


@pytest.mark.parametrize(
    ("package", "extra", "use"), CASES, ids=[f"{package}-{extra}-{i}" for i, (package, extra, _) in enumerate(CASES)]
)
def test_the_message_names_the_package_and_ends_in_the_pip_line(package, extra, use, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    line = rf'needs the package {package!r}\. Install it: pip install "late-rerank\[{extra}\]"$'
    with pytest.raises(MissingDependencyError, match=line):
        use()


def test_two_equal_runs_need_no_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert difference({"q1": 0.1, "q2": 0.2}, {"q1": 0.1, "q2": 0.2}).p == 1


@pytest.mark.parametrize(("command", "package"), [("eval", "ir_measures"), ("eval", "scipy"), ("tune", "ir_measures")])
def test_a_command_says_so_before_it_reads_anything(command, package, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    assert main([command, str(tmp_path / "no-such-folder")]) == 1
    assert re.fullmatch(
        rf'late-rerank {command}: .* needs the package {package!r}\. Install it: pip install "late-rerank\[eval\]"\n',
        capsys.readouterr().err,
    )


def test_a_mere_folder_of_that_name_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "no_such_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match="needs the package 'no_such_package'"):
        check_installed("a part", "eval", "json", "no_such_package")
