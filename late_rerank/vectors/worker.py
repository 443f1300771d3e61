"""A batch is encoded: by the calling thread, or by a thread in the background."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Thread

from late_rerank.processes.forks import StoppedError, background_work, stoppable
from late_rerank.types import Encodable
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.jobs import Batch, Done, Failed, Job, Outcome

# Encodes and keeps documents, given as key -> text or picture. Of some keys, named beside them, it asks the store first.
Encode = Callable[[Mapping[bytes, Encodable], set[bytes]], list[KeyedDocuments]]


@dataclass(frozen=True)
class Worker:
    """Encodes batches. A thread in the background goes on with the next batch, and ends when there is none.

    Args:
        encode: Encodes documents.
        is_unwanted: Whether a batch in the background should be stopped before its next call of an engine.
        next_after: Finishes a batch with its outcome, and gives the thread its next one, or None.
    """

    encode: Encode
    is_unwanted: Callable[[Batch], bool]
    next_after: Callable[[Batch, Outcome], Batch | None]

    def start(self, batch: Batch) -> bool:
        """Encode a batch, and all that follow it, in a thread of its own.

        Returns:
            False if there can be no thread: the interpreter is ending, or the system has no more of them.
        """
        thread = Thread(target=self._encode_all, args=[batch], name="late-rerank encodes", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        return True

    def encode_batch(self, batch: Batch, outcome: Outcome) -> None:
        """Encode a batch in the calling thread.

        Args:
            batch: The batch.
            outcome: Filled as far as the batch comes, also if it is interrupted.

        Raises:
            BaseException: If the batch was interrupted by one that is no Exception, or stopped (StoppedError). Exceptions go to
                the outcome.
        """
        self._encode_parts(batch.parts, outcome)

    def _encode_all(self, first: Batch) -> None:
        batch: Batch | None = first
        while batch is not None:
            outcome = Outcome()
            with background_work():  # to the end: what an exception holds is native
                self._encode_stoppable(batch, outcome)
            batch = self.next_after(batch, outcome)

    def _encode_stoppable(self, batch: Batch, outcome: Outcome) -> None:
        try:
            with stoppable(partial(self.is_unwanted, batch)):
                self.encode_batch(batch, outcome)
        except StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001 - an interruption, for whoever waits
            for job in batch.jobs:
                outcome.states.setdefault(job.key, Failed(error))

    def _encode_parts(self, parts: Sequence[Sequence[Job]], outcome: Outcome) -> None:
        """Encode parts of a batch at once; if that fails, each apart, so that an error reaches only whom it concerns."""
        jobs = [job for part in parts for job in part]
        try:
            self._encode_at_once(jobs, outcome)
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for one of them is told
            if len(parts) == 1 and (len(jobs) == 1 or not any(len(job.wanted_by) > 1 for job in jobs)):
                outcome.states.update((job.key, Failed(error)) for job in jobs)
                return
            for part in parts if len(parts) > 1 else [[job] for job in jobs]:
                self._encode_parts([part], outcome)

    def _encode_at_once(self, jobs: Sequence[Job], outcome: Outcome) -> None:
        stored = {job.key for job in jobs if job.may_be_stored}
        began = time.monotonic()
        for documents in self.encode({job.key: job.content for job in jobs}, stored):
            done = Done(documents)
            outcome.states.update((key, done) for key in documents.keys)
        if not stored:
            outcome.seconds += time.monotonic() - began
            outcome.n_chars += sum(job.weight for job in jobs)
