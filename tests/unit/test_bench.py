import json
import platform
import re
import subprocess
from importlib.util import find_spec

import numpy as np
import pytest

from late_rerank import maxsim
from late_rerank.codecs import codec
from late_rerank.evaluate.bench import kernel as bench_kernel
from late_rerank.evaluate.bench import peers, provenance, turns
from late_rerank.evaluate.bench.base import Peer
from late_rerank.evaluate.bench.kernel import compare
from late_rerank.evaluate.bench.peers import PEERS
from late_rerank.evaluate.bench.workload import exact_scores, random_workload, top10_overlap
from late_rerank.maxsim import NumpyKernel, reference

CODECS = [codec(name) for name in ("int8", "int4", "binary", "float16", "float32")]
INSTALLED = [
    name
    for name, module in {"numkong": "numkong", "maxsim-cpu": "maxsim_cpu"}.items()
    if find_spec(module)  # the extra `bench`
]
SECOND = 1.0


def peer(scores=None, *, seconds=SECOND, exact=True, off=0.0):
    def build(work, stack):
        computed = exact_scores(work.query, work.documents) if scores is None else scores
        return Peer(computed + off, lambda: seconds, exact)

    return build


@pytest.fixture(scope="module")
def compared():
    return compare(10, 48, CODECS, n_turns=2)


def test_a_row_has_the_fields_of_the_contract(compared):
    fields = {"k", "dim", "codec", "level", "median_ms", "ratio", "scattered_ms", "top10_overlap"}
    native = maxsim.why_not_native() is None

    assert [(row["k"], row["dim"], row["codec"]) for row in compared.kernel] == [(10, 48, codec.name) for codec in CODECS]
    for row in compared.kernel:
        assert set(row) == fields | ({"peak_percent"} if native else set())
        assert {"numpy", "torch", "sentence-transformers", *INSTALLED} == set(row["ratio"])
        assert row["level"] == (maxsim.kernel().level if native else "numpy")
        assert min(row["median_ms"], row["scattered_ms"], row.get("peak_percent", 1), *row["ratio"].values()) > 0
    assert json.loads(json.dumps(compared.kernel)) == compared.kernel


def test_ratios_are_ratios_of_the_medians(compared):
    seconds = {row["name"]: row["median_ms"] for row in compared.peers if "median_ms" in row}

    for row in compared.kernel:
        assert row["ratio"] == pytest.approx({name: ms / row["median_ms"] for name, ms in seconds.items()}, rel=0.01)


def test_a_peers_time_is_the_median_of_its_turns():
    samples = iter([0.5, 4.0, 0.25])
    row = compare(
        10,
        48,
        CODECS[:1],
        n_turns=3,
        peers={"theirs": lambda work, stack: Peer(peer()(work, stack).scores, lambda: next(samples))},
    )

    assert row.peers == [{"k": 10, "dim": 48, "name": "theirs", "median_ms": 500.0, "top10_overlap": 1.0}]
    assert row.kernel[0]["ratio"]["theirs"] == pytest.approx(500 / row.kernel[0]["median_ms"], rel=0.01)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (peer(off=0.1), "off by up to 0.1 from float64"),
        (peer(off=np.nan), "off by up to nan"),
        (peer(scores=np.zeros(3)), "scores of shape (3,) for 10 documents"),
    ],
)
def test_a_wrong_peer_is_reported_and_not_timed(build, reason):
    both = compare(10, 48, CODECS[:1], n_turns=1, peers={"wrong": build, "right": peer()})
    wrong, right = both.peers

    assert reason in wrong["refused"]
    assert "median_ms" not in wrong
    assert list(both.kernel[0]["ratio"]) == ["right"]
    assert right["median_ms"] == 1000 * SECOND


def test_a_peer_that_claims_no_exactness_is_timed_with_its_overlap():
    k = 40
    backwards = np.arange(float(k))
    work = random_workload(k, 48)
    row = compare(k, 48, CODECS[:1], n_turns=1, peers={"rough": peer(scores=backwards, exact=False)}).peers[0]

    assert row["median_ms"] == 1000 * SECOND
    assert row["top10_overlap"] == top10_overlap(backwards, exact_scores(work.query, work.documents)) < 1


