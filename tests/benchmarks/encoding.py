"""What bulk encoding takes in time and memory, whole reranks, and a query on a busy machine. Prints JSON; takes minutes.

    python tests/benchmarks/encoding.py [--n 1000]

"documents" are docstrings of about 180 tokens, Python's own 440 over and over. Each way encodes them on one thread in a
process of its own, twice in turns; "seconds" are the processor's; "peak_mb" is that process's largest resident size, model and
libraries included. "sentence-transformers" is its own encode_document, in torch and float32. "end_to_end" has a rerank of 100
stored passages on the fastest backend, with the built-in model's 384 components and with a projection of the same model to 128
(of random weights: its time is a trained one's), over the encoding of its query; and a cross-encoder of the same backbone on
the same engine, without its head, over that rerank in processor time. "query" has a query of 32 tokens on an idle machine, and
with a process that spins on each processor; "torch on all threads" is what torch does unless it is told otherwise.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from contextlib import nullcontext
from itertools import cycle, islice

from child_processes import answer_of

WAYS = ("openvino", "onnx", "torch", "sentence-transformers")
QUERY_WAYS = ("openvino", "onnx", "torch", "torch on all threads")
TURNS = 2
QUERIES = 300
RERANKS = 200
PAIRS = 32  # a batch of the cross-encoder's


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--child", choices=list(CHILDREN))
    parser.add_argument("--way")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CHILDREN[options.child](options.way, options.n)))
        return
    from late_rerank.evaluate.bench.provenance import commit, platform_name

    bulk = {way: [] for way in WAYS}
    for _ in range(TURNS):
        for way, runs in bulk.items():
            runs.append(in_a_process("documents", way, options.n, one_thread=True))
    n_documents = {run.pop("n_documents") for runs in bulk.values() for run in runs}
    medians = {way: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for way, runs in bulk.items()}
    slowest = medians["sentence-transformers"]["seconds"]
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/encoding.py",
        "n_documents": max(n_documents),
        "documents": {
            way: {**run, "of_sentence_transformers": round(run["seconds"] / slowest, 3)} for way, run in medians.items()
        },
        "end_to_end": {dim: in_a_process("end_to_end", dim, 100, one_thread=True) for dim in ("384", "128")},
        "query": {way: in_a_process("query", way, options.n, one_thread=False) for way in QUERY_WAYS},
    }
    print(json.dumps(report, indent=1))


def in_a_process(child, way, n, *, one_thread):
    return answer_of(__file__, "--child", child, "--way", way, "--n", n, one_thread=one_thread)


def documents(way, n):
    from late_rerank.encode import TextEncoder
    from late_rerank.evaluate.bench.end_to_end import passages

    texts = list(islice(cycle([candidate.text for candidate in passages(n)]), n))
    if way == "sentence-transformers":
        from late_rerank.encode.torch.loading import load_builtin

        model = load_builtin("minilm", "cpu")
        encode = lambda: sum(len(vectors) for vectors in model.encode_document(texts, show_progress_bar=False))  # noqa: E731
    else:
        encoder = TextEncoder(backend=way)
        encode = lambda: len(encoder.encode_document(texts).values)  # noqa: E731
    started = time.process_time()
    n_tokens = encode()
    seconds = time.process_time() - started
    return {
        "n_documents": len(texts),
        "seconds": round(seconds, 2),
        "n_tokens": n_tokens,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def query(way, _):
    from late_rerank.encode import TextEncoder
    from late_rerank.evaluate.bench.encoding import QUERY

    if way == "torch on all threads":
        from late_rerank.encode.torch import forward

        forward.one_thread, way = nullcontext, "torch"
    encoder = TextEncoder(backend=way)
    idle = times(encoder, QUERY)
    spinning = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in spinning:
        process.start()
    time.sleep(1)
    busy = times(encoder, QUERY)
    for process in spinning:
        process.kill()
    median, p99 = statistics.median(idle), statistics.quantiles(busy, n=100)[98]
    return {"idle_median_ms": round(median, 2), "busy_p99_ms": round(p99, 2), "busy_p99_of_idle_median": round(p99 / median, 1)}


def end_to_end(dim, n):
    from huggingface_hub import constants

    from late_rerank import Reranker
    from late_rerank.encode import TextEncoder
    from late_rerank.evaluate.bench.encoding import QUERY
    from late_rerank.evaluate.bench.end_to_end import passages

    with tempfile.TemporaryDirectory() as folder:
        constants.HF_HOME = f"{folder}/hf_home"  # what is compiled here isn't kept
        encoder = TextEncoder("minilm" if dim == "384" else projected(f"{folder}/model", int(dim)))
    reranker, candidates = Reranker(encoder), passages(n)
    reranker.index(candidates)
    reranker.rerank(QUERY, candidates)
    started = time.process_time()
    runs = [reranker.rerank(QUERY, candidates).timings_ms for _ in range(RERANKS)]
    processor_ms = (time.process_time() - started) * 1000 / RERANKS
    found = {name: statistics.median(run[name] for run in runs) for name in ("total", "encode_query")}
    crossed = statistics.median(cross_encoder(encoder, QUERY, [candidate.text for candidate in candidates]) for _ in range(3))
    return {
        "backend": encoder.backend.name,
        **{f"{name}_ms": round(value, 2) for name, value in found.items()},
        "total_of_encode_query": round(statistics.median(run["total"] / run["encode_query"] for run in runs), 2),
        "cross_encoder_ms": round(crossed, 1),
        "cross_encoder_of_total": round(crossed / processor_ms),
    }


def projected(folder, dim):
    """The built-in model with a projection, saved to a folder."""
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    from late_rerank.encode.builtin import minilm_source

    torch.manual_seed(0)
    settings = {"bias": False, "activation_function": torch.nn.Identity(), "module_input_name": "token_embeddings"}
    modules = [
        Transformer(minilm_source(), query_length=64, document_length=300),
        Dense(in_features=384, out_features=dim, **settings),
        MultiVectorMask(),
        Normalize(module_input_name="token_embeddings"),
    ]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(folder, create_model_card=False)
    return folder


def cross_encoder(encoder, query, texts):
    """Milliseconds of the engine over query and document together, in batches of equal length."""
    import numpy as np

    tokenizer, run = encoder._model.layout.tokenizer, encoder._model.forward.run
    pairs = sorted((tokenizer.encode(query, text).ids[:512] for text in texts), key=len)
    started = time.process_time()
    for start in range(0, len(pairs), PAIRS):
        batch = pairs[start : start + PAIRS]
        ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, pair in enumerate(batch):
            ids[row, : len(pair)], mask[row, : len(pair)] = pair, 1
        run(ids, mask)
    return (time.process_time() - started) * 1000


def times(encoder, text):
    found = []
    for i in range(QUERIES + 20):
        started = time.perf_counter()
        encoder.encode_query([text])
        if i >= 20:
            found.append((time.perf_counter() - started) * 1000)
    return found


CHILDREN = {"documents": documents, "query": query, "end_to_end": end_to_end}


def spin():
    while True:
        pass


if __name__ == "__main__":
    main()
