"""Worker: a split -> its receipt. It is made in the process that is to encode, and loads the model once."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from typing import Any

from late_rerank.bulk.destinations import destination_at
from late_rerank.bulk.job import Job
from late_rerank.bulk.reading import SplitDocuments
from late_rerank.bulk.receipts import Receipt
from late_rerank.bulk.scratch import worker_scratch
from late_rerank.bulk.splits import Split
from late_rerank.stores import Space
from late_rerank.vectors.indexing import DamagedPicturesError, IndexReport, index_documents


class Worker:
    """Encodes splits. Threads may share it.

    Args:
        job: As `Job.to_json` gives it.
        name: The job's name, by which its receipts are found.

    Raises:
        ModelError: If the model can't be found here.
        IncompatibleError: If it is another model than the driver's.
        StoreError: If the store can't be used.
    """

    def __init__(self, job: Mapping[str, Any], name: str) -> None:
        # An engine that says nothing of threads has a worker for each core. Without a bound each would start one for each core.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._job = Job.from_json(job)
        self._identity = self._job.identity()
        self._destination = destination_at(self._job.store)
        self._scratch = worker_scratch()
        self._encoder = self._job.encoder()
        self._codec = self._job.codec()
        self._destination.begin(name, self._job.space)

    def task(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Do a split, given as `Split.to_json` gives it. Return the receipt that counts, which another worker may have written.

        Raises:
            ValueError: If a line or a row is damaged; names it.
            OSError: If a file can't be read.
            StoreError: If the store can't keep the documents.
        """
        split = Split.from_json(given)
        name = split.name(self._identity)
        known = self._destination.known(name, self._identity)
        if known is not None:
            return known.to_json()
        began = time.perf_counter()
        with self._scratch.folder(name) as folder:
            files, work = folder / "files", folder / "work"
            files.mkdir()
            work.mkdir()
            documents = SplitDocuments(split, files, images=self._job.images, encoding=self._job.encoding)
            filled = self._destination.fill(work, lambda space: self._index(space, documents, split))
        report = filled.report
        receipt = Receipt(
            split=name,
            identity=self._identity,
            place=split.place,
            n_documents=report.n_documents,
            n_encoded=report.n_encoded,
            n_cached=report.n_cached,
            n_tokens=report.n_tokens,
            size_bytes=report.size_bytes,
            seconds=round(time.perf_counter() - began, 3),
            worker=f"{platform.node()}:{os.getpid()}",
            skipped=[list(each) for each in documents.skipped],
            runs=filled.runs,
            witnesses=filled.witnesses,
            encodings=[list(each) for each in documents.encodings.items()],
            misdeclared=[list(each) for each in documents.misdeclared],
        )
        return self._destination.keep(receipt).to_json()

    def _index(self, space: Space, documents: SplitDocuments, split: Split) -> IndexReport:
        try:
            return index_documents(
                self._encoder, self._codec, space, documents, batch_size=self._job.batch_size, progress=False
            )
        except DamagedPicturesError as error:
            if error.report is None:
                raise
            documents.skipped += [(split.place, str(each)) for each in error.damaged.values()]
            return error.report
