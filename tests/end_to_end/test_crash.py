"""Writers killed at random moments and at named points lose nothing. `make crash` does many rounds; here a few."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow("kills writers for a minute")

HARNESS = Path(__file__).with_name("crash.py")
NONE_OF = ("lost", "wrong", "torn", "reader_wrong", "verify_problems", "rebuilds_unequal", "writer_errors")


def crash(*options):
    command = [sys.executable, str(HARNESS), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_killed_writers_lose_nothing_and_readers_see_whole_documents(tmp_path):
    done = crash("--rounds", "8", "--seconds", "20", "--seed", "1", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    print(counts)
    assert {name: counts[name] for name in NONE_OF} == dict.fromkeys(NONE_OF, 0)
    # That it did something: a harness that checks nothing finds nothing.
    assert counts["rebuilds_equal"] == counts["rounds"] > 0
    assert sum(counts["kills"].values()) > 5 * counts["rounds"]
    assert len(counts["kills"]) >= 5
    assert counts["acknowledged"] > 100 * counts["rounds"]
    assert counts["reader_documents"] > 1000


def test_killed_writers_of_a_bounded_store_bring_back_nothing_deleted_and_publish_all_or_nothing(tmp_path):
    done = crash("--bounded", "--rounds", "6", "--seconds", "20", "--seed", "3", "--folder", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    print(counts)
    none_of = (*NONE_OF, "published_wrong")
    assert {name: counts[name] for name in none_of} == dict.fromkeys(none_of, 0)
    assert counts["rebuilds_equal"] == counts["rounds"] > 0
    assert counts["acknowledged"] > 100 * counts["rounds"]
    assert counts["published"] > 0
    assert counts["published_refused"] > 0
    assert any(point.startswith("evicting") for point in counts["kills"])


def test_the_harness_notices_what_is_published_before_it_is_written(tmp_path):
    done = crash("--bounded", "--rounds", "20", "--break", "published before it is written", "--folder", str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "violations" in done.stdout


@pytest.mark.parametrize("breakage", ["acknowledged before the commit", "no tombstones", "no recovery"])
def test_the_harness_notices_a_store_that_is_broken(tmp_path, breakage):
    done = crash("--rounds", "10", "--break", breakage, "--folder", str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "violations" in done.stdout


EVERY_BREAKAGE = """
import os, sys
import crash
for name, apply in crash.BREAKAGES.items():
    child = os.fork()
    if not child:
        apply()  # an error if the line that it changes isn't there any more
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(name)
"""


def test_every_breakage_still_finds_what_it_breaks():
    done = subprocess.run(
        [sys.executable, "-c", EVERY_BREAKAGE], cwd=HARNESS.parent, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
