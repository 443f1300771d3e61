"""Token vectors in files: append-only segments, and an index of where each document lies. ../FORMAT.md specifies every byte.

In: keys and packed documents. Out: the same documents, read from files that are mapped into memory. Local disks and POSIX only.
"""

import sys

from late_rerank.errors import StoreError

if sys.platform == "win32":
    raise StoreError("a store in a folder needs POSIX file locks; on Windows use it in WSL, or take MemoryStore or RedisStore")

from late_rerank.stores.disk.backup import BackupReport
from late_rerank.stores.disk.compaction import CompactReport
from late_rerank.stores.disk.format_file import has_segments, is_store
from late_rerank.stores.disk.opening import open_folder
from late_rerank.stores.disk.published import PublishedStore
from late_rerank.stores.disk.publishing import PublishReport
from late_rerank.stores.disk.rebuild import RebuildReport, rebuild
from late_rerank.stores.disk.store import DiskStore
from late_rerank.stores.disk.verification import Problem, VerifyReport

__all__ = [
    "BackupReport",
    "CompactReport",
    "DiskStore",
    "Problem",
    "PublishReport",
    "PublishedStore",
    "RebuildReport",
    "VerifyReport",
    "has_segments",
    "is_store",
    "open_folder",
    "rebuild",
]
