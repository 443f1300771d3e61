"""The definition's cases: every kernel, the reference, and sentence-transformers' own maxsim give these numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers.util.similarity import maxsim

from late_rerank.codecs import Float32Codec
from late_rerank.maxsim import NumpyKernel, kernel, reference
from late_rerank.types import TokenVectors

CASES = json.loads((Path(__file__).parent / "maxsim_cases.json").read_text())


def arrays(case):
    query = np.array(case["query"], np.float32)
    return query, [np.array(rows, np.float32).reshape(-1, query.shape[1]) for rows in case["documents"]]


@pytest.fixture(params=CASES, ids=[case["name"] for case in CASES])
def case(request):
    return request.param


@pytest.mark.parametrize("tested", [NumpyKernel(), kernel("torch", "cpu")], ids=lambda tested: tested.name)
def test_kernels_give_the_golden_scores(case, tested):
    query, documents = arrays(case)
    packed = Float32Codec().encode(TokenVectors.from_arrays(documents, query.shape[1]))
    np.testing.assert_allclose(
        tested.score(TokenVectors.from_arrays([query], query.shape[1]), packed), case["scores"], rtol=1e-6
    )


def test_the_reference_gives_the_golden_scores(case):
    query, documents = arrays(case)
    np.testing.assert_allclose(reference.score(query, documents), case["scores"], rtol=1e-6)


def test_sentence_transformers_gives_the_golden_scores(case):
    query, documents = arrays(case)
    theirs = maxsim([torch.from_numpy(query)], [torch.from_numpy(rows) for rows in documents])
    np.testing.assert_allclose(theirs[0].numpy(), case["scores"], rtol=1e-6)
