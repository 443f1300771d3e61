"""What RedisStore decides without a server."""

import subprocess
import sys

import pytest

from late_rerank.stores import RedisStore, trouble
from late_rerank.stores.redis.address import shown_url
from late_rerank.stores.trouble import Breaker

URL = "redis://localhost:6379/0"


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(trouble.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_breaker_leaves_a_server_alone_twice_as_long_each_time_up_to_a_bound(clock):
    breaker, pauses = Breaker(1.0), []
    for _ in range(8):
        breaker.failed()
        failed_at = clock.now
        while not breaker.lets_through():
            clock.now += 0.5
        pauses.append(clock.now - failed_at)

    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_a_breaker_lets_one_caller_try_after_a_pause(clock):
    breaker = Breaker(1.0)
    breaker.failed()
    clock.now += 1

    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert [breaker.lets_through() for _ in range(3)] == [True, True, True]


def test_calls_that_fail_together_are_one_failure(clock):
    breaker = Breaker(1.0)
    for _ in range(10):
        breaker.failed()
    clock.now += 1

    assert breaker.lets_through()


def test_no_pause_is_no_breaker():
    breaker = Breaker(0.0)
    breaker.failed()

    assert breaker.lets_through()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, URL),
        ("rediss://user:secret@h:1/2", "rediss://user:***@h:1/2"),
        ("redis://:se%40cret@h", "redis://:***@h"),
        ("redis://h?password=secret&db=1", "redis://h?password=***&db=1"),
        ("rediss://h?ssl_password=secret", "rediss://h?ssl_password=***"),
        ("unix://user:secret@/tmp/s?db=1", "unix://user:***@/tmp/s?db=1"),
        ("unix:///tmp/s", "unix:///tmp/s"),
        ("redis://", "redis://"),
        ("redis:///1", "redis:///1"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "localhost:6379",
        "",
        "redis:/h",
        None,
        "redis://:se/cret@h",
        "redis://:12/cret@h",
        "redis://:12#cret@h",
        "redis://:12?cret@h",
        "redis://h/cret",
        "redis://h:70000",
        "unix://",
    ],
)
def test_a_wrong_url_is_refused_without_repeating_it(url):
    with pytest.raises(ValueError, match="url must") as error:
        RedisStore(url)
    assert "cret" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None  # what urllib said holds it too


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"prefix": ""}, "prefix"),
        ({"prefix": "{tag}"}, "prefix"),
        ({"prefix": "a*"}, "prefix"),
        ({"ttl_s": 0}, "ttl_s"),
        ({"ttl_s": "5"}, "ttl_s"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": "1"}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"retries": -1}, "retries"),
        ({"retries": 1.5}, "retries"),
        ({"pause_s": 31}, "pause_s"),
        ({"pause_s": "1"}, "pause_s"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_a_wrong_argument_is_refused(options, word):
    with pytest.raises(ValueError, match=word):
        RedisStore(URL, **options)


@pytest.mark.parametrize(("url", "got"), [("", "an empty text"), ("localhost:6379", "a text without"), (None, "NoneType")])
def test_what_was_given_instead_of_a_url_is_told(url, got):
    with pytest.raises(ValueError, match=f", got {got}; for example redis://"):
        RedisStore(url)


def test_a_cluster_has_one_database_and_no_unix_socket():
    for url in ("redis://h/1", "unix:///tmp/s"):
        with pytest.raises(ValueError, match="cluster"):
            RedisStore(url, cluster=True)


def test_without_the_package_redis_the_other_stores_work_and_this_one_says_what_to_install():
    script = f"""
import sys
sys.modules["redis"] = None
from late_rerank.errors import MissingDependencyError
from late_rerank.stores import MemoryStore, RedisStore
MemoryStore()
try:
    RedisStore({URL!r})
except MissingDependencyError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.strip().endswith('pip install "late-rerank[redis]"')


def test_stores_load_without_redis():
    script = "import late_rerank.stores, sys; print('redis' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
