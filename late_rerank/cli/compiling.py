"""`late-rerank compile`: a checkpoint -> a folder that needs no torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from late_rerank.cli.options import add_json, add_revision


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "compile",
        help="turn a checkpoint into a folder that needs no torch",
        description="Write one graph, its weights and its tokenizer, compared with sentence-transformers' own vectors. A "
        "machine that loads the folder (--model DIR) needs no torch. A checkpoint's first load does the same, into the cache.",
    )
    command.add_argument("model", metavar="MODEL", help='"minilm", "minilm-late", a folder, or a hub name')
    add_revision(command)
    command.add_argument("--out", metavar="DIR", type=Path, help="a new or empty folder (default: the Hugging Face cache)")
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compile, then say what was proved."""
    from late_rerank.cli.results import print_json, size_text
    from late_rerank.encode.opening import compile_to

    compiled = compile_to(options.model, options.out)
    described = compiled.description
    folder = compiled.graph.parent
    result = {
        "folder": str(folder),
        "model": options.model,
        "format": described.source["format"],
        "dim": described.dim,
        "fingerprint": described.fingerprint,
        "size_bytes": compiled.size_bytes,
        "proved": described.proved,
        "versions": described.versions,
    }
    if options.json:
        print_json(result)
        return
    proved = described.proved
    print(f"{folder} ({size_text(result['size_bytes'])}), fingerprint {described.fingerprint}")
    print(f"least cosine to torch {proved['least_cosine']:.6f} among {proved['n_texts']} texts, by {proved['engine']}")
