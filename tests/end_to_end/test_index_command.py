"""`late-rerank index`, and what other commands gain by its store, with the real model and real processes."""

import json
import os
import re
import signal
import warnings
from importlib import import_module

import pytest
from commands import start, wait_until

from late_rerank.cli import main

pytest.importorskip("fcntl", reason="DiskStore needs POSIX")
disk = import_module("late_rerank.stores.disk")

N_DOCUMENTS = 128 * 8


@pytest.fixture(autouse=True)
def _model(shared_minilm):
    """Loaded once in this process; skips where it isn't installed."""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "cats.md").write_text("Cats sleep most of the day.\n")
    (folder / "rivers.txt").write_text("Rivers carry water to the sea.")
    (folder / "empty.txt").write_text("")
    (folder / "bad.txt").write_bytes(b"\x00" * 10)
    return str(folder)


@pytest.fixture
def store(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def many(tmp_path):
    """Documents that take seconds."""
    return write(tmp_path / "many.jsonl", N_DOCUMENTS)


@pytest.fixture
def some(tmp_path):
    """Documents of three batches."""
    return write(tmp_path / "some.jsonl", 300)


def write(path, n_documents):
    path.write_text("\n".join(json.dumps({"text": f"Document {i} tells of rivers and cats. " * 6}) for i in range(n_documents)))
    return str(path)


@pytest.fixture
def call(capsys):
    """A command's JSON."""

    def call(*arguments, code=0):
        assert main([*map(str, arguments), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


def n_stored(store):
    if not disk.is_store(store):
        return 0
    with disk.DiskStore(store) as opened:
        return opened.stats()["n_documents"]


def test_the_first_run_encodes_and_the_second_nothing(folder, store, call):
    first, second = call("index", folder, "--store", store), call("index", folder, "--store", store)

    assert (first["n_documents"], first["n_encoded"], first["n_cached"], first["n_skipped_files"]) == (2, 2, 0, 1)
    assert first["n_tokens"] > 10
    assert first["size_bytes"] == first["n_tokens"] * 388
    assert (second["n_documents"], second["n_encoded"], second["n_cached"], second["n_tokens"]) == (2, 0, 2, 0)
    assert (first["store"], first["model"], first["codec"]) == (store, "minilm", "int8")
    assert {"path", "fingerprint", "seconds"} <= first.keys()


def test_what_was_done_is_said(folder, store, capsys):
    assert main(["index", folder, "--store", store]) == 0
    out, err = capsys.readouterr()

    assert "2 documents" in out
    assert "2 encoded" in out
    assert "0 already there" in out
    assert store in out
    assert err.strip().endswith("bad.txt: binary, not text")
    assert len(err.strip().splitlines()) == 1


def test_new_and_changed_files_alone_are_encoded(folder, store, call):
    call("index", folder, "--store", store)
    for name, text in (("new.txt", "A new file."), ("rivers.txt", "Rivers carry boats.")):
        with open(os.path.join(folder, name), "w") as file:  # noqa: PTH118, PTH123
            file.write(text)
    report = call("index", folder, "--store", store)

    assert (report["n_documents"], report["n_encoded"], report["n_cached"]) == (3, 2, 1)


def test_search_finds_what_was_indexed_and_keeps_what_was_not(folder, store, call):
    call("index", os.path.join(folder, "cats.md"), "--store", store)  # noqa: PTH118
    searches = [call("search", folder, "sleeping pets", "--store", store)["store"] for _ in range(2)]
    kept_nowhere = call("search", folder, "sleeping pets")["store"]

    assert searches == [{"hits": 1, "misses": 1}, {"hits": 2, "misses": 0}]
    assert kept_nowhere == {"hits": 0, "misses": 2}


def test_another_codec_on_the_same_store_misses(folder, store, call):
    call("index", folder, "--store", store)

    assert call("search", folder, "pets", "--store", store, "--codec", "binary")["store"] == {"hits": 0, "misses": 2}
    assert call("search", folder, "pets", "--store", store)["store"] == {"hits": 2, "misses": 0}


def test_another_model_on_the_same_store_misses(folder, store, tmp_path, call):
    from checkpoints import stanford

    model = stanford(tmp_path / "model")
    call("index", folder, "--store", store)

    assert call("index", folder, "--store", store, "--model", model)["n_encoded"] == 2
    assert call("index", folder, "--store", store)["n_encoded"] == 0
    assert len(call("store", "stats", store)["spaces"]) == 2


def test_rerank_and_eval_keep_their_documents(tmp_path, store, call):
    rows = [{"_id": str(i), "text": text} for i, text in enumerate(["A cat sat.", "A river flows.", "A kitten slept."])]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "a cat or a river"}))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("q\t0\t1\n")
    first = call("eval", tmp_path, "--store", store)
    reranked = call("rerank", "pets", tmp_path / "corpus.jsonl", "--store", store)

    assert reranked["store"] == {"hits": 3, "misses": 0}
    assert call("eval", tmp_path, "--store", store)["measures"] == first["measures"]
    assert n_stored(store) == 3


