from late_rerank.stores import MemoryStore, TieredStore
from late_rerank.testing import StoreTests


class TestTieredStore(StoreTests):
    def make_store(self):
        return TieredStore(MemoryStore(), MemoryStore())


class TestTieredStoreWhoseNearOneHoldsLittle(StoreTests):
    """Most documents come from the far store, or from both in one answer."""

    def make_store(self):
        return TieredStore(MemoryStore(max_bytes=2000), MemoryStore())
