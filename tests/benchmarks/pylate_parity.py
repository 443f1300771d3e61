"""Rebuilt checkpoints: our vectors against PyLate's own. Prints JSON.

    python -m venv pylate && pylate/bin/pip install pylate==1.6.0      # it pins another sentence-transformers than ours
    PYTHONPATH=tests python tests/benchmarks/pylate_parity.py pylate/bin/python [MODEL ...]

Exit 0: vectors of each text differ by at most 1e-4 a component. Exit 1: some differ by more.

What differs on purpose is compared as it differs: PyLate strips the white space around a text, and cuts a long document where
we go on in the next window. Two kinds of texts are left out: an empty document, which has no vectors here; and a text with the
tokenizer's own tokens, such as "[MASK]", in which sentence-transformers differs from PyLate as we do. PyLate lower-cases a text
before it looks for them; and ModernBERT's [MASK] takes the space before it, which belongs to a marker there.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

NEAR = 1e-4
LONG = "A mutex lets one thread at a time into a critical section. " * 60
TEXTS = (
    *("What is late interaction?", "cat", "LATE Interaction", "?!... (12b)", "naïve façade Straße", "東京大学の猫"),
    *("привет, мир", "\U0001f600 \u200b x", "Which planet is known as the Red Planet?"),
    *("the cat sat on the mat, late interaction keeps one vector per token", "  white  space\n around ", LONG),
)
KINDS = ("query", "document")


def pylate_vectors(folders, out):
    """What runs under PyLate's Python: a file of vectors for each kind and text of each checkpoint."""
    from pylate import models

    found = {}
    for name, folder in folders.items():
        model = models.ColBERT(folder, device="cpu", local_files_only=True)
        for kind in KINDS:
            prompt = kind if model.prompts.get(kind) else None
            rows = model.encode(list(TEXTS), is_query=kind == "query", prompt_name=prompt, show_progress_bar=False)
            found |= {f"{name} {kind} {i}": each for i, each in enumerate(rows)}
    np.savez(out, **found)


def by_pylate(python, folders, root):
    """PyLate's vectors, and the versions that made them."""
    out = root / "pylate.npz"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    command = [
        python,
        __file__,
        "--under-pylate",
        json.dumps({name: str(folder) for name, folder in folders.items()}),
        str(out),
    ]
    subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    asked = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in %r}))"
    packages = ("pylate", "sentence-transformers", "transformers", "torch")
    told = subprocess.run([python, "-c", asked % (packages,)], env=environment, check=True, capture_output=True, text=True)
    return np.load(out), json.loads(told.stdout)


def ours(folder, kind, backend):
    """Our vectors of each text, cut where PyLate cuts and stripped as PyLate strips."""
    from late_rerank.encode import TextEncoder

    layout = TextEncoder(folder, backend=backend)._model.layout
    opening = layout._split(LONG)[0]
    encoder = TextEncoder(folder, backend=backend, max_tokens=layout.window_tokens - len(opening) - len(layout.after))
    # PyLate strips a prompt and its text as one.
    prompts = (layout.query_prompt, layout.document_prompt)
    has_prompt = len(prompts[KINDS.index(kind)].split()) > 1
    texts = [text.rstrip() if has_prompt else text.strip() for text in TEXTS]
    return encoder.encode_query(texts) if kind == "query" else encoder.encode_document(texts)


def compared(name, folder, theirs, backend):
    """The largest differences of one checkpoint."""
    result = {"model": name, "backend": backend}
    for kind in KINDS:
        vectors = ours(folder, kind, backend)
        pairs = [(vectors.rows(i), theirs[f"{name} {kind} {i}"]) for i in range(len(TEXTS))]
        other = [TEXTS[i][:40] for i, (one, two) in enumerate(pairs) if one.shape != two.shape]
        largest = max((float(np.abs(one - two).max()) for one, two in pairs if one.shape == two.shape), default=0.0)
        result[kind] = {"largest_difference": float(f"{largest:.2g}"), "n_vectors": len(vectors.values), "other_numbers": other}
    return result


def main():
    """Build, encode twice, compare."""
    if sys.argv[1:2] == ["--under-pylate"]:
        pylate_vectors(json.loads(sys.argv[2]), sys.argv[3])
        return
    from published import PUBLISHED, build

    from late_rerank.evaluate.bench.provenance import commit, machine, versions

    if len(sys.argv) < 2:
        sys.exit("pass the Python of an environment with PyLate: pylate/bin/python")
    names = sys.argv[2:] or [name for name, facts in PUBLISHED.items() if facts.format in ("stanford", "pylate")]
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        os.environ["HF_HOME"] = str(root / "home")
        folders = {name: build(name, root / f"model-{i}") for i, name in enumerate(names)}
        theirs, pylates = by_pylate(sys.argv[1], folders, root)
        results = [compared(name, folder, theirs, "torch") for name, folder in folders.items()]
    report = {"command": "PYTHONPATH=tests python tests/benchmarks/pylate_parity.py pylate/bin/python", "n_texts": len(TEXTS)}
    report |= {"machine": machine(), "commit": commit(), "versions": versions(), "pylate": pylates, "models": results}
    json.dump(report, sys.stdout, indent=1, ensure_ascii=False)
    print()
    near = all(
        not each[kind]["other_numbers"] and each[kind]["largest_difference"] <= NEAR for each in results for kind in KINDS
    )
    sys.exit(not near)


if __name__ == "__main__":
    main()