@pytest.mark.slow("encodes a thousand documents, 36 s")
def test_killed_and_started_again_it_encodes_only_the_rest(many, store, call):
    process = start("index", many, "--store", store)
    wait_until(lambda: n_stored(store) >= 128, process)
    process.kill()
    out, _ = process.communicate()
    left = n_stored(store)

    assert (process.returncode, out) == (-signal.SIGKILL, "")
    assert 128 <= left < N_DOCUMENTS
    report = call("index", many, "--store", store)
    assert (report["n_cached"], report["n_encoded"]) == (left, N_DOCUMENTS - left)
    assert call("store", "verify", store)["n_problems"] == 0


def test_interrupted_it_says_so_and_keeps_what_was_stored(many, store, call):
    process = start("index", many, "--store", store)
    wait_until(lambda: n_stored(store) >= 128, process)
    before = n_stored(store)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out, err.strip()) == (130, "", "interrupted")
    assert before <= n_stored(store) < N_DOCUMENTS
    assert call("store", "verify", store)["n_problems"] == 0


@pytest.mark.slow("two processes, 28 s")
def test_two_processes_fill_one_store(some, store, call):
    processes = [start("index", some, "--store", store, "--json") for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert (process.returncode, err) == (0, "")
        report = json.loads(out)
        assert report["n_encoded"] + report["n_cached"] == 300

    assert n_stored(store) == 300
    assert call("store", "verify", store)["n_problems"] == 0
    assert call("index", some, "--store", store)["n_encoded"] == 0


def test_a_bar_is_drawn_on_a_terminal_only(some, store):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # with no width tqdm draws nothing
    process = start("index", some, "--store", store, "--json", stderr=theirs)
    os.close(theirs)
    drawn = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(4096):
                drawn += part
        except OSError:  # what Linux gives where the other end has closed
            pass
    out, _ = process.communicate(timeout=60)

    assert json.loads(out)["n_encoded"] == 300
    assert b"Indexing: 100%" in drawn
    assert re.search(rb"128 documents, [1-9][0-9,]*\.[0-9]/s", drawn)


@pytest.mark.parametrize(
    "arguments",
    [
        ["index", "{folder}"],
        ["index", "{folder}", "--store", " "],
        ["index", "", "--store", "{store}"],
        ["index", "{folder}", "--store", "http://here"],
        ["search", "{folder}", "q", "--store", "redis:/x"],
        ["index", "{folder}", "--store", "redis://here:99999"],
        ["index", "{folder}", "--store", "redis://:se/cret@here"],
        ["index", "{folder}", "--store", "postgresql://me:se/cret@here/db"],
        ["index", "{folder}", "--store", "{store}", "--codec", "int3"],
    ],
)
def test_wrong_use_exits_with_2_and_makes_no_store(arguments, folder, store, capsys):
    with pytest.raises(SystemExit) as caught:
        main([argument.format(folder=folder, store=store) for argument in arguments])

    assert caught.value.code == 2
    assert "usage: late-rerank" in capsys.readouterr().err
    assert not os.path.exists(store)  # noqa: PTH110


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{folder}/nowhere", "--store", "{store}"], "does not exist"),
        (["{folder}/empty.txt", "--store", "{store}"], "holds no documents"),
        (["{folder}/bad.txt", "--store", "{store}"], "binary, not text"),
        (["{folder}", "--store", "{folder}/cats.md"], "cats.md"),
        (["{folder}", "--store", "{folder}"], "is no store"),
        (["{folder}", "--store", "{store}", "--model", "/nowhere"], "neither a folder"),
    ],
)
def test_failing_work_exits_with_1_and_a_message(arguments, complaint, folder, store, capsys):
    assert main(["index", *(argument.format(folder=folder, store=store) for argument in arguments)]) == 1
    out, err = capsys.readouterr()

    assert out == ""
    assert complaint in err
    assert "Traceback" not in err


