import fcntl
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from commands import n_stored, start, wait_until

from late_rerank.cli import main
from late_rerank.maxsim import DEFAULT_SCORING
from late_rerank.ranking.relevance import FITTED

CANDIDATES = [
    {"text": "The cat sat on the mat.", "id": "cat", "score": 2.0, "metadata": {"page": 1}},
    {"text": "Rivers carry water to the sea."},
    {"text": "A kitten slept on a rug."},
]


@pytest.fixture(autouse=True)
def _model(shared_minilm):
    """Loaded once in this process; skips where it isn't installed."""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cats.md").write_text("Cats sleep most of the day.\n\n" * 3)
    (tmp_path / "rivers.txt").write_text("Rivers carry water to the sea.")
    (tmp_path / "bad.txt").write_bytes(b"\x00" * 10)
    return tmp_path


@pytest.fixture
def candidates(tmp_path):
    path = tmp_path / "candidates.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in CANDIDATES))
    return str(path)


def test_search_prints_the_best_passages(folder, capsys):
    assert main(["search", str(folder), "where does the water of a river go", "--top-k", "1"]) == 0
    out, err = capsys.readouterr()

    assert "rivers.txt#0" in out
    assert "cats.md" not in out
    assert "bad.txt: binary, not text" in err


def test_pooled_documents_are_scored_by_windows_and_have_no_best_passage(tmp_path, capsys):
    file = tmp_path / "candidates.jsonl"
    file.write_text(json.dumps({"text": "Cats sleep. " * 100}))
    spans = []
    for pooling in ("1", "2"):
        assert main(["rerank", "when do cats sleep", str(file), "--pooling", pooling, "--scoring", "proximity", "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["results"]
        assert found["score"] > 0
        spans.append(found["best_span"])
    assert spans[0] is not None
    assert spans[1] is None


def test_search_prints_json_and_nothing_else(folder, capsys):
    assert main(["search", str(folder), "sleeping animals", "--json", "--first-stage", "hybrid"]) == 0
    found = json.loads(capsys.readouterr().out)

    of_files = {"n_skipped_files", "skipped", "passed_over", "encodings", "files_by_encoding", "misdeclared"}
    assert set(found) == {"query", "model", "k", "results", "timings_ms", "store", *of_files}
    assert (found["query"], found["model"], found["k"], found["store"]) == (
        "sleeping animals",
        "minilm",
        100,
        {"hits": 0, "misses": 2},
    )
    assert set(found["timings_ms"]) == {"first_stage", "encode_query", "fetch", "encode_missing", "maxsim", "total"}
    first = found["results"][0]
    assert set(first) >= {"rank", "index", "id", "score", "relevance", "candidate_score", "text", "metadata"}
    assert (first["rank"], first["id"], first["metadata"]["path"]) == (1, "cats.md#0", "cats.md")


def test_search_shows_the_best_passage_of_a_long_document(tmp_path, capsys):
    filler = "The committee met on Tuesday and spoke about the budget for roads and schools. " * 25
    text = f"{filler}A kitten sleeps for up to twenty hours a day. {filler}"
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(json.dumps({"text": each}) for each in (text, "Bread keeps longer in a stone jar.")))
    search = ["search", str(path), "how long does a young cat sleep", "--top-k", "1"]
    assert main([*search, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert main(search) == 0
    printed = capsys.readouterr().out
    assert main([*search, "--scoring", "maxsim"]) == 0
    plain = capsys.readouterr().out

    start, end = found["best_span"]
    assert "kitten sleeps" in text[start:end]
    assert end - start < 900
    assert "A kitten sleeps" in printed
    assert "kitten" not in plain


def test_rerank_reads_a_file_or_stdin(candidates, capsys, monkeypatch):
    assert main(["rerank", "kitten", candidates, "--json"]) == 0
    from_file = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(candidates).read_bytes())))
    assert main(["rerank", "kitten", "--json", "--top-k", "2"]) == 0
    from_stdin = json.loads(capsys.readouterr().out)

    assert [row["index"] for row in from_file["results"]] == [2, 0, 1]
    assert from_file["results"][1]["candidate_score"] == 2.0
    assert from_file["results"][1]["metadata"] == {"page": 1}
    assert from_file["k"] == 3
    assert [row["index"] for row in from_stdin["results"]] == [2, 0]


