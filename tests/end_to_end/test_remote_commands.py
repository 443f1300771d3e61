"""`late-rerank store` and `rerank` with a store in object storage: publish, stats, verify, merge, drop, clean."""

import json
import signal

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from remote_runs import ObjectServer

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.stores import DiskStore
from late_rerank.testing.fakes import FakeEncoder

TEXTS = [f"cat number {i} sat on a mat" for i in range(20)]


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ObjectServer().serving() as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture(params=["bucket", "folder"])
def url(request, server, tmp_path):
    return "s3://bucket/team/vectors" if request.param == "bucket" else f"file://{tmp_path}/remote"


@pytest.fixture
def store(tmp_path):
    for dim in (64, 32):
        with Reranker(FakeEncoder(dim), store=tmp_path / "store") as reranker:
            reranker.index(TEXTS)
    return tmp_path / "store"


@pytest.fixture
def call(capsys):
    """A command's JSON."""

    def call(*arguments, code=0):
        assert main(["store", *map(str, arguments), "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return call


def test_a_folder_is_published_looked_after_and_dropped(url, store, call):
    published = call("publish", store, url)
    assert (published["n_documents"], published["n_segments"], published["manifest"], published["out"]) == (40, 2, 1, url)
    stats = call("stats", url)
    assert (stats["store"], stats["n_documents"], stats["manifest"], len(stats["spaces"])) == (url, 40, 1, 2)
    with Reranker(FakeEncoder(64), store=store) as reranker:
        reranker.index(["another text"])
    assert call("publish", store, url)["manifest"] == 2
    checked = call("verify", url)
    assert (checked["n_records"], checked["n_documents"], checked["n_problems"]) == (61, 41, 0)
    merged = call("merge", url)
    assert (merged["n_runs_after"], merged["n_documents"]) == (2, 21)
    assert call("stats", url)["n_documents"] == 41
    fingerprint = FakeEncoder(32).fingerprint
    assert call("drop", url, "--fingerprint", fingerprint) == {"store": url, "fingerprints": [fingerprint], "n_documents": 20}
    assert call("clean", url)["n_objects"] == 0
    assert call("clean", url, "--grace-hours", 0)["n_objects"] > 0
    assert (call("verify", url)["n_problems"], call("stats", url)["n_documents"]) == (0, 21)


def test_sigterm_ends_a_publishing_as_ctrl_c_does_and_leaves_no_copy(server, store, tmp_path, monkeypatch, capsys):
    before, there = signal.getsignal(signal.SIGTERM), []

    def upload(*_, **__):
        there.extend(path.name for path in tmp_path.glob(".store-publishing-*"))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("late_rerank.stores.remote.publishing.upload", upload)
    assert main(["store", "publish", str(store), "s3://bucket/p"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert (len(there), list(tmp_path.glob(".store-publishing-*"))) == (1, [])
    assert signal.getsignal(signal.SIGTERM) is before


def test_damage_is_told_with_exit_code_1(server, store, call):
    call("publish", store, "s3://bucket/p")
    name = next(name for name in server.objects if "/segments/" in name)
    server.objects[name].raw = server.objects[name].raw[:-100] + bytes(100)
    told = call("verify", "s3://bucket/p", code=1)
    assert told["problems"][0]["where"].startswith(name.removeprefix("p/"))


def test_what_a_person_reads(url, store, capsys):
    for arguments, said in (
        (["publish", str(store), url], f"published in {url} as manifest 1"),
        (["stats", url], "manifest      1"),
        (["verify", url], "40 documents: no problems"),
        (["merge", url], "2 runs before, 2 after: 0 documents merged"),
        (["drop", url, "--all"], f"`late-rerank store clean {url}` gives the room back"),
        (["clean", url, "--grace-hours", "0"], "removed 4 objects"),
    ):
        assert main(["store", *arguments]) == 0
        assert said in capsys.readouterr().out


def test_a_published_folder_is_sent_as_it_is(url, store, tmp_path, call):
    with DiskStore(store) as opened:
        opened.publish(tmp_path / "published")
    assert call("publish", tmp_path / "published", url)["n_documents"] == 40


def test_a_published_folder_that_is_named_by_a_url_is_verified_and_else_told_by_its_path(store, tmp_path, call, capsys):
    folder = tmp_path / "published"
    call("publish", store, folder)
    assert (call("verify", folder.as_uri())["n_documents"], call("stats", folder.as_uri())["n_documents"]) == (40, 40)
    for verb, said in (("merge", f"got {folder}"), ("clean", f"got {folder}"), ("drop", f"{folder} is a published store")):
        assert main(["store", verb, folder.as_uri(), *(["--all"] if verb == "drop" else [])]) == 1
        assert said in capsys.readouterr().err
    assert call("drop", store.as_uri(), "--all")["n_documents"] == 40


@pytest.mark.parametrize("verb", ["stats", "verify", "merge", "clean", "drop"])
def test_a_url_without_a_store_is_an_error_that_says_how_to_make_one(verb, url, capsys, tmp_path):
    assert main(["store", verb, url, *(["--all"] if verb == "drop" else [])]) == 1
    assert "holds no store; `late-rerank store publish DIR" in capsys.readouterr().err
    assert not (tmp_path / "remote").exists()


def test_a_service_that_ignores_conditional_puts_is_refused(server, store, capsys):
    server.habits.ignores_conditions = True
    assert main(["store", "publish", str(store), "s3://bucket/p"]) == 1
    assert "ignores conditional puts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["merge", "."], "merge is for stores in object storage"),
        (["clean", "redis://localhost/0"], "clean is for stores in object storage"),
        (["compact", "redis://localhost/0"], "compact is for stores in folders; redis://localhost/0 is kept by its server"),
        (
            ["compact", "s3://bucket/p"],
            "compact is for stores in folders; s3://bucket/p is in object storage: `late-rerank store m",
        ),
        (["rebuild", "s3://bucket/p"], "remove the objects that `late-rerank store verify` names"),
        (["backup", "s3://bucket/p", "out"], "copy its objects"),
        (["publish", "s3://bucket/p", "out"], "copy its objects"),
    ],
)
def test_verbs_of_other_stores_say_so(arguments, said, capsys, server):
    assert main(["store", *arguments]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("given", ["s3://", "s3://me:secret@bucket/x", "s3:/bucket"])
def test_a_wrong_url_is_wrong_use(given, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["store", "stats", given])
    assert ended.value.code == 2
    assert "secret" not in capsys.readouterr().err.replace(given, "")