@pytest.mark.parametrize("there", [False, True], ids=["no folder", "empty folder"])
@pytest.mark.parametrize("command", ["index", "search", "rerank", "eval"])
def test_a_wrong_model_leaves_no_store(command, there, folder, store, tmp_path, capsys):
    if there:
        os.mkdir(store)  # noqa: PTH102
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"_id": "1", "text": "A cat."}))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "a cat"}))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("q\t1\t1\n")
    given = {
        "index": [folder],
        "search": [folder, "cats"],
        "rerank": ["cats", str(tmp_path / "corpus.jsonl")],
        "eval": [str(tmp_path)],
    }

    assert main([command, *given[command], "--store", store, "--model", "/nowhere"]) == 1
    assert "/nowhere" in capsys.readouterr().err
    assert os.path.exists(store) == there  # noqa: PTH110
    assert not there or os.listdir(store) == []  # noqa: PTH208


def test_a_store_that_cannot_be_is_told_before_the_model_is_loaded(folder, capsys):
    assert main(["index", folder, "--store", folder, "--model", "/nowhere"]) == 1
    assert "is no store" in capsys.readouterr().err


class TestRedis:
    @pytest.fixture(autouse=True)
    def _redis(self):
        pytest.importorskip("redis")

    DOWN = "redis://:secret@127.0.0.1:1/0"

    @pytest.mark.parametrize("more", [[], ["--json"]])
    @pytest.mark.parametrize("where", [DOWN, "postgresql://:secret@127.0.0.1:1/db"])
    def test_what_is_not_kept_is_a_failure(self, folder, where, more, capsys, monkeypatch):
        monkeypatch.setattr("late_rerank.cli.opening._PATIENT_RETRIES", 1)
        assert main(["index", folder, "--store", where, *more]) == 1
        out, err = capsys.readouterr()

        assert out == ""
        assert where.replace("secret", "***") in err
        assert "refused" in err
        assert "secret" not in err

    def test_a_server_that_gets_full_midway_is_a_failure(self, server, folder, capsys):
        server.cli("CONFIG", "SET", "maxmemory", "1")

        assert main(["index", folder, "--store", server.url]) == 1
        assert "raise its maxmemory" in capsys.readouterr().err

    def test_a_query_goes_on_with_a_warning(self, folder, capsys):
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # here they are errors
            assert main(["search", folder, "pets", "--store", self.DOWN, "--json"]) == 0
        out, err = capsys.readouterr()

        assert json.loads(out)["store"] == {"hits": 0, "misses": 2}
        assert err.count("warning: Redis at redis://:***@127.0.0.1:1/0") == 1

    def test_a_second_run_encodes_nothing_and_no_password_is_printed(self, tmp_path, folder, call, capsys):
        from redis_servers import RedisServer, skip_without_redis

        skip_without_redis()
        with RedisServer(tmp_path / "redis", "--requirepass", "secret") as server:
            url = f"redis://:secret@127.0.0.1:{server.port}"
            first, second = call("index", folder, "--store", url), call("index", folder, "--store", url)
            assert main(["index", folder, "--store", url]) == 0
            said = capsys.readouterr().out
            stats = call("store", "stats", url)

        assert (first["n_encoded"], second["n_encoded"], second["n_cached"]) == (2, 0, 2)
        assert first["store"] == stats["store"] == f"redis://:***@127.0.0.1:{server.port}"
        assert "secret" not in said
        assert [(space["fingerprint"], space["n_documents"]) for space in stats["spaces"]] == [(first["fingerprint"], 2)]


def test_a_damaged_line_is_named_and_what_came_before_is_kept(tmp_path, store, call, capsys):
    lines = [json.dumps({"text": f"Cat {i}."}) for i in range(130)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "damaged"]))
    assert main(["index", str(tmp_path / "a.jsonl"), "--store", store]) == 1

    assert "line 131 is not JSON" in capsys.readouterr().err
    assert n_stored(store) == 128


def test_into_a_published_store_it_fails_and_search_goes_on(folder, store, tmp_path, call, capsys):
    call("index", os.path.join(folder, "cats.md"), "--store", store)  # noqa: PTH118
    published = str(tmp_path / "published")
    call("store", "publish", store, published)

    assert main(["index", folder, "--store", published]) == 1
    assert "read-only" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # here they are errors
        assert main(["search", folder, "pets", "--store", published, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["store"] == {"hits": 1, "misses": 1}
    assert err.count("warning: the store can't keep new documents") == 1
