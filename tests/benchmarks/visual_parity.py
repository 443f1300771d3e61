"""Page-image models against sentence-transformers' pinned scores. Prints JSON; needs the hub, and a GPU for most models.

    python tests/benchmarks/visual_parity.py [MODEL ...]       # all by default; vidore/colSmol-256M runs on a processor

Exit 0: every score is within .1 % + .001 of the pinned one, in float32; with bfloat16, as on CUDA, within 2 %; and each query
finds its page. Exit 1: one isn't. Exit 2: the hub can't be reached.

Source of the scores: sentence-transformers 6.2, tests/multi_vector_encoder/test_pretrained.py. Three of its 17 models are left
out, which late-rerank refuses: colqwen2-v1.0-hf (other positions), tomoro-colqwen3 (code of its own), colqwen-omni (family).
"""

import json
import os
import sys
import urllib.error
import urllib.request

import numpy as np

from late_rerank.encode import VisualEncoder
from late_rerank.evaluate.bench.provenance import commit, machine, versions
from late_rerank.pictures import as_picture

QUERIES = ("What is the variable represented on the y-axis of the graph?", "Total outlay is maximum in which year?")
# The scores are of these bytes.
PAGES = (
    "https://huggingface.co/datasets/sentence-transformers/example-documents/resolve"
    "/49f05727417edee37938141fd1dd6ad70cbcc559/doc{}.jpg"
)
PINNED = {
    "vidore/colSmol-256M": ((18.19177, 16.21826, 11.77296, 9.81028), (9.28594, 15.07055, 10.39773, 8.11685)),
    "vidore/colSmol-500M": ((16.83529, 13.67782, 11.73600, 11.48435), (7.74692, 14.95682, 8.18546, 9.20794)),
    "vidore/colsmolvlm-v0.1": ((19.26244, 14.77771, 13.38723, 13.07574), (11.34115, 16.35669, 10.05041, 10.39349)),
    "ModernVBERT/colmodernvbert": ((16.77780, 10.37123, 11.84198, 9.05343), (7.37221, 12.06184, 8.14767, 7.95627)),
    "ModernVBERT/colmodernvbert-merged": ((16.77780, 10.37122, 11.84198, 9.05343), (7.37222, 12.06184, 8.14767, 7.95627)),
    "vidore/colqwen2-v1.0": ((13.70598, 11.19109, 11.55256, 10.34176), (7.23008, 16.20519, 6.92686, 6.34751)),
    "vidore/colqwen2-v1.0-merged": ((13.70829, 11.18885, 11.55377, 10.34371), (7.22471, 16.19691, 6.92718, 6.34652)),
    "vidore/colqwen2.5-v0.1": ((14.49592, 13.66154, 12.62755, 12.21405), (6.67031, 13.04360, 6.41104, 6.51284)),
    "vidore/colqwen2.5-v0.2": ((13.86088, 12.41194, 12.14236, 11.15379), (7.20549, 14.63949, 6.95723, 7.01793)),
    "vidore/colpali-v1.2-merged": ((11.11996, 10.83272, 8.34862, 5.54090), (5.46607, 9.24259, 4.81569, 6.16846)),
    "vidore/colpali-v1.2-hf": ((11.11996, 10.83272, 8.34862, 5.54090), (5.46607, 9.24259, 4.81569, 6.16846)),
    "vidore/colpali-v1.3-merged": ((22.31296, 19.91783, 19.65032, 19.08110), (5.84823, 13.27723, 6.13870, 6.68729)),
    "vidore/colpali-v1.3": ((22.31006, 19.91216, 19.63692, 19.06972), (5.84230, 13.27022, 6.13517, 6.68002)),
    "vidore/colpali-v1.3-hf": ((22.31296, 19.91783, 19.65032, 19.08110), (5.84823, 13.27723, 6.13870, 6.68729)),
}
TIMEOUT_S = 30


def pages():
    """The four pages, as bytes; exits with 2 where the hub can't be reached."""
    try:
        return [as_picture(downloaded(PAGES.format(i))) for i in range(1, 5)]
    except (urllib.error.URLError, OSError) as error:
        print(json.dumps({"error": f"the hub can't be reached: {error}", "models": list(PINNED)}))
        sys.exit(2)


def downloaded(url):
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return answer.read()


def compared(name, documents):
    """The scores of one model beside the pinned ones."""
    encoder = VisualEncoder(name)
    queries, vectors = encoder.encode_query(QUERIES), encoder.encode_document(documents)
    scores = np.array(
        [
            [float((queries.rows(q) @ vectors.rows(d).T).max(axis=1).sum()) for d in range(len(documents))]
            for q in range(len(QUERIES))
        ]
    )
    expected = np.array(PINNED[name])
    exact = encoder.backend.precision == "f32"
    near = np.allclose(scores, expected, rtol=1e-3 if exact else 2e-2, atol=1e-3)
    finds = scores.argmax(axis=1).tolist() == [0, 1]
    patches = [sum(right > left for left, _, right, _ in encoder.patches(document)) for document in documents]
    return {
        "model": name,
        "family": encoder.family,
        "precision": encoder.backend.precision,
        "device": encoder.describe()["device"],
        "scores": scores.round(5).tolist(),
        "pinned": expected.tolist(),
        "largest_difference": float(np.abs(scores - expected).max().round(5)),
        "vectors": vectors.lengths.tolist(),
        "patches": patches,
        "is_right": bool(near and finds),
    }


def main():
    names = sys.argv[1:] or list(PINNED)
    unknown = [name for name in names if name not in PINNED]
    if unknown:
        sys.exit(f"no scores are pinned for {', '.join(unknown)}: known are {', '.join(PINNED)}")
    os.environ.pop("HF_HUB_OFFLINE", None)
    documents, results = pages(), []
    for name in names:
        print(name, file=sys.stderr)
        results.append(compared(name, documents))
    report = {"command": " ".join(["python", *sys.argv]), "machine": machine(), "commit": commit(), "versions": versions()}
    json.dump({**report, "models": results}, sys.stdout, indent=1)
    print()
    sys.exit(not all(result["is_right"] for result in results))


if __name__ == "__main__":
    main()
