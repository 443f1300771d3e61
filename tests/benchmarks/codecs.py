"""What each codec costs in bytes and in ranking quality: SciFact and NFCorpus, BM25's top 100. Prints JSON; takes minutes.

    python tests/benchmarks/codecs.py FOLDER_WITH_THE_COLLECTIONS

Each document is encoded once and packed by every codec.
"""

import json
import sys
from pathlib import Path

from late_rerank import Reranker
from late_rerank.codecs import codec
from late_rerank.corpus import read_corpus, read_qrels, read_queries
from late_rerank.encode import TextEncoder
from late_rerank.evaluate import evaluate, retrieve_run
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.retrieve import BM25Retriever
from late_rerank.stores import MemoryStore
from late_rerank.types import TokenVectors

CODECS = ("float32", "float16", "int8", "int4", "binary")
DATASETS = ("scifact", "nfcorpus")
K = 100


class RememberingEncoder:
    """Encodes each text once."""

    def __init__(self, encoder):
        self._encoder, self._rows = encoder, {}
        self.dim, self.fingerprint = encoder.dim, encoder.fingerprint

    def encode_query(self, texts):
        return self._remembered("query", texts, self._encoder.encode_query)

    def encode_document(self, texts):
        return self._remembered("document", texts, self._encoder.encode_document)

    def _remembered(self, kind, texts, encode):
        unknown = [text for text in dict.fromkeys(texts) if (kind, text) not in self._rows]
        if unknown:
            vectors = encode(unknown)
            self._rows |= {(kind, text): vectors.rows(i) for i, text in enumerate(unknown)}
        return TokenVectors.from_arrays([self._rows[kind, text] for text in texts], self.dim)


def main() -> None:
    results, minilm = [], TextEncoder("minilm")
    for dataset in DATASETS:
        folder, encoder = Path(sys.argv[1]) / dataset, RememberingEncoder(minilm)
        queries, qrels = read_queries(folder), read_qrels(folder, "test")
        judged = {name: queries[name] for name in qrels if name in queries}
        run = retrieve_run(BM25Retriever(read_corpus(folder).documents), judged, K, progress=True)
        for name in CODECS:
            with Reranker(encoder, codec=name, store=MemoryStore(max_bytes=None)) as reranker:
                measures = evaluate(reranker, run, queries, qrels, progress=True).measures["reranked"]
            bytes_per_token = {str(dim): codec(name).spec(dim).bytes_per_token for dim in (128, 384)}
            row = {"dataset": dataset, "codec": name, "kernel": reranker.kernel.name, "bytes_per_token": bytes_per_token}
            results.append({**row, **measures})
    print(json.dumps({"machine": platform_name(), "commit": commit(), "k": K, "results": results}, indent=1))


if __name__ == "__main__":
    main()