def test_rerank_of_nothing_is_no_error(tmp_path, capsys):
    (tmp_path / "none.jsonl").write_text("")
    assert main(["rerank", "q", str(tmp_path / "none.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"] == []
    assert main(["rerank", "q", str(tmp_path / "none.jsonl")]) == 0
    assert "no documents" in capsys.readouterr().out


def test_eval_measures_a_beir_folder(tmp_path, capsys):
    (tmp_path / "corpus.jsonl").write_text("\n".join(json.dumps({"_id": str(i), **row}) for i, row in enumerate(CANDIDATES)))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "a small pet"}))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t2\t1\n")
    (tmp_path / "run.tsv").write_text("q\t1\t1\t3.0\nq\t2\t2\t2.0\n")
    assert main(["eval", str(tmp_path), "--first-stage", str(tmp_path / "run.tsv"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["measures"]["first_stage"]["RR@10"] == 0.5
    assert report["measures"]["reranked"] == {"nDCG@10": 1.0, "RR@10": 1.0, "R@100": 1.0}
    assert (report["dataset"], report["split"], report["n_queries"], report["k"]) == (tmp_path.name, "test", 1, 100)
    assert (report["first_stage"], report["bytes_per_token"], report["codec"]) == ("run", 388, "int8")
    assert main(["eval", str(tmp_path)]) == 0
    assert "nDCG@10" in capsys.readouterr().out


def test_doctor_tells_what_runs(capsys):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["backend"], report["format"], report["dim"]) == ("onnx", "built in", 384)
    assert (report["precision"], report["least_cosine_to_torch"]) == ("f32", 1)
    assert "with a token cosine of 1.00000 to torch" in report["why_this_backend"]
    assert Path(report["compiled"]).name == "minilm"
    assert report["proved_when_compiled"]["least_cosine"] > 0.9999
    # CI has a compiler: a kernel that no longer compiles must not go unseen.
    assert report["kernel"].startswith("native:")
    assert report["native_kernel"].startswith("available: ")
    assert (report["query_tokens"], report["window_tokens"], report["overlap_tokens"]) == (64, 300, 50)
    assert report["scoring"] == DEFAULT_SCORING.name
    assert report["known_scorings"] == {"maxsim": [], "proximity": [24, 144, 288]}
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "kernel" in printed
    assert "maxsim (whole document), proximity (best windows of 24, 144, 288 tokens)" in printed


def test_doctor_describes_a_checkpoint_and_refuses_a_wrong_one(tmp_path, capsys):
    from checkpoints import backbone, stanford

    assert main(["doctor", str(stanford(tmp_path / "model")), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["dim"], report["query_prefix"], report["document_prefix"]) == (
        "stanford",
        16,
        "[unused0] ",
        "[unused1] ",
    )
    assert report["query_expansion"]["length"] == 32
    assert "!" in report["skiplist"]

    backbone(tmp_path / "plain")
    assert main(["doctor", str(tmp_path / "plain")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no trained token projection" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serach", "x"],
        ["search", "only-a-path"],
        ["search", ".", " "],
        ["search", ".", "q", "--top-k", "0"],
        ["search", ".", "q", "--k", "many"],
        ["rerank", "q", "--codec", "int3"],
        *([*words, "--scoring", "best"] for words in (["search", ".", "q"], ["rerank", "q"], ["eval", "."], ["tune", "."])),
        ["search", ".", "q", "--first-stage", "magic"],
        ["search", "", "q"],
        ["eval", ".", "--first-stage", "nothing.tsv"],
    ],
)
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: late-rerank" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["search", "/nowhere/at/all", "q"], "does not exist"),
        (["search", "{folder}/empty", "q"], "holds no documents"),
        (["rerank", "q", "/nowhere.jsonl"], "No such file"),
        (["rerank", "q", "{folder}/cats.md"], "cats.md, line 1 is not JSON"),
        (["eval", "{folder}"], "no corpus.jsonl"),
        (["doctor", "{folder}/empty"], "no model checkpoint"),
        (["search", "{folder}", "q", "--model", "/nowhere"], "neither a folder"),
        (["rerank", "q", "{candidates}", "--scoring", "proximity", "--calibration", "{old}"], "fitted to scoring='maxsim'"),
    ],
)
def test_failing_work_exits_with_1_and_one_line(arguments, complaint, folder, candidates, capsys):
    (folder / "empty").mkdir()
    FITTED["minilm"]["maxsim"].save(old := folder / "old.json")
    assert main([argument.format(folder=folder, candidates=candidates, old=old) for argument in arguments]) == 1
    out, err = capsys.readouterr()

    assert out == ""
    assert complaint in err
    assert "Traceback" not in err


