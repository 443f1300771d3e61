"""What a server adds to a Reranker: requests a second, their latency, and processor time; writes JSON. Needs wrk (apt).

    python tests/benchmarks/server.py [--seconds 10] [--workers 1,2] [--clients 1,8,64] [--soak SECONDS] [--out server.json]

One process serves, wrk asks from another over loopback: 100 stored passages of about 180 tokens, bodies prepared beforehand,
each another query. Processor time is the servers', wrk's is told beside it. `reranker` is the same questions asked of a
Reranker in a process of its own, one thread. --soak goes on with 64 clients, of the most workers, and tells the servers'
memory over time: as long with clients that stay, and as long again with others every 20 s.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from serving import memory_mb, serving

from late_rerank.evaluate.bench.provenance import commit, platform_name

N_BODIES = 64
K = 100
_SAMPLE_S = 20
_TICKS = os.sysconf("SC_CLK_TCK")

SCRIPT = """
local bodies = {}
for body in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = body end
local n = math.random(#bodies)
function request()
  n = n %% #bodies + 1
  return wrk.format("POST", "/rerank", {["Content-Type"] = "application/json"}, bodies[n])
end
function done(summary, latency)
  io.write(string.format('{"requests": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f, "failed": %%d, "not_200": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout, summary.errors.status))
end
""".replace("%%", "%")


def questions():
    """Queries, each with the same 100 passages in another order."""
    from late_rerank.evaluate.bench.end_to_end import passages

    texts = [candidate.text for candidate in passages(K)]
    words = [" ".join(text.split()[5:13]) for text in texts]
    return [
        {"query": f"{words[i % K]} {i}", "documents": texts[i % K :] + texts[: i % K], "top_n": 10} for i in range(N_BODIES)
    ]


def alone(store, seconds):
    """Reranks a second of processor time, of a process without a server."""
    code = (
        "import json, sys, time; sys.path.insert(0, sys.argv[3])\n"
        "from late_rerank import Reranker; from server import questions\n"
        "asked = questions(); reranker = Reranker(store=sys.argv[1])\n"
        "ask = lambda i: reranker.rerank(asked[i % len(asked)]['query'], asked[i % len(asked)]['documents'], top_k=10)\n"
        "[ask(i) for i in range(50)]\n"
        "n, began, cpu = 0, time.perf_counter(), time.process_time()\n"
        "while time.perf_counter() - began < float(sys.argv[2]): ask(n); n += 1\n"
        "wall, cpu = time.perf_counter() - began, time.process_time() - cpu\n"
        "print(json.dumps({'per_second': round(n / wall, 1), 'per_cpu_second': round(n / cpu, 1)}))\n"
    )
    command = [sys.executable, "-c", code, store, str(seconds), str(Path(__file__).parent)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def processes(root):
    """A process and all that descend from it."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            waiting += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            continue
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def prepared(scratch, model="minilm"):
    """Write what wrk asks, and a store with all passages; give the store's folder and a body's bytes."""
    from late_rerank import Reranker

    given, store = questions(), str(scratch / "store")
    bodies = [json.dumps(question) for question in given]
    (scratch / "bodies").write_text("".join(f"{body}\n" for body in bodies))
    (scratch / "wrk.lua").write_text(SCRIPT)
    with Reranker(model, store=store) as reranker:
        reranker.index(given[0]["documents"])
    return store, len(bodies[0])


def generating(url, scratch, clients, seconds):
    """wrk, begun: so many clients, which ask as long as they stay."""
    command = ["wrk", "-t", "1", "-c", str(clients), "-d", f"{seconds}s", "--timeout", "60s", "-s", scratch / "wrk.lua", url]
    return subprocess.Popen(command, env={**os.environ, "BODIES": str(scratch / "bodies")}, stdout=subprocess.PIPE, text=True)


def told_by(process):
    """What wrk says at its end."""
    said, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return json.loads(re.search(r"^\{.*\}$", said, re.MULTILINE)[0])


def asked(url, scratch, clients, seconds):
    """What wrk says of so many clients, and what it cost wrk."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = told_by(generating(url, scratch, clients, seconds))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told["wrk_cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)
    return told


def measured(url, process, scratch, clients, seconds):
    pids = processes(process.pid)
    began = cpu_seconds(pids)
    told = asked(url, scratch, clients, seconds)
    cpu = cpu_seconds(pids) - began
    return {
        "clients": clients,
        "requests_per_second": round(told["requests"] / told["seconds"], 1),
        "p50_ms": round(told["p50_ms"], 2),
        "p99_ms": round(told["p99_ms"], 2),
        "server_cpu_s": round(cpu, 2),
        "wrk_cpu_s": told["wrk_cpu_s"],
        "requests_per_cpu_second": round(told["requests"] / cpu, 1),
        "not_200": told["not_200"],
        "failed": told["failed"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--clients", default="1,8,64")
    parser.add_argument("--soak", type=int, default=0, help=f"a multiple of {_SAMPLE_S}")
    parser.add_argument("--out", type=Path, default=Path("server.json"), help="default: server.json")
    options = parser.parse_args()
    if options.soak % _SAMPLE_S:
        parser.error(f"--soak must be a multiple of {_SAMPLE_S}, got {options.soak}")
    report = {"machine": platform_name(), "commit": commit(), "cores": os.cpu_count(), "k": K, "workers": {}}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        store, report["body_bytes"] = prepared(scratch)
        counts = [int(n) for n in options.workers.split(",")]
        for n in counts:
            rows = []
            with serving("--workers", n, "--store", store) as (url, process, _):
                asked(url, scratch, 4, 3)
                for clients in map(int, options.clients.split(",")):
                    reference = alone(store, options.seconds / 2)  # side by side, as fast as the machine is just then
                    row = measured(url, process, scratch, clients, options.seconds)
                    row["of_reranker"] = round(row["requests_per_cpu_second"] / reference["per_cpu_second"], 3)
                    rows.append({**row, "reranker": reference})
                    print(rows[-1], file=sys.stderr)
                found = report["workers"][str(n)] = {"rows": rows}
                if options.soak and n == counts[-1]:
                    found["soaks"] = [soaked(url, process, scratch, options.soak, stay) for stay in (options.soak, _SAMPLE_S)]
            options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def soaked(url, process, scratch, seconds, stay):
    """Memory every 20 s, under 64 clients, in whose place others come after so many seconds."""
    pids, began = processes(process.pid), time.monotonic()
    told, memory = Counter(), []
    for _ in range(seconds // stay):
        generator = generating(url, scratch, 64, stay)
        for _ in range(stay // _SAMPLE_S):
            time.sleep(_SAMPLE_S)
            memory.append({"minutes": round((time.monotonic() - began) / 60, 1), "memory_mb": round(memory_mb(pids), 1)})
            print(memory[-1], file=sys.stderr)
        told.update({what: n for what, n in told_by(generator).items() if what in ("requests", "not_200", "failed")})
    return {"stay_s": stay, **told, "memory": memory}


if __name__ == "__main__":
    main()
