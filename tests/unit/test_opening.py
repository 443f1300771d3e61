"""A place -> the store that lies there, and who closes it."""

from importlib import import_module
from itertools import product
from pathlib import Path

import pytest

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.cli.options import store_place
from late_rerank.errors import ModelError, StoreError
from late_rerank.stores import MemoryStore, open_store
from late_rerank.stores.folders import folder_at
from late_rerank.stores.opening import is_url, would_be_made
from late_rerank.testing.fakes import FakeEncoder

pytest.importorskip("fcntl", reason="DiskStore needs POSIX")
disk = import_module("late_rerank.stores.disk")


class Closing(MemoryStore):
    def __init__(self):
        super().__init__()
        self.n_closed = 0

    def close(self):
        self.n_closed += 1
        super().close()


@pytest.fixture
def opened(monkeypatch):
    """What `Reranker(store=a place)` opened, whatever the place."""
    store, places = Closing(), []
    monkeypatch.setattr("late_rerank.stores.opening.open_store", lambda where: places.append(where) or store)
    store.places = places
    return store


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_made_and_opened_again(tmp_path, kind):
    place = kind(tmp_path / "deep" / "store")
    with Reranker(FakeEncoder(), store=place) as reranker:
        assert isinstance(reranker.store, disk.DiskStore)
        reranker.index(["a cat"])
    with Reranker(FakeEncoder(), store=place) as reranker:
        assert reranker.rerank("cat", ["a cat"]).n_hits == 1


def test_a_published_store_is_opened_to_read(tmp_path):
    with disk.DiskStore(tmp_path / "store") as store:
        Reranker(FakeEncoder(), store=store).index(["a cat"])
        store.publish(tmp_path / "out")
    with open_store(tmp_path / "out") as published:
        assert isinstance(published, disk.PublishedStore)
        assert Reranker(FakeEncoder(), store=published).rerank("cat", ["a cat"]).n_hits == 1


def test_urls_open_redis(monkeypatch):
    redis = pytest.importorskip("late_rerank.stores.redis", exc_type=ImportError)
    places = []
    monkeypatch.setattr(redis, "RedisStore", lambda url: places.append(url) or MemoryStore())
    urls = ["redis://here:6379/0", "rediss://here/0", "unix:///run/redis.sock"]
    for url in urls:
        open_store(url)

    assert places == urls


@pytest.mark.parametrize(
    "place",
    [
        "http://here",
        "redis:/x",
        "redis:here",
        "REDIS://here",
        "unix:/run/redis.sock",
        "file:/x",
        "s3:bucket/x",
        "ftp://x",
        "",
        " ",
    ],
)
def test_other_urls_are_refused_and_what_is_taken_is_said(place):
    with pytest.raises(ValueError, match=r"a folder, or a URL: redis://HOST:PORT/0"):
        open_store(place)
    with pytest.raises(ValueError, match=r"a folder, or a URL"):
        Reranker(FakeEncoder(), store=place)


@pytest.mark.parametrize("where", ["redis:/:secret@h", "REDIS://:secret@h", "http://user:secret@h"])
def test_a_wrong_url_is_refused_without_its_password(where):
    with pytest.raises(ValueError, match="got a place that begins with") as error:
        is_url(where)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("place", ["a", "./a", "/a/b", "C:\\a", "C:/a", "a:b", "redis", "redis/x", Path("redis://x")])
def test_everything_else_is_a_folder(place):
    assert not is_url(place)


@pytest.mark.parametrize("place", ["somewhere", Path("somewhere")])
def test_a_reranker_closes_the_store_that_it_opened(opened, place):
    with Reranker(FakeEncoder(), store=place):
        assert opened.n_closed == 0

    assert (opened.places, opened.n_closed) == ([place], 1)


def test_a_reranker_never_closes_a_store_that_it_was_given():
    store = Closing()
    with Reranker(FakeEncoder(), store=store):
        pass
    with pytest.raises(ModelError):
        Reranker("no such/model/here", store=store)

    assert store.n_closed == 0


