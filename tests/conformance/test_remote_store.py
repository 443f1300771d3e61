import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from committing_store import CommittingStore
from raw_stores import in_objects

from late_rerank.stores import MemoryStore, TieredStore
from late_rerank.stores.remote import RemoteStore
from late_rerank.testing import StoreTests


class TestRemoteStore(StoreTests):
    """Every put is a run of its own, and every deletion a run of tombstones."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path / "remote"
        self.url = f"file://{self.folder}"

    def make_store(self):
        return CommittingStore(self.url)

    def raw_documents(self, store, space):
        return in_objects(self.folder, space)

    def reopened(self, store):
        return CommittingStore(self.url)

    def read_only(self, store):
        return RemoteStore(self.url)


class TestRemoteStoreBehindANearOne(TestRemoteStore):
    """Its keys are read by blocks, as those of a large store are."""

    @pytest.fixture(autouse=True)
    def _opened(self, _folder, monkeypatch):
        monkeypatch.setattr("late_rerank.stores.remote.keys._WHOLE_BYTES", 0)
        yield
        self.opened.close()

    def make_store(self):
        self.opened = TieredStore(MemoryStore(max_bytes=2000), CommittingStore(self.url), behind=True)
        return self.opened

    def reopened(self, store):
        return TieredStore(MemoryStore(), CommittingStore(self.url), behind=True)
