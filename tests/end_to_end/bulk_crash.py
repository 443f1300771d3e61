"""Kills workers and drivers of bulk encodings, at random moments and at named points, and checks what is left.

    python tests/end_to_end/bulk_crash.py --kills 200 [--seed 1] [--break "receipt before upload"]

Each round has a new corpus, and sometimes a second one at the same time, all into one store in object storage (a folder). The
driver and its workers are killed again and again, by themselves at named points or by a thread at a random moment, and the same
call is made again, until it succeeds. Then every document of the corpus must be there, byte for byte as a fresh encode gives
it, and counted once. At any time a corpus is visible as a whole or not at all. `verify` must be clean. At the end of a round no
receipt is left, and after cleaning no object that the store doesn't need. The last line is JSON; the exit code is 1 after any
violation. --break breaks the bulk encoding on purpose: then there must be violations.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from datetime import timedelta
from pathlib import Path

from late_rerank import bulk
from late_rerank.bulk import running
from late_rerank.bulk.destinations.remote import RemoteDestination
from late_rerank.bulk.receipts import RemoteReceipts
from late_rerank.bulk.scratch import remove_abandoned
from late_rerank.codecs import codec as codec_named
from late_rerank.corpus import CorpusStream
from late_rerank.errors import LateRerankError
from late_rerank.stores.disk.space import DiskSpace
from late_rerank.stores.disk.store import DiskStore
from late_rerank.stores.remote.cleaning import clean
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.store import RemoteStore
from late_rerank.stores.remote.verification import verify
from late_rerank.stores.scratch import Scratch
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.vectors.keys import key_of

N_DOCUMENTS = 240
SPLIT_BYTES = 2500
ROUNDS_A_STORE = 6
MOST_CALLS = 60
RANDOM = "random moment"

# In a driver and its workers


class Death:
    """Kills this process at a point, by chance, after noting which it was."""

    def __init__(self, log: str, who: str, chance: float) -> None:
        self.log, self.who, self.chance = log, who, chance
        self.dice = random.Random(os.urandom(8))
        self.lock = threading.Lock()

    def die(self, point: str) -> None:
        with self.lock:
            fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, f"{self.who}, {point}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def maybe(self, point: str) -> None:
        if self.dice.random() < self.chance:
            self.die(point)

    def around(self, owner, name: str, what: str) -> None:
        """Die before or after a call."""
        real = getattr(owner, name)

        def wrapped(*args, **kwargs):
            self.maybe(f"before {what}")
            result = real(*args, **kwargs)
            self.maybe(f"after {what}")
            return result

        setattr(owner, name, wrapped)

    def at_a_random_moment(self, within_s: float) -> None:
        timer = threading.Timer(self.dice.uniform(0, within_s), self.die, [RANDOM])
        timer.daemon = True
        timer.start()


def arm_worker(death: Death) -> None:
    death.around(FakeEncoder, "encode_document", "encoding")
    death.around(DiskSpace, "_put", "storing")
    death.around(DiskStore, "publish", "publishing")
    death.around(Objects, "put", "uploading an object")
    death.around(Objects, "create", "writing a receipt")
    death.around(Scratch, "folder", "making scratch")
    death.around(shutil, "rmtree", "removing scratch")
    if death.dice.random() < 0.4:
        death.at_a_random_moment(1.0)


def arm_driver(death: Death) -> None:
    death.around(RemoteDestination, "prepare", "proving the service")
    death.around(RemoteDestination, "lost", "looking for lost objects")
    death.around(Objects, "create", "making a manifest")
    death.around(RemoteDestination, "commit", "the commit")
    death.around(RemoteReceipts, "remove", "removing receipts")
    death.around(Objects, "delete", "deleting")
    if death.dice.random() < 0.5:
        death.at_a_random_moment(4.0)


_is_driver = False


def encoder() -> FakeEncoder:
    """The model of the job; in a worker it arms the deaths too."""
    if not _is_driver and (log := os.environ.get("CRASH_LOG")):
        _break(os.environ.get("CRASH_BREAK"))
        arm_worker(Death(log, "worker", float(os.environ["CRASH_CHANCE"])))
    return FakeEncoder(dim=16)


def drive(corpus: str, url: str) -> int:
    """One call, as a user makes it. Exit code 1 if splits failed."""
    global _is_driver
    _is_driver = True
    _break(os.environ.get("CRASH_BREAK"))
    if log := os.environ.get("CRASH_LOG"):
        arm_driver(Death(log, "driver", float(os.environ["CRASH_CHANCE"])))
    warnings.simplefilter("ignore")
    try:
        report = bulk.index(corpus, store=url, model="bulk_crash:encoder", workers=2, split_bytes=SPLIT_BYTES)
    except LateRerankError as error:
        print(error)
        return 1
    print(json.dumps({"n_resumed": report.n_resumed, "n_splits": report.n_splits, "n_documents": report.n_documents}))
    return 0


# Breakages: a line changed, to see that this harness notices


def _receipt_before_upload() -> None:
    from late_rerank.bulk.destinations import remote

    real = remote.upload

    def upload(objects, folder, **options):
        runs = real(objects, folder, **options)
        for run in runs[:1]:
            objects.delete(list(run.segments.values())[:1])
        return runs

    remote.upload = upload
    RemoteDestination.lost = lambda self, receipts, space: set()


def _commit_each_split() -> None:
    real = running.Running._keep

    def keep(self, name, given, bar):
        real(self, name, given, bar)
        self._destination.commit([self._done[name]])

    running.Running._keep = keep


def _forget_a_receipt() -> None:
    real = RemoteDestination.commit
    RemoteDestination.commit = lambda self, receipts: real(self, receipts[1:])


def _receipts_stay() -> None:
    RemoteReceipts.remove = lambda self, splits: None


BREAKAGES = {
    "receipt before upload": _receipt_before_upload,
    "each split is committed": _commit_each_split,
    "a receipt is forgotten": _forget_a_receipt,
    "receipts stay": _receipts_stay,
}


def _break(name: str | None) -> None:
    if name:
        BREAKAGES[name]()


# The harness


class Harness:
    def __init__(self, root: Path, seed: int, chance: float, breakage: str | None) -> None:
        self.root, self.chance, self.breakage = root, chance, breakage
        self.dice = random.Random(seed)
        self.log = root / "deaths"
        self.counts = Counter(rounds=0, calls=0, errors=0, documents=0, stores=0)
        self.violations: list[str] = []
        self.acknowledged: list[Path] = []
        self.url = ""

    @property
    def kills(self) -> Counter[str]:
        return Counter(self.log.read_text().splitlines()) if self.log.exists() else Counter()

    def round(self) -> None:
        if self.counts["rounds"] % ROUNDS_A_STORE == 0:
            self.counts["stores"] += 1
            self.acknowledged = []
            self.url = f"file://{self.root}/store-{self.counts['stores']}"
        self.counts["rounds"] += 1
        corpora = [self._corpus(i) for i in range(self.dice.choice([1, 1, 2]))]
        threads = [threading.Thread(target=self._until_done, args=[corpus]) for corpus in corpora]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._check_whole_or_not(corpora)
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        self.acknowledged += corpora
        self._check_all()

    def _corpus(self, i: int) -> Path:
        file = self.root / f"corpus-{self.counts['rounds']}-{i}.jsonl"
        own = [f"Document {n} of {file.stem} tells of rivers." for n in range(N_DOCUMENTS)]
        texts = [*own, *own[:20], *(f"Document {n} stands in every corpus." for n in range(10))]
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        return file

    def _until_done(self, corpus: Path) -> None:
        for call in range(MOST_CALLS):
            # Fewer and fewer deaths: a split whose workers die four times fails, rightly.
            chance = self.chance * 0.9**call
            environment = {**os.environ, "CRASH_LOG": str(self.log), "CRASH_CHANCE": str(chance)}
            environment |= {"CRASH_BREAK": self.breakage or "", "TMPDIR": str(self.root)}
            if chance < self.chance / 10:
                environment.pop("CRASH_LOG")
            command = [sys.executable, __file__, "--drive", str(corpus), self.url]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            self.counts["calls"] += 1
            if done.returncode == 0:
                self.counts["resumed_splits"] += json.loads(done.stdout.splitlines()[-1])["n_resumed"]
                return
            self.counts["errors"] += done.returncode == 1
            if done.returncode not in (1, -signal.SIGKILL) or "Traceback" in done.stderr:
                self.violations.append(f"driver ended with {done.returncode}: {done.stderr[-800:]}")
                return
        self.violations.append(f"{corpus.name} isn't done after {MOST_CALLS} calls")

    def _check_whole_or_not(self, corpora: list[Path]) -> None:
        if newest(Objects.at(self.url)).number == 0:
            return
        with RemoteStore(self.url, on_error="raise") as store:
            for space in store.spaces():
                for corpus in corpora:
                    keys = sorted({key_of(text) for text in own_texts(corpus)})
                    if len(space.missing(keys)) not in (0, len(keys)):
                        self.violations.append(f"{corpus.name}: {len(space.missing(keys))} of {len(keys)} are missing")

    def _check_all(self) -> None:
        objects = Objects.at(self.url)
        texts = sorted({text for corpus in self.acknowledged for text in texts_of(corpus)})
        self._check_documents(texts)
        problems = verify(objects).problems
        self.violations += [f"verify: {problem}" for problem in problems]
        if left := [found.name for found in objects.list("receipts")]:
            self.violations.append(f"receipts are left: {left[:3]}")
        if self.counts["rounds"] % ROUNDS_A_STORE == 0:
            clean(objects, grace=timedelta(0))
            needed = newest(objects).objects()
            there = {found.name for folder in ("segments", "keys") for found in objects.list(folder)}
            self.counts["objects"] += len(there)
            if there != needed:
                self.violations.append(f"after cleaning {len(there - needed)} objects too many, {len(needed - there)} lost")
            self._check_documents(texts)
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.root)
        remove_abandoned()
        if left := list(self.root.glob("late-rerank-bulk-*/*worker-*")):
            self.violations.append(f"scratch is left: {left[:3]}")

    def _check_documents(self, texts: list[str]) -> None:
        codec = codec_named("int8")
        packed = codec.encode(FakeEncoder(dim=16).encode_document(texts))
        with RemoteStore(self.url, on_error="raise") as store:
            (space,) = store.spaces()
            fetched = space.get([key_of(text) for text in texts])
            if len(fetched.missing):
                self.violations.append(f"{len(fetched.missing)} acknowledged documents are lost")
                return
            wrong = sum(
                any(
                    fetched.found.column(name, i).tobytes() != packed.column(name, i).tobytes() for name in packed.codec.columns
                )
                for i in range(len(texts))
            )
            if wrong:
                self.violations.append(f"{wrong} documents have other bytes")
            if len(space) != len(texts):
                self.violations.append(f"the store counts {len(space)} documents, expected {len(texts)}")
            self.counts["documents"] += len(texts)


def texts_of(corpus: Path) -> list[str]:
    return [document.text for document in CorpusStream(corpus)]


def own_texts(corpus: Path) -> list[str]:
    return [text for text in texts_of(corpus) if corpus.stem in text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="end after the round that brings so many")
    parser.add_argument("--rounds", type=int, default=10**6, help="end after so many rounds at the latest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chance", type=float, default=0.03, help="how likely each point is to kill")
    parser.add_argument("--folder", help="where to make the stores; kept if something is violated")
    parser.add_argument("--break", dest="breakage", choices=BREAKAGES, help="break it on purpose")
    parser.add_argument("--drive", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.drive:
        return drive(*args.drive)
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="bulk-crash", dir=args.folder))
    harness = Harness(root, args.seed, args.chance, args.breakage)
    while harness.counts["rounds"] < args.rounds and sum(harness.kills.values()) < args.kills and not harness.violations:
        harness.round()
        print(f"{harness.counts['rounds']} rounds, {sum(harness.kills.values())} kills", flush=True)
    for line in harness.violations[:20]:
        print(line)
    counts = {"seed": args.seed, **harness.counts, "violations": len(harness.violations)}
    kills = dict(sorted(harness.kills.items()))
    print(json.dumps({**counts, "seconds": round(time.monotonic() - began, 1), "n_kills": sum(kills.values()), "kills": kills}))
    if harness.violations:
        print(f"the store is kept: {root}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    if __spec__ is None and "bulk_crash" not in sys.modules:
        sys.modules["bulk_crash"] = sys.modules["__main__"]  # in the driver both are one
    sys.exit(main())