def run(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "late_rerank", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_ctrl_c_ends_with_one_word(tmp_path):
    (tmp_path / "long.jsonl").write_text("\n".join(json.dumps({"text": f"{i} word " * 20}) for i in range(5000)))
    store = tmp_path / "store"
    process = run("rerank", "q", str(tmp_path / "long.jsonl"), "--store", str(store))
    wait_until(lambda: n_stored(store), process)  # it encodes
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert out == ""
    assert err.strip() == "interrupted"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, which tells what a process has loaded")
def test_ctrl_c_while_loading_ends_with_one_word(candidates):
    process = run("rerank", "q", candidates, "--backend", "torch")
    wait_until(lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text(), process)  # it loads torch
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    # CPython dies of the signal itself where C code caught it first, as torch's import may; a shell says 130 for both.
    assert process.returncode in (130, -signal.SIGINT)
    assert err.strip() == "interrupted"


def test_a_reader_that_leaves_early_is_no_error(folder, tiny):
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-m", "late_rerank", "search", str(folder), "cats", *tiny],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    _, err = process.communicate(timeout=600)

    assert process.returncode == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_odd_characters_survive_an_ascii_terminal(tmp_path, tiny):
    (tmp_path / "odd.jsonl").write_text('{"text": "caf\\u00e9 \\ud800 \\u65e5"}')
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = run("rerank", "coffee", str(tmp_path / "odd.jsonl"), "--json", *tiny, env=environment)
    out, err = process.communicate(timeout=600)

    assert process.returncode == 0, err
    assert json.loads(out)["results"][0]["text"] == "café \ud800 日"


# The best passage after reranking, for each of the demo's questions.
ANSWERS = ["tempfile.TemporaryDirectory", "subprocess.run", "queue.PriorityQueue", "html.escape", "bisect.insort_right"]


@pytest.mark.slow("encodes 250 documents, 13 s")
def test_the_demo_answers_on_one_screen_of_a_terminal():
    began = os.times()
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    unset = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = start("demo", stdout=theirs, env={**unset, "TERM": "xterm-256color"})
    os.close(theirs)
    printed = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, suppress(OSError):  # which Linux gives where the other end has closed
        while part := terminal.read(4096):
            printed += part
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    # The lines that stay: the spinner's are erased.
    drawn = re.sub(
        r"\x1b\[\?25[lh]|\r\x1b\[(?:1A|2K)|\x1b\[2K|[^\r\n]*encoding 50 passages[^\r\n]*\r?\n?", "", printed.decode()
    )
    shown = re.sub(r"\x1b\[[\d;]*m", "", drawn).replace("\r", "").splitlines()
    assert [line.split()[1] for line in shown if line.startswith("  reranked ")] == ANSWERS
    assert max(map(len, shown)) <= 80
    assert 24 <= len(shown) <= 40
    for marked in ("takes", "too", "long", "directory", "lowest", "keep"):
        assert f"\x1b[1;32m{marked}\x1b[0m" in drawn
    ended = os.times()
    # Of two processors; by the clock a busy machine would fail.
    assert ended.children_user + ended.children_system - began.children_user - began.children_system < 60


def test_ctrl_c_while_the_arguments_are_read_is_told_like_any_other(monkeypatch, capsys):
    # `--store` loads NumPy, which takes a tenth of a second.
    monkeypatch.setattr("late_rerank.stores.opening.is_url", lambda _: signal.raise_signal(signal.SIGINT))

    assert main(["search", "here", "cats", "--store", "there"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_what_the_system_says_of_a_file_is_a_sentence(capsys):
    assert main(["rerank", "cats", "/nowhere.jsonl"]) == 1
    assert capsys.readouterr().err == "late-rerank rerank: /nowhere.jsonl: No such file or directory\n"


def test_one_document_is_one(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("A cat.")
    assert main(["index", str(tmp_path / "a.txt"), "--store", str(tmp_path / "store")]) == 0
    assert capsys.readouterr().out.startswith("1 document in ")


def test_first_stage_weight_orders_by_both(candidates, tmp_path, capsys):
    path = tmp_path / "scored.jsonl"
    path.write_text("\n".join(json.dumps({**row, "score": i}) for i, row in enumerate(CANDIDATES)))
    found = {}
    for weight in ("0", "auto", "1000"):
        assert main(["rerank", "a cat on a mat", str(path), "--first-stage-weight", weight, "--json"]) == 0
        results = json.loads(capsys.readouterr().out)["results"]
        found[weight] = [(result["index"], result["score"]) for result in results]

    assert [index for index, _ in found["1000"]] == [2, 1, 0]
    assert found["0"][0][0] == 0
    assert sorted(found["0"]) == sorted(found["1000"]) == sorted(found["auto"])
    assert main(["rerank", "a cat", candidates, "--first-stage-weight", "1"]) == 1
    assert "candidates[1] has no score" in capsys.readouterr().err


def test_search_and_context_take_a_first_stage_weight(folder, capsys):
    for command in (["search", "--json"], ["context"]):
        assert main([command[0], str(folder), "where does water go", *command[1:], "--first-stage-weight", "auto"]) == 0
        assert "Rivers carry water" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        main(["search", str(folder), "water", "--first-stage-weight", "-1"])
    assert caught.value.code == 2


ESCAPES = "\x1b]0;pwned\x07\x1b[2J\x9b31m\x08\x7f \u202eevil"


@pytest.fixture
def hostile(tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / f"cats{ESCAPES}.txt").write_text(f"Cats sleep {ESCAPES}\rred.")
    (folder / b"n\xff\nn.txt".decode("utf-8", "surrogateescape")).write_text(f"Dogs bark {ESCAPES} \x00 but this is skipped.")
    (folder / "rows.jsonl").write_text(json.dumps({"id": f"a{ESCAPES}\n", "text": f"cats {ESCAPES} \ud800"}))
    return folder


@pytest.mark.parametrize("on", ["pipe", "terminal"])
def test_no_command_sends_a_terminal_what_a_document_says(on, hostile, tmp_path, monkeypatch):
    master, slave = os.openpty() if on == "terminal" else os.pipe()
    os.set_blocking(master, False)
    monkeypatch.setenv("TERM", "xterm")
    printed = b""
    with os.fdopen(slave if on == "terminal" else os.dup(slave), "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        store = tmp_path / f"store{ESCAPES}"
        for arguments in (
            ["search", hostile, f"cats {ESCAPES}"],
            ["search", hostile, "cats", "--json"],
            ["context", hostile, "cats"],
            ["rerank", "cats", hostile / "rows.jsonl"],
            ["explain", f"cats {ESCAPES}", "--text", f"cats {ESCAPES}"],
            ["index", hostile, "--store", store],
            ["store", "stats", store],
            ["store", "verify", store, "--json"],
        ):
            assert main([str(argument) for argument in arguments]) == 0
            stream.flush()
            printed += os.read(master, 1 << 20)

    text = printed.decode()
    text = re.sub(
        r"\r\n|\r(?=(\S+: |Indexing|Reading))|\x1b\[(\d+;?)*m|\x1b\[A", "\n", text
    )  # lines, bars and styles of our own
    assert "pwned" in text
    assert set(re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)) == set()


def test_what_a_folder_has_besides_text_is_told(folder, tmp_path_factory, capsys):
    (folder / "picture.png").write_bytes(b"")
    assert main(["search", str(folder), "cats"]) == 0
    assert "passed over 1 file of kinds that aren't read: 1 .png\n" in capsys.readouterr().err

    lines = tmp_path_factory.mktemp("lines") / "a.jsonl"
    lines.write_text('{"text": "cats"}')
    for arguments in (["search", str(lines.parent), "cats"], ["index", str(lines.parent), "--store", str(folder / "store")]):
        assert main(arguments) == 1
        assert capsys.readouterr().err.endswith(f"1 .jsonl. JSON Lines are read where named: pass {lines}\n")


@pytest.mark.parametrize(("redirected", "code"), [(">&-", 1), ("2>&-", 0), (">/dev/full", 1), ("| true", 0)])
@pytest.mark.parametrize(
    "command", ["rerank cats {file}", pytest.param("explain cats --text cats", marks=pytest.mark.slow("a process each, 12 s"))]
)
def test_output_that_nobody_takes_ends_in_order(redirected, code, command, candidates):
    command = f"{sys.executable} -m late_rerank {command.format(file=candidates)} {redirected}"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], stderr=subprocess.PIPE, text=True, timeout=600)

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == code
