"""Files -> documents. In: a folder, a file, JSON Lines, a BEIR folder. Out: Candidates, and the skipped files with reasons."""

from late_rerank.corpus.beir import Collection, absent_text, read_collection, read_judged, read_qrels, read_queries, splits_of
from late_rerank.corpus.files import Corpus, CorpusStream, read_corpus
from late_rerank.corpus.json_lines import parse_json_lines, read_json_lines

__all__ = [
    "Collection",
    "Corpus",
    "CorpusStream",
    "absent_text",
    "parse_json_lines",
    "read_collection",
    "read_corpus",
    "read_json_lines",
    "read_judged",
    "read_qrels",
    "read_queries",
    "splits_of",
]
