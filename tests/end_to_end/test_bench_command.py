import json
import re

import pytest

from late_rerank.cli import bench, main


@pytest.fixture(scope="module")
def report():
    return bench._in_one_thread(quick=True, end_to_end=False, progress=False)


@pytest.mark.slow("measures, 12 s")
def test_bench_prints_one_json_object(capfd):
    assert main(["bench", "--quick", "--skip-end-to-end", "--json"]) == 0
    report = json.loads(capfd.readouterr().out)

    assert set(report) == {"machine", "commit", "versions", "kernel", "peers", "encoding", "end_to_end"}
    assert report["encoding"] is report["end_to_end"] is None
    assert {(row["k"], row["dim"]) for row in report["kernel"]} == {(100, 128)}
    assert [row["codec"] for row in report["kernel"]] == ["int8", "int4", "binary", "float16", "float32"]
    assert set(report["kernel"][0]["ratio"]) >= {"numpy", "torch", "sentence-transformers"}


@pytest.mark.slow("measures, 10 s")
def test_bench_prints_tables(report, monkeypatch, capsys):
    end_to_end = dict.fromkeys(
        ["cached_ms", "encode_query_ms", "maxsim_ms", "other_ms", "uncached_ms", "cross_encoder_ms"], 2.5
    )
    end_to_end |= {
        "fast": {**end_to_end, "cached_ms": 1.2},
        "k": 100,
        "n_tokens": 18000,
        "model": "minilm",
        "codec": "int8",
        "kernel": "numpy",
    }
    refused = {"k": 100, "dim": 128, "name": "theirs", "refused": "off by a lot"}
    encoding = {"backend": "openvino", "precision": "bf16", "least_cosine": 0.9999, "n_documents": 100}
    encoding |= {"fast_query_ms": 0.9, "query_ms": 2.5, "documents_ms": 1200.0, "ratio": {"query": 4.2, "documents": 3.9}}
    peers = [*report["peers"], refused]
    whole = {**report, "peers": peers, "encoding": [encoding], "end_to_end": end_to_end}
    monkeypatch.setattr(bench, "_in_one_thread", lambda **options: whole)
    assert main(["bench"]) == 0
    out = capsys.readouterr().out

    assert "others' time over ours" in out
    assert "theirs: off by a lot" in out
    assert "18,000 tokens" in out
    assert "openvino" in out
    assert re.search(r"the same, fast query encoder *│ *1\.2", out)


def test_a_failed_measurement_exits_with_1_and_one_line(monkeypatch, capfd):
    monkeypatch.setattr(bench, "_measure", print)  # ends without an answer
    assert main(["bench", "--json"]) == 1
    err = capfd.readouterr().err

    assert err == "late-rerank bench: the process that measures ended with code 0\n"
