"""Nothing leaves the machine: commands and backends under a trace of system calls, the hub's client not told to be offline."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import pylate
from torch import save

from late_rerank.encode.backends import names

# Where a process may send to: no address of another machine.
HERE = re.compile(
    r"sa_family=AF_(UNIX|NETLINK|UNSPEC)|inet_addr\(\"127\.|inet_pton\(AF_INET6, \"::1\"|\"::ffff:127\.|sin6?_port=htons\(0\)"
)
CALLS = "connect,sendto,sendmsg,sendmmsg"

COMMANDS = """
import contextlib, functools, io, sys
from pathlib import Path
backend, corpus, checkpoint = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
from late_rerank import encode
from late_rerank.cli import main
from late_rerank.testing.fakes import FakeEncoder
load = functools.cache(encode.TextEncoder)  # each model once
encode.TextEncoder = lambda model="minilm", **_: load(model, backend=backend)

def run(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([str(argument) for argument in arguments]) == 0, arguments
    assert out.getvalue() or arguments[0] == "index", arguments

own = ("--backend", backend)
run("doctor", *own)
run("doctor", checkpoint, *own)
run("search", corpus, "cats", *own)
run("search", corpus, "cats", "--first-stage", "hybrid", *own)
run("index", corpus, "--store", corpus / "store", *own)
run("rerank", "cats", corpus / "corpus.jsonl", "--store", corpus / "store", *own)
run("context", corpus, "cats", "--budget-tokens", 50, *own)
run("explain", "cats", "--text", "cats sleep")
run("eval", corpus, *own)
run("store", "stats", corpus / "store")
run("store", "verify", corpus / "store")
fake = FakeEncoder()
fake.name = "fake"
encode.TextEncoder = lambda *_, **__: fake  # five hundred documents
run("demo")
print("all ran")
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A BEIR folder of three documents."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "qrels").mkdir()
    texts = ["Cats sleep all day.", "Dogs bark at night.", "Rivers run to the sea."]
    lines = [f'{{"_id": "d{i}", "title": "", "text": "{text}"}}' for i, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "when do cats sleep"}')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t1\n")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """With weights as pytorch_model.bin, for which transformers would ask the hub for a better file."""
    from safetensors.torch import load_file

    folder = pylate(tmp_path_factory.mktemp("checkpoint") / "tiny")
    for file in list(folder.rglob("model.safetensors")):
        save(load_file(file), file.with_name("pytorch_model.bin"))
        file.unlink()
    return folder


def trace(home, *command):
    """What it sent where, by system call, and what it printed. In a home of its own, in which nothing is set."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace: apt-get install strace")
    out = Path(home) / "trace"
    silencing = re.compile(r"HF_|TRANSFORMERS_|XDG_|.*TELEMETRY|DO_NOT_TRACK|CI$|TF_BUILD|JENKINS_URL")
    environment = {name: value for name, value in os.environ.items() if not silencing.match(name)} | {"HOME": str(home)}
    # --seccomp-bpf: no other call stops the process.
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={CALLS}", "-s", "200", "-o", str(out)]
    done = subprocess.run([*strace, *command], env=environment, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = [line for line in out.read_text(errors="replace").splitlines() if "sa_family" in line]
    out.unlink()
    return [line for line in calls if not HERE.search(line)], done.stdout


def test_the_trace_sees_what_leaves(tmp_path):
    sends = "[s.connect_ex((where, 9)) for where in ('192.0.2.1', '127.0.0.1')]"
    script = f"import socket; s = socket.socket(type=socket.SOCK_DGRAM); {sends}"
    left, _ = trace(tmp_path, sys.executable, "-c", script)
    assert len(left) == 1
    assert "192.0.2.1" in left[0]


@pytest.mark.parametrize("backend", ["torch", *names.ENGINES])
@pytest.mark.slow("traces every command, 50 s a backend")
def test_no_command_reaches_for_another_machine_or_leaves_an_id(backend, corpus, checkpoint, minilm, tmp_path):
    if backend not in ("torch", *names.installed_engines()):
        pytest.skip(f'needs pip install "late-rerank[{backend}]"')
    own = tmp_path / "corpus"
    shutil.copytree(corpus, own)
    home = tmp_path / "home"
    home.mkdir()
    left, printed = trace(home, sys.executable, "-c", COMMANDS, backend, str(own), str(checkpoint))
    assert printed == "all ran\n"
    assert left == []
    kept = {str(file.relative_to(home)) for file in home.rglob("*") if file.is_file()}
    assert all(name.startswith(".cache/huggingface/late-rerank/") for name in kept), kept