def test_an_opened_store_is_closed_where_the_model_cannot_be_made(opened, tmp_path):
    (tmp_path / "something").touch()  # a store that is there is opened before the model is loaded
    with pytest.raises(ModelError):
        Reranker("no such/model/here", store=tmp_path)

    assert opened.n_closed == 1


def test_an_opened_store_is_closed_where_its_space_cannot_be_opened(opened, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(opened, "space", fail)
    with pytest.raises(KeyboardInterrupt):
        Reranker(FakeEncoder(), store="somewhere")

    assert opened.n_closed == 1


def test_wrong_names_are_refused_before_a_store_is_made(tmp_path):
    for arguments in ({"codec": "int3"}, {"kernel": "fast"}, {"on_missing": "ignore"}):
        with pytest.raises(ValueError, match=next(iter(arguments.values()))):
            Reranker(FakeEncoder(), store=tmp_path / "store", **arguments)

    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("place", ["~/vectors", Path("~/vectors")])
def test_a_tilde_is_the_users_home(place, monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    with Reranker(FakeEncoder(), store=place) as reranker:
        reranker.index(["a"])
    assert not would_be_made(place)
    assert (list(Path().iterdir()), disk.is_store(tmp_path / "vectors")) == ([], True)


def test_the_home_of_nobody_is_refused_and_a_folder_of_that_name_is_told_apart(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r'a folder of that name is "\./~no-such-user/x"'):
        open_store("~no-such-user/x")
    assert list(Path().iterdir()) == []
    place = "./~no-such-user/x"
    for _ in range(2):
        with open_store(folder_at(place)) as store:
            assert store.path == tmp_path / "~no-such-user" / "x"
        place = "~no-such-user/x"  # now it is there
    assert folder_at(folder_at("./~/x")) == tmp_path / "~" / "x"


def test_the_stores_own_classes_and_what_they_write_know_a_tilde(monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    with disk.DiskStore("~/store") as store:
        Reranker(FakeEncoder(), store=store).index(["a cat"])
        store.backup("~/backup")
        store.publish(Path("~/published"))
    disk.PublishedStore("~/published").close()
    assert disk.rebuild("~/backup").n_documents == 1
    assert list(Path().iterdir()) == []


def test_a_folder_that_may_not_be_entered_is_a_store_error(monkeypatch, tmp_path):
    def refused(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("late_rerank.stores.disk.format_file.is_store", refused)
    with pytest.raises(StoreError, match=r"can't be read: .*Permission denied"):
        open_store(tmp_path)


OTHER_PLACES = ["redis://localhost/0", "postgresql://localhost/x", ":memory:", "~no-such-user/x"]


@pytest.mark.parametrize(
    ("verb", "place"),
    [("backup", "s3://bucket/x"), ("backup", "file:///x"), *product(["backup", "publish"], OTHER_PLACES)],
)
def test_what_commands_write_goes_to_folders_only(verb, place, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with disk.DiskStore("store"):
        pass
    with pytest.raises(SystemExit) as ended:
        main(["store", verb, "store", place])
    assert (ended.value.code, [path.name for path in Path().iterdir()]) == (2, ["store"])
    assert place[:5] in capsys.readouterr().err


def test_the_word_for_memory_makes_no_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with Reranker(FakeEncoder(), store=":memory:") as reranker:
        reranker.index(["a"])
        assert isinstance(reranker.store, MemoryStore)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("place", ["memory://", "memory:", "sqlite:///x.db", "sqlite:x.db", "file:x", "https:x"])
def test_places_of_other_kinds_are_no_folders_and_the_word_for_memory_is_told(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="a store is ':memory:', a folder, or"):
        Reranker(FakeEncoder(), store=place)
    assert list(Path().iterdir()) == []


def test_the_command_line_knows_a_tilde_too(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store_place("~/vectors") == str(tmp_path / "vectors")