def test_a_peer_that_cannot_take_part_says_why(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    names = ["numkong", "maxsim-cpu"]
    absent = compare(10, 48, CODECS[:1], n_turns=1, peers={name: PEERS[name] for name in names})

    assert [row["refused"] for row in absent.peers] == ['not installed: pip install "late-rerank[bench]"'] * 2
    assert absent.kernel[0]["ratio"] == {}


def test_a_peer_whose_process_dies_takes_nobody_along(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: True)
    monkeypatch.setattr(peers, "_serve_maxsim_cpu", print)  # ends without an answer
    dead = compare(10, 48, CODECS[:1], n_turns=1, peers={"maxsim-cpu": PEERS["maxsim-cpu"], "numpy": PEERS["numpy"]})

    assert dead.peers[0]["refused"] == "its process crashed"
    assert list(dead.kernel[0]["ratio"]) == ["numpy"]


@pytest.mark.skipif("maxsim-cpu" not in INSTALLED, reason='needs maxsim-cpu: pip install "late-rerank[bench]"')
def test_maxsim_cpu_is_not_asked_for_what_crashes_it():
    row = compare(10, 192, CODECS[:1], n_turns=1, peers={"maxsim-cpu": PEERS["maxsim-cpu"]}).peers[0]

    assert "beyond dim 128" in row["refused"]


def test_a_wrong_kernel_of_ours_is_not_timed(monkeypatch):
    class Wrong(NumpyKernel):
        def score(self, query, documents):
            return super().score(query, documents) + np.float32(0.1)

    monkeypatch.setattr(bench_kernel.maxsim, "kernel", Wrong)
    with pytest.raises(ValueError, match="'numpy' is wrong on int8"):
        compare(10, 48, CODECS, n_turns=1, peers={})


def test_without_the_native_kernel_there_is_no_peak(monkeypatch):
    monkeypatch.setattr(bench_kernel.maxsim, "kernel", NumpyKernel)
    row = compare(10, 48, CODECS[:1], n_turns=1, peers={}).kernel[0]

    assert row["level"] == "numpy"
    assert "peak_percent" not in row


def test_the_workload_is_the_same_in_every_process():
    first, second = random_workload(12, 48), random_workload(12, 48)

    np.testing.assert_array_equal(first.documents.values, second.documents.values)
    assert first.documents.lengths.min() >= 40
    assert first.documents.lengths.max() <= 300
    assert first.multiply_adds == 32 * 48 * first.documents.lengths.sum()
    np.testing.assert_allclose(np.linalg.norm(first.documents.values, axis=1), 1, rtol=1e-5)


def test_exact_scores_are_the_references():
    work = random_workload(4, 16)

    np.testing.assert_allclose(
        exact_scores(work.query, work.documents), reference.score(work.query.values, work.rows()), rtol=1e-12
    )


def test_all_contenders_take_every_turn_in_changing_order():
    taken = []
    medians = turns.medians({name: lambda name=name: taken.append(name) or len(taken) for name in "abcd"}, n_turns=8)
    rounds = ["".join(taken[i : i + 4]) for i in range(0, len(taken), 4)]

    assert [sorted(order) for order in rounds] == [list("abcd")] * 8
    assert len(set(rounds)) > 1
    assert medians["a"] == np.median([i + 1 for i, name in enumerate(taken) if name == "a"])


def test_only_a_checkout_of_ours_has_a_commit(monkeypatch, tmp_path):
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "first"]
    for arguments in (["init", "--quiet"], commit):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    installed, checked_out = (root / "late_rerank" / "evaluate" / "bench" for root in (tmp_path / "site-packages", tmp_path))
    (tmp_path / "pyproject.toml").write_text("")
    installed.mkdir(parents=True)

    monkeypatch.setattr(provenance, "__file__", str(installed / "provenance.py"))
    assert provenance.commit() == ""
    monkeypatch.setattr(provenance, "__file__", str(checked_out / "provenance.py"))
    assert re.fullmatch("[0-9a-f]{7,}", provenance.commit())


def test_the_machine_has_no_host_name(monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "a-host")

    assert "a-host" not in provenance.machine()
    assert provenance.machine().endswith(f"Python {platform.python_version()}, one thread")


def test_encoding_is_measured_under_each_backend_that_is_installed(minilm):
    from late_rerank.encode.backends.names import installed_engines
    from late_rerank.evaluate.bench.encoding import QUERY, measure

    rows = measure(["Cats sleep all day.", "Rivers run to the sea."], n_turns=1)

    assert [row["backend"] for row in rows] == [*installed_engines(), "torch"]
    assert min(min(row["query_ms"], row["documents_ms"], *row["ratio"].values()) for row in rows) > 0
    assert rows[-1]["ratio"]["query"] == rows[-1]["least_cosine"] == 1
    assert all(row["fast_query_ms"] > 0 for row in rows[:-1])
    assert all(row["ratio"]["full_over_fast"] > 0 for row in rows[:-1])
    assert len(minilm.encode_query([QUERY]).values) == 32


def test_end_to_end_has_the_fields_of_the_contract(minilm, monkeypatch):
    from late_rerank.encode import TextEncoder
    from late_rerank.evaluate.bench.end_to_end import measure

    encoded, encode = [], TextEncoder.encode_document
    monkeypatch.setattr(TextEncoder, "encode_document", lambda self, texts: encoded.append(len(texts)) or encode(self, texts))
    result = measure(k=3, n_turns=2)

    assert (result["k"], result["model"], result["dim"], result["backend"]) == (3, "minilm", 384, "onnx")
    times = ["encode_query_ms", "maxsim_ms", "other_ms", "cached_ms", "uncached_ms", "cross_encoder_ms"]
    assert min(result[name] for name in times) > 0
    assert all(result["fast"][name] > 0 for name in times[:4])
    # Once ahead of time, and again at each uncached turn; the encoder's own probes are of one text.
    assert [n for n in encoded if n == 3] == [3, 3, 3]
