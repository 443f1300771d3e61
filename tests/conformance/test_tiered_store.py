import pytest
from raw_stores import in_folder, in_memory

from late_rerank.stores import DiskStore, MemoryStore, PublishedStore, TieredStore
from late_rerank.testing import StoreTests


class TestTieredStore(StoreTests):
    def make_store(self):
        return TieredStore(MemoryStore(), MemoryStore())

    def raw_documents(self, store, space):
        return in_memory(store.far, store.far.space(space.fingerprint, space.codec))

    def reopened(self, store):
        return None

    def read_only(self, store):
        return None


class TestTieredStoreWhoseNearOneHoldsLittle(TestTieredStore):
    """Most documents come from the far store, or from both in one answer."""

    def make_store(self):
        return TieredStore(MemoryStore(max_bytes=2000), MemoryStore())


class TestTieredStoreOfFolders(StoreTests):
    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path):
        self.folders = [tmp_path / "near", tmp_path / "far"]
        yield
        self.opened.close()

    def make_store(self):
        self.opened = TieredStore(*map(DiskStore, self.folders))
        return self.opened

    def raw_documents(self, store, space):
        near, far = (in_folder(folder, space) for folder in self.folders)
        assert near == far
        return far

    def reopened(self, store):
        return TieredStore(*map(DiskStore, self.folders))

    def read_only(self, store):
        published = [folder.with_name(f"{folder.name}-published") for folder in self.folders]
        store.near.publish(published[0])
        store.far.publish(published[1])
        return TieredStore(*map(PublishedStore, published))
