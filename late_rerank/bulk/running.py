"""A job runs: what is finished is found again, splits that fail are tried again, and all is committed at once."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from late_rerank.bulk.destinations import Destination, LostObjectsError
from late_rerank.bulk.engines import Engine, EngineError, Outcome
from late_rerank.bulk.job import Job
from late_rerank.bulk.planning import Plan
from late_rerank.bulk.receipts import Receipt
from late_rerank.bulk.report import BulkReport, report_of
from late_rerank.bulk.splits import Split
from late_rerank.bulk.worker import Worker
from late_rerank.errors import BulkError
from late_rerank.observing.progress import progress_bar

# How often a split is tried. An error that would come again isn't waited for.
TRIES = 3
# If so many splits fail before one succeeds, all would: the corpus can't be seen by the workers, say.
_HOPELESS = 10
# Splits that an error names.
_NAMED = 5


class Running:
    """One run of a job.

    Args:
        job: What each worker must know.
        name: The job's name, by which a later run finds its receipts.
        planned: The corpus.
        destination: Where documents go.
        engine: What gives splits to workers.
        workers: How many; None for as many as there is room for.
    """

    def __init__(
        self, job: Job, name: str, planned: Plan, *, destination: Destination, engine: Engine, workers: int | None
    ) -> None:
        self._job, self._name, self._planned = job, name, planned
        self._destination, self._engine, self._workers = destination, engine, workers
        self._identity = job.identity()
        self._splits = _by_name(planned.splits, self._identity)
        self._receipts = destination.receipts(name)
        self._done: dict[str, Receipt] = {}
        self._new: dict[str, Receipt] = {}
        self._began = time.perf_counter()

    @property
    def left_bytes(self) -> int:
        """Bytes of the corpus that aren't done."""
        return sum(split.size_bytes for name, split in self._splits.items() if name not in self._done)

    def resume(self) -> None:
        """Find what an earlier run finished. Receipts that don't hold any more are removed.

        A file that was written to since then has new splits. What was encoded of it is committed now, so that the workers find
        the documents that stayed: after days one damaged line must not cost all the others.

        Raises:
            StoreError: If the store can't be used.
        """
        there = {name: self._receipts.read(name, self._identity) for name in sorted(self._receipts.names())}
        found = {name: receipt for name, receipt in there.items() if receipt is not None}
        if self._destination.is_committed(list(found.values())):
            self._receipts.remove(there)  # what was deleted since the commit is missing, and mustn't count as done
            return
        lost = self._destination.lost(list(found.values()), self._job.space)
        earlier = [receipt for name, receipt in found.items() if name not in self._splits and name not in lost]
        if earlier:
            self._destination.commit(earlier)
        self._done = {name: receipt for name, receipt in found.items() if name in self._splits and name not in lost}
        self._receipts.remove(there.keys() - self._done.keys())

    def run(self, *, progress: bool) -> BulkReport:
        """Do all splits, then commit.

        Raises:
            BulkError: If splits fail again and again, or no worker can be made. Nothing is committed.
            StoreError: If the store can't be used.
            KeyboardInterrupt: If the user interrupts it; says how to go on.
        """
        with self._told_how_to_go_on(), self._bar(progress=progress) as bar:
            number = self._commit_all(bar)
        self._receipts.remove(self._receipts.names())
        return replace(self._report(), commit=number)

    def _commit_all(self, bar: Any) -> int | None:
        """Do all splits and commit them; do again what is removed at the moment of the commit."""
        for _ in range(TRIES):
            self._do_all_and_look(bar)
            with suppress(LostObjectsError):
                return self._destination.commit([self._done[name] for name in self._splits])
        raise self._removed()

    def _do_all_and_look(self, bar: Any) -> None:
        """Do all splits, until all that they made is there: a commit must name nothing else."""
        for _ in range(TRIES):
            self._do_all(bar)
            # Of documents that are visible already, a server may have removed some by its own rules.
            if self._destination.is_directly_written or not self._forget_lost():
                return
        raise self._removed()

    def _removed(self) -> BulkError:
        return BulkError(f"{self._destination.place}: objects are removed while the job runs. {self._how_to_go_on()}")

    def _do_all(self, bar: Any) -> None:
        failed: dict[str, Outcome] = {}
        lasting: dict[str, Outcome] = {}
        for _ in range(TRIES):
            left = {name: split for name, split in self._splits.items() if name not in self._done and name not in lasting}
            if not left:
                break
            failed = {}
            # Closed by name: a traceback would keep the engine, and so the workers, alive.
            with closing(self._outcomes(left)) as outcomes:
                for name, outcome in outcomes:
                    if outcome.receipt is not None:
                        self._keep(name, outcome.receipt, bar)
                        failed.pop(name, None)
                    elif name not in self._done:
                        (lasting if outcome.is_lasting else failed)[name] = outcome
                    if not self._new and len(failed) + len(lasting) >= _HOPELESS:
                        self._give_up(failed | lasting)
        if failed or lasting:
            self._give_up(failed | lasting)

    def _outcomes(self, left: Mapping[str, Split]) -> Generator[tuple[str, Outcome], None, None]:
        names = list(left)
        tasks = [split.to_json() for split in left.values()]
        make_worker = partial(Worker, self._job.to_json(), self._name)
        try:
            with closing(self._engine.run(tasks, make_worker, self._workers)) as outcomes:  # type: ignore[type-var]
                for outcome in outcomes:
                    yield names[outcome.index], outcome
        except EngineError as error:
            raise BulkError(f"engine {self._engine.name!r}: {error}. {self._how_to_go_on()}") from error

    def _keep(self, name: str, given: Mapping[str, Any], bar: Any) -> None:
        receipt = Receipt.read(given, name, self._identity)
        if receipt is None:
            raise BulkError(
                f"a worker's receipt of {self._splits[name].place} is another version's: install the same late-rerank on all "
                "machines"
            )
        if name in self._done:
            return
        self._done[name] = self._new[name] = self._receipts.first(receipt) if self._destination.is_directly_written else receipt
        rate = sum(each.n_documents for each in self._new.values()) / max(time.perf_counter() - self._began, 1e-9)
        if not bar.disable:
            bar.set_postfix_str(f"{len(self._done):,} of {len(self._splits):,} splits, {rate:,.1f} documents/s", refresh=False)
            bar.update(self._splits[name].size_bytes)

    def _forget_lost(self) -> bool:
        """Look whether all is there. Tell whether something isn't, which is to be done again then."""
        lost = self._destination.lost(list(self._done.values()), self._job.space)
        self._receipts.remove(lost)
        for name in lost:
            self._new.pop(name, None)
            del self._done[name]
        return bool(lost)

    def _give_up(self, failed: Mapping[str, Outcome]) -> None:
        places = [(self._splits[name].place, outcome.error or "") for name, outcome in failed.items()]
        shown = "; ".join(f"{place}: {error}" for place, error in places[:_NAMED])
        more = f"; and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
        what = "1 split failed" if len(places) == 1 else f"{len(places):,} splits failed"
        raise BulkError(f"{what}, and nothing was committed: {shown}{more}. {self._how_to_go_on()}", places)

    def _report(self) -> BulkReport:
        return report_of(
            self._planned,
            [self._done[name] for name in self._splits],
            list(self._new.values()),
            seconds=time.perf_counter() - self._began,
            engine=self._engine.name,
            fingerprint=self._job.fingerprint,
        )

    def _how_to_go_on(self) -> str:
        return f"{len(self._done):,} of {len(self._splits):,} splits are done; the same call goes on from there"

    @contextmanager
    def _told_how_to_go_on(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._how_to_go_on()) from None

    @contextmanager
    def _bar(self, *, progress: bool) -> Iterator[Any]:
        total = self._planned.size_bytes
        with progress_bar(
            total=total, initial=total - self.left_bytes, unit="B", unit_scale=True, desc="Indexing", progress=progress
        ) as bar:
            yield bar


def _by_name(splits: Sequence[Split], identity: str) -> dict[str, Split]:
    """Give each split under its receipt's name.

    Raises:
        ValueError: If two have the same name: one of them would never be encoded.
    """
    named: dict[str, Split] = {}
    for split in splits:
        other = named.setdefault(split.name(identity), split)
        if other is not split:
            raise ValueError(f"the corpus holds {split.root}, {split.place} twice; name each place once")
    return named
