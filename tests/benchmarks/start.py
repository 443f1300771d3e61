"""What a start costs: time to the first answer, processor time and memory of commands, servers and peers. Prints JSON. Linux.

    python tests/benchmarks/start.py [--runs 5] [--out FILE] [--python NAME=PYTHON] [--sizes]

Every figure is the median of so many processes, in turns, after a first turn that warms files' caches and compiles models.
30 docstrings of about 180 tokens were stored ahead. "seconds" end with the first answer: a command's output, a server's
/ready, an agent's first result. "cpu_s" is user and system time of all its processes: until a command has ended; until a
server's answer. "peak_mb" is a command's largest resident size. "pss_mb" is what a server's processes take, shared pages
divided among them. Peers read the 30 documents with the query, since they store nothing; so does "Reranker without a store".

Peers have the weights of the built-in model, at float32: their own models would be downloaded. A cross-encoder's head is
random, so its scores mean nothing. What isn't installed is left out, with the reason. --python runs one of NAMES in
another environment, since some of them don't install side by side. --sizes makes environments and measures those: late-rerank's
has the model's weights in it, the others download theirs.
"""

import argparse
import http.client
import json
import os
import queue
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

# No library here: a process that is started has its parent's resident size as its least peak.
ROOT = Path(__file__).parents[2]
NAMES = ("late-rerank", "flashrank", "fastembed", "sentence-transformers")
BACKENDS = {"onnx": ["onnxruntime"], "openvino": ["openvino"], "torch": ["torch", "sentence_transformers"]}
N_DOCUMENTS = 30
_MB = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")
_WAIT_S = 300
_WEIGHTS = "all-MiniLM-L6-v2, float32"
_RANDOM_HEAD = f"{_WEIGHTS}, with a random head"

