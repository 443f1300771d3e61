"""`late-rerank store`: stats, verify, compact, drop, rebuild, backup, publish."""

import json
from importlib import import_module

import pytest

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.testing.fakes import FakeEncoder

pytest.importorskip("fcntl", reason="DiskStore needs POSIX")
disk = import_module("late_rerank.stores.disk")

VERBS = ["stats", "verify", "compact", "rebuild"]
TEXTS = [f"cat number {i} sat on a mat" for i in range(50)]


@pytest.fixture
def store(tmp_path):
    """50 documents of each of two encoders, one of them under two codecs."""
    path = tmp_path / "store"
    for dim, codec in ((64, "int8"), (64, "binary"), (32, "int8")):
        with Reranker(FakeEncoder(dim), codec=codec, store=path) as reranker:
            reranker.index(TEXTS)
    return path


@pytest.fixture
def call(capsys):
    """A command's JSON."""

    def call(*arguments, code=0):
        assert main(["store", *map(str, arguments), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def say(capsys):
    """What a command prints."""

    def say(*arguments, code=0):
        assert main(["store", *map(str, arguments)]) == code
        return capsys.readouterr().out

    return say


def damage(store):
    """Turn one bit in the vectors of the first document."""
    segment = min(store.glob("**/*.seg"))
    raw = bytearray(segment.read_bytes())
    raw[4096 + 48 + 100] ^= 1
    segment.write_bytes(bytes(raw))


def test_stats_tell_each_space(store, call, say):
    stats, said = call("stats", store), say("stats", store)

    assert (stats["store"], stats["n_documents"]) == (str(store), 150)
    assert {"size_bytes", "dead_bytes", "n_segments", "max_bytes"} <= stats.keys()
    assert [(space["fingerprint"], space["codec"], space["dim"], space["n_documents"]) for space in stats["spaces"]] == [
        ("fake-64-None", "int8", 64, 50),
        ("fake-64-None", "binary", 64, 50),
        ("fake-32-None", "int8", 32, 50),
    ]
    assert "documents  150\n" in said
    assert "bound      none\n" in said
    assert "fake-64-None  binary, dim 64: 50 documents" in said


def test_a_sound_store_is_verified(store, call, say):
    report = call("verify", store)

    assert (report["n_documents"], report["n_problems"], report["problems"]) == (150, 0, [])
    assert "150 documents: no problems" in say("verify", store)


def test_damage_is_told_and_compact_heals_it(store, call, say):
    damage(store)
    report, said = call("verify", store, code=1), say("verify", store, code=1)

    assert report["n_problems"] == len(report["problems"]) >= 1
    assert report["problems"][0]["where"] in said
    assert f"late-rerank store compact {store}" in said
    assert call("compact", store)["n_damaged"] == 1
    assert call("verify", store)["n_documents"] == 149
    with Reranker(FakeEncoder(), store=store) as reranker:
        assert reranker.index(TEXTS).n_encoded == 1


def test_many_problems_are_capped_in_text_and_whole_in_json(store, call, say):
    segment = min(store.glob("**/*.seg"))
    raw = segment.read_bytes()
    segment.write_bytes(raw[:4096] + bytes(byte ^ 1 for byte in raw[4096:]))
    report, said = call("verify", store, code=1), say("verify", store, code=1)

    assert report["n_problems"] == len(report["problems"])
    assert len(said.splitlines()) <= 23
    if report["n_problems"] > 20:
        assert f"and {report['n_problems'] - 20} more" in said


def test_compact_gives_back_the_room_of_deleted_documents(store, call, say):
    with disk.DiskStore(store) as opened:
        space = opened.spaces()[0]
        from late_rerank.vectors.keys import key_of

        space.delete([key_of(text) for text in TEXTS[:40]])
    report = call("compact", store)

    assert report["size_bytes_after"] < report["size_bytes_before"]
    assert (report["n_damaged"], report["n_expired"]) == (0, 0)
    assert call("stats", store)["n_documents"] == 110
    assert "0 damaged and 0 expired documents dropped" in say("compact", store)


def test_drop_frees_one_encoder(store, call, say):
    report = call("drop", store, "--fingerprint", "fake-64")

    assert (report["fingerprints"], report["n_documents"]) == (["fake-64-None"], 100)
    assert report["size_bytes"] > 0
    assert [space["fingerprint"] for space in call("stats", store)["spaces"]] == ["fake-32-None"]
    assert "dropped 50 documents" in say("drop", store, "--all")
    assert call("stats", store)["n_documents"] == 0
    assert call("drop", store, "--all")["n_documents"] == 0


@pytest.mark.parametrize(
    ("prefix", "complaint"),
    [
        ("fake-7", "no fingerprint begins with fake-7; there are: fake-32-None, fake-64-None"),
        ("fake-", "2 fingerprints begin with fake-; there are: fake-32-None, fake-64-None"),
    ],
)
def test_drop_names_the_fingerprints_where_none_or_several_fit(store, prefix, complaint, capsys, call):
    assert main(["store", "drop", str(store), "--fingerprint", prefix]) == 1
    out, err = capsys.readouterr()

    assert (out, complaint in err) == ("", True)
    assert call("stats", store)["n_documents"] == 150


def test_a_fingerprint_that_another_one_begins_with_is_no_prefix(tmp_path, call):
    for max_words in (1, 11):
        with Reranker(FakeEncoder(64, max_words), store=tmp_path / "store") as reranker:
            reranker.index(TEXTS)

    assert call("drop", tmp_path / "store", "--fingerprint", "fake-64-1")["fingerprints"] == ["fake-64-1"]


def test_drop_by_model_leaves_the_others(store, minilm, call, capsys):
    assert main(["store", "drop", str(store), "--model", "minilm"]) == 1
    assert f"no fingerprint begins with {minilm.fingerprint}" in capsys.readouterr().err
    with Reranker(minilm, store=store) as reranker:
        reranker.index(["a cat"])

    report = call("drop", store, "--model", "minilm")
    assert (report["fingerprints"], report["n_documents"]) == ([minilm.fingerprint], 1)
    assert call("stats", store)["n_documents"] == 150


def test_rebuild_makes_a_lost_index_again(store, call, say):
    for file in store.glob("index*"):
        file.unlink()
    report = call("rebuild", store)

    assert (report["n_documents"], report["n_damaged"]) == (150, 0)
    assert call("verify", store)["n_problems"] == 0
    assert call("stats", store)["n_documents"] == 150
    assert "150 documents" in say("rebuild", store)


def test_publish_writes_what_only_reads(store, tmp_path, call, say, capsys):
    published = tmp_path / "published"
    report = call("publish", store, published)

    assert (report["n_documents"], report["out"]) == (150, str(published))
    assert call("stats", published)["n_documents"] == 150
    assert "fake-64-None" in say("stats", published)
    assert call("verify", published)["n_problems"] == 0
    for arguments in (["compact"], ["rebuild"], ["drop", "--all"], ["publish"]):
        out = [str(tmp_path / "again")] if arguments == ["publish"] else []
        assert main(["store", arguments[0], str(published), *out, *arguments[1:]]) == 1
        assert "publish" in capsys.readouterr().err
    assert main(["store", "publish", str(store), str(published)]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verb", [*VERBS, "drop", "publish"])
def test_no_store_is_made_where_there_is_none(verb, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    more = {"drop": ["--all"], "publish": [str(tmp_path / "out")]}.get(verb, [])
    before = sorted(tmp_path.rglob("*"))
    for name, complaint in (
        ("nowhere", "does not exist"),
        ("empty", "is no store"),
        ("texts", "is no store"),
        ("texts/a.txt", "is no store"),
    ):
        assert main(["store", verb, str(tmp_path / name), *more]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert complaint in err
        assert "Traceback" not in err

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("verb", ["verify", "compact", "rebuild", "publish"])
def test_what_is_for_folders_says_so_of_a_server(verb, capsys):
    assert main(["store", verb, "redis://nowhere:1/0", *(["out"] if verb == "publish" else [])]) == 1
    assert f"{verb} is for stores in folders" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["stats"],
        ["polish", "x"],
        ["drop", "x"],
        ["drop", "x", "--all", "--model", "minilm"],
        ["drop", "x", "--fingerprint", ""],
        ["publish", "x"],
        ["publish", "x", " "],
        ["stats", "http://here"],
        ["stats", ""],
    ],
)
def test_wrong_use_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["store", *arguments])

    assert caught.value.code == 2
    assert "usage: late-rerank store" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["stats"], ["drop", "--all"], ["drop", "--fingerprint", "a"]])
def test_a_server_that_is_down_is_a_failure(arguments, capsys):
    pytest.importorskip("redis")
    assert main(["store", arguments[0], "redis://:secret@127.0.0.1:1/0", *arguments[1:]]) == 1
    out, err = capsys.readouterr()

    assert out == ""
    assert "Redis at redis://:***@127.0.0.1:1/0: 127.0.0.1:1 did not answer" in err
    assert ".." not in err


def test_no_password_of_a_server_is_printed(capsys):
    assert main(["store", "verify", "redis://:secret@127.0.0.1:1/0"]) == 1
    assert "secret" not in capsys.readouterr().err


def test_stats_and_drop_work_on_a_server(lasting, call, say):
    with Reranker(FakeEncoder(), store=lasting.url) as reranker:
        reranker.index(TEXTS)

    assert call("stats", lasting.url)["n_documents"] >= 50
    said = say("stats", lasting.url)
    assert "estimated    no\n" in said
    assert "last error   none\n" in said
    assert "fake-64-None  int8, dim 64: 50 documents\n" in said
    assert call("drop", lasting.url, "--fingerprint", "fake-64-None")["n_documents"] == 50
