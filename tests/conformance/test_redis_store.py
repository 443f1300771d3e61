import pytest
from raw_stores import in_redis
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

    def make_store(self, prefix=None):
        prefix = prefix or fresh_prefix()
        self.opened.append(RedisStore(self.url, prefix=prefix, on_error="raise", timeout_s=5, check=self.check))
        return self.opened[-1]

    def raw_documents(self, store, space):
        return in_redis(self.url, store.prefix, space, cluster=self.server == "cluster_url")

    def reopened(self, store):
        return self.make_store(store.prefix)

    def read_only(self, store):
        return None


class TestRedisStore(RedisStoreTests):
    server, check = "single_url", False


class TestRedisStoreOnACluster(RedisStoreTests):
    server, check = "cluster_url", True
