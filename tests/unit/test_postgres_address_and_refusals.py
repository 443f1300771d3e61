"""What PostgresStore decides without a server."""

import socket
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.errors import StoreConnectionError
from late_rerank.stores import PostgresStore, open_store
from late_rerank.stores.postgres.address import shown_url
from late_rerank.stores.postgres.hosts import addresses_of, is_name
from late_rerank.stores.postgres.refusals import loss, refusal
from late_rerank.stores.postgres.statements import binaries, integer, integer_of, number

URL = "postgresql://me@localhost:5432/db"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, URL),
        ("postgres://user:secret@h:1/db", "postgres://user:***@h:1/db"),
        ("postgresql://u:se%40cret@h", "postgresql://u:***@h"),
        ("postgresql://u:secret@h1:1,h2:2/db?target_session_attrs=read-write", None),
        ("postgresql:///db?host=/var/run/postgresql&password=secret", None),
        ("postgresql://h/db?sslpassword=secret&sslmode=require", None),
        ("postgresql://h/db?oauth_client_secret=x&user=me", "postgresql://h/db?oauth_client_secret=***&user=me"),
        ("postgresql://h/db?passfile=secret&sslkey=secret&options=secret&port=5", None),
        ("postgresql://h/db?pass%77ord=secret", "postgresql://h/db?password=***"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert shown_url(url) == (shown or url.replace("secret", "***"))


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "localhost:5432",
        "",
        "postgresql:/h",
        None,
        "postgresql://me:se/cret@h/db",
        "postgresql://me:12#cret@h/db",
        "postgresql://me:12?cret@h/db",
        "postgresql://h/db/cret",
        "postgresql://[cret/db",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="url must") as error:
        PostgresStore(url)
    assert "cret" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None  # what urllib said holds it too


@pytest.mark.parametrize(
    ("url", "got"),
    [("", "an empty text"), ("localhost:5432", "a text without"), (None, "NoneType"), (b"x", "bytes"), ("http://h", "'http'")],
)
def test_what_was_given_instead_of_a_url_is_told(url, got):
    with pytest.raises(ValueError, match=f', got {got}; for example "?postgresql://'):
        PostgresStore(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{URL}?surprise=1", r'url is refused by libpq: invalid URI query parameter: "surprise"'),
        ("postgresql://me:se%cret@h/db", r"url is refused by libpq; see"),
    ],
)
def test_what_libpq_refuses_is_refused_without_the_password(url, said):
    with pytest.raises(ValueError, match=said) as error:
        open_store(url)
    assert "cret" not in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"schema": ""}, "schema"),
        ({"schema": 'x"; DROP'}, "schema"),
        ({"schema": "Upper"}, "schema"),
        ({"schema": "a" * 41}, "schema"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"ttl_s": "5"}, "ttl_s"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": "1"}, "timeout_s"),
        ({"timeout_s": None}, "timeout_s"),
        ({"write_timeout_s": float("nan")}, "write_timeout_s"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.0}, "retries"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_connections": 1.5}, "max_connections"),
        ({"max_connections": True}, "max_connections"),
        ({"pause_s": 31}, "pause_s"),
        ({"pause_s": "1"}, "pause_s"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_a_wrong_argument_is_refused(options, word):
    with pytest.raises(ValueError, match=rf"^{word} must"):
        PostgresStore(URL, **options)


@pytest.mark.parametrize(
    ("code", "again", "down", "advice"),
    [
        ("40P01", True, False, ""),  # a deadlock
        ("57P01", True, True, ""),  # an ended session
        ("57014", False, True, "statement_timeout"),
        ("53300", True, True, "max_connections"),
        ("53100", False, False, "disk is full"),
        ("25006", False, False, "primary"),
        ("42501", False, False, "may not"),
        ("XX999", False, False, ""),
    ],
)
def test_a_refusal_says_whether_to_try_again_and_whether_to_leave_the_server_alone(code, again, down, advice):
    failed = refusal("h:1", code, "some words.")
    assert (failed.again, not failed.refused) == (again, down)
    assert failed.text.startswith("h:1 refused: some words.")
    assert advice in failed.text


@pytest.mark.parametrize(
    ("said", "hung", "again", "advice"),
    [
        ("no answer in time", True, False, "too slow or hangs"),
        ("Connection refused", False, True, "Is it running"),
        ('FATAL:  password authentication failed for user "me"', False, False, "another user or password"),
        ("FATAL:  the database system is starting up", False, True, "just now"),
        ("FATAL:  the database system is not yet accepting connections", False, True, "just now"),
        ("FATAL:  la base est en cours de démarrage", False, True, ""),  # a server that speaks French
    ],
)
def test_a_session_that_is_lost_or_refused_says_what_to_do(said, hung, again, advice):
    failed = loss("h:1", said, hung=hung)
    assert (failed.again, failed.refused) == (again, False)
    assert advice in failed.text
    assert ("Is it running" in failed.text) == (advice == "Is it running")


@pytest.mark.parametrize("host", ["", "127.0.0.1", "::1", "fe80::1%eth0", "/run/postgresql", "@abstract", "C:\\run"])
def test_addresses_and_sockets_are_not_looked_up(host):
    assert not is_name(host)
    assert is_name("db.internal")
    assert is_name("localhost")


def test_a_host_is_looked_up_and_one_that_is_none_is_an_error_of_the_system():
    assert set(addresses_of("localhost", 60)) & {"127.0.0.1", "::1"}
    with pytest.raises(OSError, match="label"):
        addresses_of("x" * 64 + ".example", 60)


def test_a_host_that_is_not_there_is_told(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(StoreConnectionError, match=r'host name "absent" to address: .*not known\. Is it running'):
        PostgresStore("postgresql://me@absent/db", on_error="raise", retries=0)


@given(st.integers(-(2**31), 2**31 - 1))
def test_whole_numbers_are_read_as_they_were_written(value):
    assert integer_of(integer(value).raw) == number(integer(value).raw) == value


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_an_array_has_its_size_and_each_item_after_its_length(values):
    raw = binaries(values).raw
    dimensions, has_null, kind = struct.unpack_from("!iiI", raw)
    assert (dimensions, has_null, kind) == (min(1, len(values)), 0, 17)
    rest = raw[12:]
    if values:
        assert struct.unpack_from("!ii", rest) == (len(values), 1)
        rest = rest[8:]
    read = []
    while rest:
        size = int.from_bytes(rest[:4], "big")
        read.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    assert read == values


def test_without_psycopg_or_its_libpq_the_other_stores_work_and_this_one_says_what_to_install():
    script = f"""
import sys
print("psycopg" in sys.modules)
from late_rerank.errors import MissingDependencyError
from late_rerank.stores import MemoryStore, PostgresStore
print("psycopg" in sys.modules)
class NoLibpq:
    def find_spec(self, name, path, target=None):
        if name == "psycopg":
            raise ImportError("no pq wrapper available")
for spoil in (lambda: sys.modules.update(psycopg=None), lambda: sys.meta_path.insert(0, NoLibpq())):
    sys.modules.pop("psycopg", None)
    spoil()
    MemoryStore()
    try:
        PostgresStore({URL!r})
    except MissingDependencyError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    line = "PostgresStore needs the package 'psycopg'. Install it: pip install \"late-rerank[postgres]\""
    assert run.stdout.splitlines() == ["False", "False", line, line]
