from late_rerank.stores import MemoryStore
from late_rerank.testing import StoreTests


class TestMemoryStore(StoreTests):
    def make_store(self):
        return MemoryStore()
