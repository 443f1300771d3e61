"""Stores that fail when a test wants it."""

from late_rerank.stores import MemoryStore, Space


class FailingSpace(Space):
    """Another space, some methods of which fail."""

    def __init__(self, space, errors):
        super().__init__(space.fingerprint, space.codec)
        self.space, self.errors = space, errors

    def _do(self, name, *given):
        if name in self.errors:
            raise self.errors[name]
        return getattr(self.space, name)(*given)

    def _put(self, keys, packed):
        self._do("put", keys, packed)

    def get(self, keys):
        return self._do("get", keys)

    def missing(self, keys):
        return self._do("missing", keys)

    def delete(self, keys):
        return self._do("delete", keys)

    def __len__(self):
        return self._do("__len__")


class FailingStore(MemoryStore):
    """A store whose spaces fail in the methods named in `errors` ("get", "put", "missing", "delete"), each by its error."""

    def __init__(self, **errors):
        super().__init__()
        self.errors = errors

    def space(self, fingerprint, codec):
        return FailingSpace(super().space(fingerprint, codec), self.errors)
