"""Two servers behind haproxy, one killed and one replaced under load; prints JSON. Needs haproxy and redis-server (apt).

    python tests/benchmarks/replicas.py [--rate 15] [--least 1000] [--rounds 2]

Both servers keep their vectors in one Redis. Requests come at `rate` a second, whether answers come or not: 100 stored
passages of about 180 tokens, each request with another question. Meanwhile one server is killed with SIGKILL and started
again, then both are replaced one after the other with SIGTERM. All of it is done twice, and goes on until so many requests
were sent.
Then the same without tune.bufsize, which shows why it is there: haproxy can't try a request again that its buffer doesn't hold.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from redis_servers import RedisServer
from replicas import Load, Proxy, Replica
from serving import until

from late_rerank.evaluate.bench.end_to_end import passages
from late_rerank.evaluate.bench.provenance import commit, platform_name

K = 100
WAYS = ("as shipped", "with haproxy's own buffers")


def asking(url):
    """What sends request i."""
    texts = [candidate.text for candidate in passages(K)]

    def ask(client, i):
        words = " ".join(texts[i % K].split()[5:13])
        body = {"query": f"{words} {i}", "documents": texts, "top_n": 10}
        return client.post(f"{url}/rerank", json=body).status_code

    return ask


def disturbed(first, second, proxy, load):
    """Kill one server and start it again, then replace both; tell when each was done."""
    done = {}

    def note(step):
        done[step] = round(time.perf_counter() - load.began, 1)

    first.kill()
    note("kill -9")
    proxy.wait(1)
    _started(first, proxy)
    note("started again")
    for name, each in (("replaced the first", first), ("replaced the second", second)):
        each.end()
        proxy.wait(1)
        _started(each, proxy)
        note(name)
    return done


def _started(replica, proxy):
    replica.start()
    replica.wait()
    proxy.wait(2)


def round_of(folder, options, arguments, *, default_buffers):
    """Give what one round came to."""
    with (
        Replica(folder / "first.log", *options) as first,
        Replica(folder / "second.log", *options) as second,
        Proxy(folder, [first.port, second.port], default_buffers=default_buffers) as proxy,
    ):
        proxy.wait(2)
        ask = asking(proxy.url)
        with Load(ask, n_clients=1) as warming:
            until(lambda: warming.answers, "no answer", seconds=600)
        with Load(ask, n_clients=16, rate=arguments.rate) as load:
            until(lambda: len(load.answers) >= arguments.least / 20, "no answers")
            done = disturbed(first, second, proxy, load)
            until(lambda: len(load.answers) >= arguments.least, "no more answers", seconds=600)
        return {"seconds": round(time.perf_counter() - load.began, 1), **counted(load), "when_s": done}


def counted(load):
    """Requests, those that failed, and milliseconds from when each was due."""
    ms = sorted(answer[1] for answer in load.answers)
    hundredths = statistics.quantiles(ms, n=100)
    return {
        "requests": len(ms),
        "failed": len(load.failed),
        "failures": sorted({str(answer[2]) for answer in load.failed}),
        "failed_at_s": [round(answer[0], 1) for answer in load.failed[:20]],
        "p50_ms": round(hundredths[49], 1),
        "p99_ms": round(hundredths[98], 1),
        "max_ms": round(ms[-1], 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=15, help="requests a second")
    parser.add_argument("--least", type=int, default=1000, help="requests of a round")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    result = {
        "machine": platform_name(),
        "commit": commit(),
        "command": f"python tests/benchmarks/replicas.py {' '.join(sys.argv[1:])}".strip(),
        "k": K,
        "body_bytes": len(json.dumps({"documents": [candidate.text for candidate in passages(K)]})),
        "rate": arguments.rate,
        "rounds": {way: [] for way in WAYS},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with RedisServer(folder / "redis") as redis:
            for way, rounds in result["rounds"].items():
                for _ in range(arguments.rounds):
                    options = ("--backend", "onnx", "--store", redis.url)
                    rounds.append(round_of(folder, options, arguments, default_buffers=way != WAYS[0]))
                    print(json.dumps(rounds[-1]), file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
