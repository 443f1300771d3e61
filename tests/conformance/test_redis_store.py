import pytest
from redis_servers import RedisServer, cluster, fresh_prefix, skip_without_redis

from late_rerank.stores import RedisStore
from late_rerank.testing import StoreTests

skip_without_redis()
pytestmark = pytest.mark.redis  # the server's fixture is asked for by name, which markers.py doesn't see


@pytest.fixture(scope="module")
def single_url(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers[0].url


class RedisStoreTests(StoreTests):
    """`on_error="raise"`: else a server that isn't there would look like an empty store."""

    @pytest.fixture(autouse=True)
    def _connect(self, request):
        self.url = request.getfixturevalue(self.server)
        self.opened = []
        yield
        for store in self.opened:
            store.close()

    def make_store(self):
        self.opened.append(RedisStore(self.url, prefix=fresh_prefix(), on_error="raise", timeout_s=5, check=self.check))
        return self.opened[-1]


class TestRedisStore(RedisStoreTests):
    server, check = "single_url", False


class TestRedisStoreOnACluster(RedisStoreTests):
    server, check = "cluster_url", True