PREPARE = """
import json, sys
from pathlib import Path
from late_rerank import Reranker
from late_rerank.corpus import read_corpus
from late_rerank.corpus.standard_library import read_standard_library
scratch, n = Path(sys.argv[1]), int(sys.argv[2])
fitting = [document.text for document in read_standard_library() if 500 <= len(document.text) <= 1000]
texts = fitting[:: len(fitting) // n][:n]
(scratch / "documents").mkdir()
for i, text in enumerate(texts):
    (scratch / "documents" / f"{i:02}.txt").write_text(text, encoding="utf-8")
query = "how do I run a function in another thread and get its result later"
(scratch / "asked.json").write_text(json.dumps({"query": query, "documents": texts}))
with Reranker(store=scratch / "store") as reranker:
    reranker.index(texts)
    reranker.index(read_corpus(scratch / "documents").documents)
"""
# The built-in model's graph for fastembed, and the same with a head for flashrank, which wants an input more.
GRAPHS = """
import shutil, sys
from pathlib import Path
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
from late_rerank.encode.builtin import minilm_source
from late_rerank.encode.opening import compile_to
from late_rerank.encode.sources import local_folder
scratch = Path(sys.argv[1])
compile_to("minilm", scratch / "fastembed")
for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
    shutil.copyfile(local_folder(minilm_source()) / name, scratch / "fastembed" / name)
folder = scratch / "flashrank" / "ms-marco-MiniLM-L-12-v2"
shutil.copytree(scratch / "fastembed", folder)
model = onnx.load(folder / "model.onnx", load_external_data=False)
head = np.random.default_rng(0).normal(size=(384, 1)).astype(np.float32)
model.graph.initializer.extend([numpy_helper.from_array(head, "head"), numpy_helper.from_array(np.array(0), "first")])
model.graph.node.extend([
    helper.make_node("Gather", ["hidden", "first"], ["cls"], axis=1),
    helper.make_node("MatMul", ["cls", "head"], ["logits"]),
])
model.graph.input.append(helper.make_tensor_value_info("token_type_ids", TensorProto.INT64, ["n", "width"]))
del model.graph.output[:]
model.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1]))
(folder / "flashrank-MiniLM-L-12-v2_Q.onnx").write_bytes(model.SerializeToString())
"""
SAVED = """
import sys
from late_rerank.encode.torch.loading import load_builtin
load_builtin("minilm", "cpu").save_pretrained(f"{sys.argv[1]}/multi-vector", create_model_card=False)
"""
ASKED = "import json, sys; scratch = sys.argv[1]; asked = json.load(open(f'{scratch}/asked.json'))\n"
RERANKER = f"""{ASKED}
from late_rerank import Reranker
with Reranker(store=f"{{scratch}}/store", backend=sys.argv[2]) as reranker:
    ranking = reranker.rerank(asked["query"], asked["documents"])
    assert (ranking.n_hits, ranking.n_misses) == (len(asked["documents"]), 0)
    print(ranking[0].index, flush=True)
"""
STORELESS = f"""{ASKED}
from late_rerank import Reranker
print(Reranker(backend=sys.argv[2]).rerank(asked["query"], asked["documents"])[0].index, flush=True)
"""
FLASHRANK = f"""{ASKED}
from flashrank import Ranker, RerankRequest
ranker = Ranker("ms-marco-MiniLM-L-12-v2", cache_dir=f"{{scratch}}/flashrank")
passages = [{{"id": i, "text": text}} for i, text in enumerate(asked["documents"])]
print(ranker.rerank(RerankRequest(query=asked["query"], passages=passages))[0]["id"], flush=True)
"""
FASTEMBED = f"""{ASKED}
from fastembed import LateInteractionTextEmbedding
model = LateInteractionTextEmbedding("colbert-ir/colbertv2.0", specific_model_path=f"{{scratch}}/fastembed")
query = next(iter(model.query_embed(asked["query"])))
scores = [(query @ document.T).max(axis=1).sum() for document in model.embed(asked["documents"])]
print(max(range(len(scores)), key=scores.__getitem__), flush=True)
"""
CROSS_ENCODER = f"""{ASKED}
from sentence_transformers import CrossEncoder
model = CrossEncoder(sys.argv[2], num_labels=1, device="cpu", local_files_only=True)
print(model.rank(asked["query"], asked["documents"])[0]["corpus_id"], flush=True)
"""
MULTI_VECTOR = f"""{ASKED}
from sentence_transformers import MultiVectorEncoder
model = MultiVectorEncoder(f"{{scratch}}/multi-vector", device="cpu", local_files_only=True)
scores = model.similarity(model.encode_query([asked["query"]]), model.encode_document(asked["documents"]))
print(int(scores.argmax()), flush=True)
"""
MACHINE = """
import json
from late_rerank.evaluate.bench.provenance import commit, platform_name
print(json.dumps({"machine": platform_name(), "commit": commit()}))
"""
VERSIONS = """
import json, platform
from importlib.metadata import distributions
wanted = {"late-rerank", "flashrank", "fastembed", "sentence-transformers", "transformers", "torch", "onnxruntime", "openvino",
          "numpy", "tokenizers", "mcp", "uvicorn"}
names = {each.name.lower().replace("_", "-"): each.version for each in distributions()}
print(json.dumps({"python": platform.python_version(), **{name: names[name] for name in sorted(wanted & set(names))}}))
"""
ABSENT = """
import sys
from importlib.util import find_spec
print(*[name for name in sys.argv[1:] if find_spec(name) is None])
"""
SIZE = """
import json
from importlib.metadata import distributions
sizes = {}
for each in distributions():
    paths = [file.locate() for file in each.files or []]
    sizes[f"{each.name.lower().replace('_', '-')} {each.version}"] = sum(p.stat().st_size for p in paths if p.is_file()) / 1e6
sizes = {name: size for name, size in sizes.items() if name.split()[0] not in ("pip", "setuptools")}
largest = sorted(sizes, key=sizes.get, reverse=True)[:6]
print(json.dumps({"mb": round(sum(sizes.values())), "largest": {name: round(sizes[name], 1) for name in largest}}))
"""
# What each environment is installed from; constraints.txt keeps torch from CUDA's packages, where pip's index has a CPU build.
INSTALLED = {
    "late-rerank[offline]": [f"{ROOT}[offline]", "--find-links", f"{ROOT}/build/wheels", "-c", f"{ROOT}/constraints.txt"],
    "flashrank": ["flashrank"],
    "fastembed": ["fastembed"],
    "sentence-transformers": ["sentence-transformers", "-c", f"{ROOT}/constraints.txt"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each (default: 5)")
    parser.add_argument("--out", type=Path, help="write the JSON there, not to stdout")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PYTHON", help=f"NAME: {', '.join(NAMES)}")
    parser.add_argument("--only", metavar="WORD", default="", help="measure only the contenders with this word in their names")
    parser.add_argument("--sizes", action="store_true", help="install each into an environment of its own, and measure that")
    options = parser.parse_args()
    chosen = dict(given.partition("=")[::2] for given in options.python)
    if unknown := sorted(set(chosen) - set(NAMES)):
        parser.error(f"--python: unknown {', '.join(unknown)}; expected {', '.join(NAMES)}")
    pythons = {name: str(Path(chosen.get(name, sys.executable)).absolute()) for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        # Python may write its bytecode, as it does after an installation; models are kept in the scratch folder.
        os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=f"{folder}/hf_home", TOKENIZERS_PARALLELISM="false")
        report = {
            **json.loads(output(sys.executable, MACHINE)),
            "command": "python tests/benchmarks/start.py",
            "cores": len(os.sched_getaffinity(0)),
            "runs": options.runs,
            "n_documents": N_DOCUMENTS,
            **measured(Path(folder), pythons, options),
        }
        if options.sizes:
            report["site_packages"] = sizes(Path(folder))
    text = json.dumps(report, indent=1) + "\n"
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def measured(scratch, pythons, options):
    """All contenders in turns; the first turn warms up, and tells which of them can't run."""
    output(sys.executable, PREPARE, scratch, N_DOCUMENTS)
    left_out = {}
    found = ours(pythons, scratch, left_out) | peers(pythons, scratch, left_out)
    contenders = {name: run for name, run in found.items() if options.only in name}
    figures = {name: [] for name in contenders}
    for turn in range(options.runs + 1):
        for name, run in contenders.items():
            if name in left_out:
                continue
            try:
                run_figures = run()
            except RuntimeError as error:
                left_out[name] = str(error)
                continue
            print(f"turn {turn}: {name} {run_figures}", file=sys.stderr)
            if turn:
                figures[name].append(run_figures)
    medians = {
        name: {figure: round(statistics.median(run[figure] for run in runs), 3) for figure in runs[0]}
        for name, runs in figures.items()
        if runs and name not in left_out
    }
    ran = ["late-rerank", *(name for name in NAMES if any(each.startswith(name) for each in medians))]
    return {
        "versions": {name: json.loads(output(pythons[name], VERSIONS)) for name in ran},
        "figures": medians,
        "weights_of_peers": {name: weights for name, weights in WEIGHTS.items() if name in medians},
        "left_out": left_out,
    }


def ours(pythons, scratch, left_out):
    """The contenders of late-rerank: name -> what runs it once."""
    python = pythons["late-rerank"]
    command = str(Path(python).with_name("late-rerank"))
    found = {
        "python": partial(once, [python, "-c", "print(flush=True)"]),
        "import late_rerank": partial(once, [python, "-c", "import late_rerank; print(flush=True)"]),
    }
    asked = json.loads((scratch / "asked.json").read_text())
    store = ("--store", str(scratch / "store"))
    for backend, modules in BACKENDS.items():
        if reason := lacking(python, "late-rerank", modules):
            left_out[backend] = reason
            continue
        given = (*store, "--backend", backend)
        searched = [command, "search", str(scratch / "documents"), asked["query"], "--json", *given]
        found |= {
            f"search, {backend}": partial(once, searched, says='"misses": 0'),
            f"Reranker, {backend}": partial(once, [python, "-c", RERANKER, str(scratch), backend]),
            f"Reranker without a store, {backend}": partial(once, [python, "-c", STORELESS, str(scratch), backend]),
            f"serve, {backend}": partial(served, [command, "serve", *given], asked),
            f"mcp, {backend}": partial(talked, [command, "mcp", *given], asked),
        }
    for name, modules in (("serve", ["starlette", "uvicorn"]), ("mcp", ["mcp"])):
        if reason := lacking(python, "late-rerank", modules):
            left_out |= {f"{name}, {backend}": reason for backend in BACKENDS}
    return found


WEIGHTS = {
    "flashrank": f"{_RANDOM_HEAD}; its default is a smaller model, and its MiniLM is quantised",
    "fastembed": f"{_WEIGHTS}, 384 components",
    "sentence-transformers CrossEncoder": _RANDOM_HEAD,
    "sentence-transformers MultiVectorEncoder": f"{_WEIGHTS}, 384 components",
}


def peers(pythons, scratch, left_out):
    """The contenders of other packages: name -> what runs it once."""
    found = {}
    if reason := lacking(sys.executable, "", ["onnx"]):
        left_out |= {"flashrank": f"to make its model {reason}", "fastembed": f"to make its model {reason}"}
    else:
        output(sys.executable, GRAPHS, scratch)
        found |= {name: (code, [name]) for name, code in (("flashrank", FLASHRANK), ("fastembed", FASTEMBED))}
    if reason := lacking(sys.executable, "", BACKENDS["torch"]):
        left_out["sentence-transformers"] = f"to make its model {reason}"
    else:
        output(sys.executable, SAVED, scratch)
        modules = BACKENDS["torch"]
        found["sentence-transformers CrossEncoder"] = (CROSS_ENCODER, modules)
        found["sentence-transformers MultiVectorEncoder"] = (MULTI_VECTOR, modules)
    source = output(sys.executable, "from late_rerank.encode.builtin import minilm_source; print(minilm_source())").strip()
    runs = {}
    for name, (code, modules) in found.items():
        python = pythons[name.split()[0]]
        if reason := lacking(python, name.split()[0], modules):
            left_out[name] = reason
        else:
            runs[name] = partial(once, [python, "-c", code, str(scratch), source])
    return runs


def lacking(python, name, modules):
    """Why a Python can't run something; "" if it can."""
    absent = output(python, ABSENT, *modules).split()
    where = f"; --python {name}=PYTHON names an environment that has it" if name else " where this script runs"
    return f"it needs {', '.join(absent)}{where}" if absent else ""


def output(python, code, *arguments):
    """What a Python prints, from a folder in which no package lies."""
    done = subprocess.run(
        [python, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=tempfile.gettempdir(), check=False
    )
    if done.returncode:
        raise RuntimeError(last_line(done.stderr))
    return done.stdout


def last_line(log):
    return (log.strip().splitlines() or ["it ended without a word"])[-1]


def once(command, says=""):
    """One process, to its end; its output must say so."""
    with tempfile.TemporaryFile("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=tempfile.gettempdir())
        with process.stdout:
            first = process.stdout.readline()
            seconds = time.perf_counter() - began
            said = first + process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        if process.returncode:
            raise RuntimeError(last_line(log.read()))
    if says not in said.decode():
        raise RuntimeError(f"its output lacks {says}")
    return {"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss * 1024 / _MB}


def served(command, asked):
    """A server until it is ready, and its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    body = json.dumps(asked)
    with tempfile.TemporaryFile("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=log, stderr=log, start_new_session=True, cwd=tempfile.gettempdir()
        )
        try:
            while request(port, "GET", "/ready") != 200:
                if process.poll() is not None or time.perf_counter() - began > _WAIT_S:
                    log.seek(0)
                    raise RuntimeError(last_line(log.read()))
                time.sleep(0.005)
            ready = {"seconds": time.perf_counter() - began, **spent(process.pid)}
            asking = time.perf_counter()
            if request(port, "POST", "/rerank", body) != 200:
                raise RuntimeError("the first /rerank failed")
            answer_s = time.perf_counter() - asking
            after = spent(process.pid)
        finally:
            end(process)
    return {**ready, "first_answer_s": answer_s, **{f"{name}_after_answer": value for name, value in after.items()}}


def request(port, method, path, body=None):
    """The status, or 0 where nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        answer.read()
    except OSError:
        return 0
    finally:
        connection.close()
    return answer.status


def talked(command, asked):
    """An MCP server until it is initialized, and the result of its first call."""
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}
    with tempfile.TemporaryFile("w+") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            cwd=tempfile.gettempdir(),
        )
        lines = queue.Queue()
        threading.Thread(target=lambda: [*map(lines.put, process.stdout), lines.put("")], daemon=True).start()
        try:
            tell(process, method="initialize", params=client, id=0)
            heard(lines, log)
            initialized = {"initialized_s": time.perf_counter() - began, "pss_mb": spent(process.pid)["pss_mb"]}
            tell(process, method="notifications/initialized", params={})
            tell(process, method="tools/call", params={"name": "rerank", "arguments": asked}, id=1)
            if heard(lines, log)["result"].get("isError"):
                raise RuntimeError("the first call failed")
            found = {"seconds": time.perf_counter() - began, **initialized}
            after = spent(process.pid)
        finally:
            end(process)
    return {**found, "cpu_s": after["cpu_s"], "pss_mb_after_answer": after["pss_mb"]}


def tell(process, **message):
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()


def heard(lines, log):
    line = lines.get(timeout=_WAIT_S)
    if not line:
        log.seek(0)
        raise RuntimeError(last_line(log.read()))
    return json.loads(line)


def end(process):
    if process.stdin:
        process.stdin.close()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def spent(root):
    """Processor time of a process and its descendants, ended ones included, and their proportional set size."""
    ticks, size, waiting = 0, 0, [root]
    while waiting:
        pid = waiting.pop()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        size += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        for task in Path(f"/proc/{pid}/task").iterdir():
            waiting += map(int, (task / "children").read_text().split())
    return {"cpu_s": ticks / _TICKS, "pss_mb": size * 1024 / _MB}


def sizes(scratch):
    """Megabytes of what pip installs into a fresh environment, without pip itself and without compiled modules."""
    found = {}
    for name, given in INSTALLED.items():
        folder = scratch / "environments" / name
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(folder / "bin" / "python")
        quietly = ["--quiet", "--disable-pip-version-check", "--no-compile"]
        if name.startswith("late-rerank"):
            quietly += ["-C", f"build-dir={scratch}/build"]
        done = subprocess.run([python, "-m", "pip", "install", *quietly, *given], capture_output=True, text=True, check=False)
        found[name] = {"left_out": last_line(done.stderr)} if done.returncode else json.loads(output(python, SIZE))
    return found


if __name__ == "__main__":
    main()
