"""Adding to a store: each writer appends to a segment of its own; its records count once the index says so."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores.disk import files, tables
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.rows import rows_of, tombstones
from late_rerank.stores.disk.segment import MappedSegment, SegmentWriter, path_of
from late_rerank.stores.disk.tables import ReplacedError, Row, Segment, SegmentGoneError
from late_rerank.stores.record import SEAL, TOMBSTONE, Records, checked_header

# How often a space may be dropped by others while something is put into it.
_TRIES = 20


class Writing:
    """The segments that this store object appends to, one a space. One thread at a time; the caller sees to it.

    Args:
        folder: The store's.
        index: The store's.
        gate: Held for every change of the index, never while documents are written.
        internals: When a segment is full, and whether a sealed one is gone on with.
    """

    def __init__(self, folder: Path, index: Index, gate: files.Gate, internals: Internals) -> None:
        self._folder = folder
        self._index = index
        self._gate = gate
        self._segment_bytes = internals.segment_bytes
        self._resumes = internals.resumes
        self._writers: dict[str, SegmentWriter] = {}
        self._n_replaced = 0

    def append(self, space: str, records: Records, copied: Sequence[Row] = ()) -> None:
        """Add records. When this returns they are durable, and found.

        Args:
            space: Its name.
            records: At least one.
            copied: The rows of the records that these are copies of; a space that was dropped isn't made again for copies.

        Raises:
            StoreError: If the disk is full, or failed. None of these records is found; all earlier documents are.
            ReplacedError: If a key doesn't point any more at the record that was copied. Nothing is committed.
        """
        for _ in range(_TRIES):
            writer = None
            try:
                writer = self._writer(space, existing=bool(copied))
                writer.append(records)
                self._commit(writer, records, copied)
            except SegmentGoneError:
                self.let_go(space)
                if copied:
                    return
            except ReplacedError:
                raise  # the next append writes over it
            except OSError as error:
                self.let_go(space)
                raise StoreError(f"nothing could be written to {self._folder}: {error}") from error
            except BaseException:
                self.let_go(space)
                raise
            else:
                return
        raise StoreError(f"{self._folder}: the space is dropped by another process whenever it is written to")

    def let_go(self, space: str) -> None:
        """Leave this space's segment as it is. `recover` will end it where the index says, whatever its tail holds."""
        writer = self._writers.pop(space, None)
        if writer is not None:
            writer.close()

    def seal(self, space: str) -> None:
        """Finish this space's segment. Any writer may go on with it if it has room."""
        writer = self._writers.pop(space, None)
        if writer is None:
            return
        try:
            writer.seal()
            with self._gate.held(), self._index.changing() as changes:
                self.refuse_if_replaced()
                state = tables.SEALED if writer.size < self._segment_bytes else tables.FULL
                tables.set_state(changes, writer.id, state)
        except SegmentGoneError:
            return
        except OSError as error:
            raise StoreError(f"{writer.path} could not be sealed: {error}") from error
        finally:
            writer.close()

    def seal_all(self) -> None:
        """Seal every space's segment."""
        for space in list(self._writers):
            self.seal(space)

    def refuse_if_replaced(self) -> None:
        """Make sure that numbers of segments still mean the same files; call it in a transaction.

        Raises:
            SegmentGoneError: If somebody made the index again, or put a copy of the store there: no segment is ours any more.
        """
        if self._n_replaced != self._index.n_replaced:
            self._n_replaced = self._index.n_replaced
            for space in list(self._writers):
                self.let_go(space)
            raise SegmentGoneError

    def segment_ids(self) -> list[int]:
        """List the segments that this object appends to, the first begun first."""
        return [writer.id for writer in self._writers.values()]

    def after_fork(self) -> None:
        """Let go of the segments in a child: they are the parent's."""
        for space in list(self._writers):
            self.let_go(space)

    def recover(self) -> None:
        """Seal the segments of writers that died, and remove the files of dead segments."""
        for segment in self._index.segments(with_dead=True):
            if segment.state in (tables.OPEN, tables.RECOVERING):
                with suppress(OSError):  # it stays as it is, and every reader can live with that
                    self._recover(segment)
        self.remove_dead()

    def retire(self, segment: Segment) -> bool:
        """Forget a segment's documents and remove its file; False if a writer has it, or had it since `segment` was read.

        Its tombstones go on: an older record of their keys may lie in another segment.
        """
        with suppress(FileNotFoundError), files.locked(path_of(self._folder, segment.id)) as fd:
            if fd is None or not self._is_as_large(segment):
                return False
            self._carry_tombstones(segment)
            self.forget([segment.id])  # with the lock held, or somebody might go on with it now
            return True
        if self._index.has_segment(segment.id):
            self.forget([segment.id])  # its file is lost
        return True

    def forget(self, segment_ids: list[int]) -> None:
        """Take segments out of the index, then remove their files. Readers that have them mapped keep what they hold."""
        with self._gate.held(), self._index.changing() as changes:
            for segment_id in segment_ids:
                tables.forget_segment(changes, segment_id)
        self.remove_dead()

    def remove_dead(self) -> None:
        """Remove the files of dead segments, then their rows: a process that dies in between leaves the row to the next."""
        dead = [segment.id for segment in self._index.segments(with_dead=True) if segment.state == tables.DEAD]
        if not dead:
            return
        for segment_id in dead:
            path_of(self._folder, segment_id).unlink(missing_ok=True)
        files.sync_folder(self._folder / "segments")
        with self._gate.held(), self._index.changing() as changes:
            tables.delete_segments(changes, dead)

    def begin(self, space: str) -> SegmentWriter:
        """Begin a new segment for a space that is there.

        Raises:
            SegmentGoneError: If the space was dropped. Made again, it would bring them back once the index is lost.
        """
        with self._gate.held():
            return self._create(space, existing=True)

    def _is_as_large(self, segment: Segment) -> bool:
        return any((found.id, found.size) == (segment.id, segment.size) for found in self._index.segments())

    def _writer(self, space: str, *, existing: bool) -> SegmentWriter:
        writer = self._writers.get(space)
        if writer is not None and writer.size < self._segment_bytes:
            return writer
        self.seal(space)
        self.recover()
        with self._gate.held():
            writer = self._resume(space) or self._create(space, existing=existing)
        self._writers[space] = writer
        return writer

    def _resume(self, space: str) -> SegmentWriter | None:
        if not self._resumes:
            return None
        space_id = {name: number for number, name in self._index.spaces()}.get(space)
        for segment in reversed(self._index.segments()):
            if segment.space != space_id or segment.state != tables.SEALED or segment.size >= self._segment_bytes:
                continue
            writer = self._reopen(segment, space)
            if writer is not None:
                try:
                    with self._index.changing() as changes:
                        tables.set_state(changes, segment.id, tables.OPEN)
                except BaseException:
                    writer.close()
                    raise
                return writer
        return None

    def _reopen(self, segment: Segment, space: str) -> SegmentWriter | None:
        with suppress(StoreFormatError, FileNotFoundError):
            mapping = MappedSegment(path_of(self._folder, segment.id))
            header, seal = mapping.header, checked_header(mapping.bytes, segment.size)
            # Without its seal the index is older than the segment: what lies there may be acknowledged documents.
            if (header.id, header.space) == (segment.id, space) and seal is not None and seal.flags & SEAL:
                return SegmentWriter.resume(self._folder, segment.id, segment.space, segment.size)
        return None

    def _create(self, space: str, *, existing: bool) -> SegmentWriter:
        with self._index.changing() as changes:
            space_id = tables.space_id(changes, space) if existing else tables.add_space(changes, space)
            segment_id = tables.add_segment(changes, space_id)
        writer = SegmentWriter.create(self._folder, segment_id, space_id, space)
        try:
            with self._index.changing() as changes:
                tables.grow_segment(changes, segment_id, writer.size, 0, 0)
        except BaseException:
            writer.close()
            raise
        return writer

    def _commit(self, writer: SegmentWriter, records: Records, copied: Sequence[Row]) -> None:
        rows = rows_of(records, writer.id, writer.size)
        size = writer.size + len(records.bytes)
        n_documents = sum(not row.flags & TOMBSTONE for row in rows)
        with self._gate.held(), self._index.changing() as changes:
            self.refuse_if_replaced()
            tables.grow_segment(changes, writer.id, size, n_documents, max(row.stored_at for row in rows))
            tables.raise_sequence(changes, max(row.sequence for row in rows))
            if copied:
                tables.move_rows(changes, writer.space_id, copied, rows)
            else:
                tables.add_rows(changes, writer.space_id, rows)
        writer.size = size

    def _recover(self, segment: Segment) -> None:
        with self._gate.held():
            current = {found.id: found for found in self._index.segments()}.get(segment.id)
            if current is None or current.state not in (tables.OPEN, tables.RECOVERING):
                return
            if not path_of(self._folder, segment.id).exists() and not current.n_written:
                self._drop_row(segment.id)  # its writer died before it made the file
                return
            writer = SegmentWriter.resume(self._folder, current.id, current.space, current.size)
            if writer is None:
                return
            try:
                self._refuse_if_torn(current)
                if not current.size:
                    writer.path.unlink()  # first: a file without a row nobody would remove
                    self._drop_row(segment.id)
                    return
                # First a commit, so that no half-written one of the dead writer can come back and point into what is zeroed.
                with self._index.changing() as changes:
                    tables.set_state(changes, current.id, tables.RECOVERING)
                writer.seal()
                with self._index.changing() as changes:
                    tables.set_state(changes, current.id, tables.FULL)
            finally:
                writer.close()

    def _refuse_if_torn(self, segment: Segment) -> None:
        """Make sure that no record is overwritten that the index points at.

        Raises:
            StoreFormatError: If the index points beyond the end that it knows. It was copied, or put back, during writes.
        """
        if self._index.end_of(segment.id) > segment.size:
            raise StoreFormatError(
                f"the index of {self._folder} doesn't belong to its segments: it points beyond segment {segment.id}. "
                f"Make it again: late-rerank store rebuild {self._folder}"
            )

    def _drop_row(self, segment_id: int) -> None:
        with self._index.changing() as changes:
            tables.delete_segments(changes, [segment_id])

    def _carry_tombstones(self, segment: Segment) -> None:
        space = dict(self._index.spaces()).get(segment.space)
        rows = [row for row in self._index.rows(segment.id) if row.flags & TOMBSTONE]
        if space is None or self._index.is_without_dead(segment.space, but=segment.id):
            return
        if rows:
            self._copy_tombstones(space, rows)

    def _copy_tombstones(self, space: str, rows: list[Row]) -> None:
        try:
            self.append(space, tombstones(rows), rows)
        except ReplacedError as replaced:
            left = [row for row in rows if row.key not in replaced.keys]
            if left:
                self._copy_tombstones(space, left)
