import pytest
from postgres_servers import PostgresServer, bouncer, fresh_schema, skip_without_pgbouncer, skip_without_postgres
from raw_stores import in_postgres

from late_rerank.stores import PostgresStore
from late_rerank.testing import StoreTests

skip_without_postgres()
pytestmark = pytest.mark.postgres  # the server's fixture is asked for by name, which markers.py doesn't see


@pytest.fixture(scope="module")
def server():
    with PostgresServer() as started:
        yield started


@pytest.fixture(scope="module")
def direct(server):
    return server.url


@pytest.fixture(scope="module")
def pooled(server):
    skip_without_pgbouncer()
    with bouncer(server) as url:
        yield url


class PostgresStoreTests(StoreTests):
    """`on_error="raise"`: else a server that isn't there would look like an empty store."""

    @pytest.fixture(autouse=True)
    def _connect(self, request):
        self.url, self.server = request.getfixturevalue(self.way), request.getfixturevalue("server")
        self.opened = []
        yield
        for store in self.opened:
            store.close()

    def make_store(self, schema=None):
        schema = schema or fresh_schema()
        self.opened.append(PostgresStore(self.url, schema=schema, on_error="raise", timeout_s=30, check=self.check))
        return self.opened[-1]

    def raw_documents(self, store, space):
        return in_postgres(self.server, store.schema, space)

    def reopened(self, store):
        return self.make_store(store.schema)

    def read_only(self, store):
        return None


class TestPostgresStore(PostgresStoreTests):
    way, check = "direct", False


class TestPostgresStoreThroughPgBouncer(PostgresStoreTests):
    """Transaction pooling: each statement may run in another session, which forgets everything after it."""

    way, check = "pooled", True
