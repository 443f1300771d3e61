"""The compiled kernel: every level that this processor has equals the reference, and refuses what it can't read."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rounding import expected_scores, rounded_query

from late_rerank.codecs import BinaryCodec, codec
from late_rerank.maxsim import reference, why_not_native
from late_rerank.testing import KernelTests
from late_rerank.testing.vectors import random_packed, random_vectors, scattered, scored_by_reference
from late_rerank.types import CodecSpec, PackedVectors, TokenVectors

if find_spec("late_rerank.maxsim._native") is None:
    pytest.skip("needs the compiled kernel: install late-rerank where GCC or Clang is", allow_module_level=True)

from late_rerank.maxsim import _native
from late_rerank.maxsim.native_kernel import NativeKernel, levels

CODECS = sorted(NativeKernel.codecs)
# And "binary" with a centre, where that makes a difference.
PACKINGS = [*CODECS, "centred"]
WITH_SCALES = ["int8", "int4", "binary"]
TOLERANCE = 1e-5
"""Of float32 sums, a query token."""


@pytest.mark.parametrize("level", levels())
class TestNativeKernel(KernelTests):
    @pytest.fixture
    def kernel(self, level):
        self.level = level
        return NativeKernel(level)

    def scored_query(self, query, codec):
        return rounded_query(query, codec.name, query.shape[1], _native.query_limit(self.level))


def packed_by(packing, vectors):
    if packing == "centred":
        return BinaryCodec(random_vectors([1], vectors.dim, seed=7).values[0]).encode(vectors)
    return codec(packing).encode(vectors)


def check(kernel, query, packed):
    """Scores and maxima against float64 arithmetic on the query as it is rounded, and on the bytes as they are."""
    rounded = rounded_query(query.values, packed.codec.name, packed.codec.dim, _native.query_limit(kernel.level))
    scored, documents = scored_by_reference(rounded, query.values, packed)
    tolerance = TOLERANCE * max(len(query.values), 1)
    expected = reference.score(scored, documents)
    np.testing.assert_allclose(kernel.score(query, packed), expected, rtol=1e-6, atol=tolerance)
    maxima = np.array([reference.token_maxima(scored, rows) for rows in documents]).reshape(len(packed), len(query.values))
    np.testing.assert_allclose(kernel.token_maxima(query, packed), maxima, rtol=1e-6, atol=TOLERANCE)


@pytest.mark.parametrize("level", levels())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(
    name=st.sampled_from(PACKINGS),
    dim=st.one_of(st.integers(1, 70), st.sampled_from([96, 127, 128, 383, 384, 768, 1023, 1024])),
    n_query_tokens=st.one_of(st.integers(0, 70), st.sampled_from([127, 128, 511, 512])),
    lengths=st.lists(st.one_of(st.integers(0, 30), st.integers(0, 600)), max_size=8),
    own_buffers=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_it_equals_the_reference_on_every_shape(level, name, dim, n_query_tokens, lengths, own_buffers, seed):
    packed = packed_by(name, random_vectors(lengths, dim, seed))
    packed = scattered(packed) if own_buffers else packed
    check(NativeKernel(level), random_vectors([n_query_tokens], dim, seed + 1), packed)


@pytest.mark.parametrize("level", levels())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow])
@given(
    name=st.sampled_from(PACKINGS),
    dim=st.sampled_from([1, 5, 48, 127]),
    n_query_tokens=st.integers(0, 70),
    lengths=st.lists(st.integers(0, 300), max_size=6),
    strides=st.sampled_from([(1,), (3, 6, 48), (12, 72, 144), (25, 100)]),
    seed=st.integers(0, 2**32),
)
def test_windows_equal_the_reference_on_every_shape(level, name, dim, n_query_tokens, lengths, strides, seed):
    packed = scattered(packed_by(name, random_vectors(lengths, dim, seed)))
    query = random_vectors([n_query_tokens], dim, seed + 1)
    suite = TestNativeKernel()
    suite.level = level
    suite.assert_windows_equal_reference(NativeKernel(level), query, packed, strides)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("name", CODECS)
def test_windows_are_the_same_to_the_last_bit_on_any_number_of_threads(level, name):
    lengths = np.random.default_rng(0).integers(0, 700, 60).tolist()
    packed, query = codec(name).encode(random_vectors(lengths, 48)), random_vectors([20], 48, seed=1)
    strides = np.array([12, 72, 144])
    alone = NativeKernel(level).window_scores(query, packed, strides)
    shared = NativeKernel(level, n_threads=3).window_scores(query, packed, strides)
    assert alone.best.tobytes() == shared.best.tobytes()
    assert alone.first.tobytes() == shared.first.tobytes()


def test_strides_that_make_no_windows_are_refused():
    packed, query = codec("int8").encode(random_vectors([40], 48)), random_vectors([3], 48)
    for strides in ([0], [-1], [12, 12], [24, 12], [12, 30], []):
        with pytest.raises(ValueError, match="stride"):
            NativeKernel().window_scores(query, packed, np.array(strides, dtype=np.int64))


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("name", CODECS)
def test_ten_thousand_documents_in_as_many_buffers(level, name):
    lengths = np.random.default_rng(0).integers(0, 6, 10_000).tolist()
    packed = scattered(codec(name).encode(random_vectors(lengths, 12)))
    check(NativeKernel(level), random_vectors([5], 12, seed=1), packed)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("name", CODECS)
def test_vectors_of_any_length_and_sign_do_not_overflow(level, name):
    """Extreme codes in every component: a saturating sum, or one that leaves 32 bits, would show."""
    rng = np.random.default_rng(0)
    for dim in (1024, 4096):
        for scale in (1.0, 1e-6, 1e4):
            values = rng.choice([-scale, scale], (60, dim)).astype(np.float32)
            values[:5] = scale
            values[5:10] = -scale
            packed = codec(name).encode(TokenVectors(values, np.array([0, 5, 10, 60])))
            query = TokenVectors(np.concatenate([values[:1], values[5:6], values[20:24]]), np.array([0, 6]))
            scored = rounded_query(query.values, name, dim, _native.query_limit(level))
            expected = expected_scores(scored, packed)
            # floats are added one after the other: 4,096 roundings of the same sign
            np.testing.assert_allclose(NativeKernel(level).score(query, packed), expected, rtol=1e-4)


@pytest.mark.parametrize("level", levels())
def test_zero_and_tiny_query_tokens_match_nothing(level):
    query = TokenVectors(np.zeros((3, 48), np.float32), np.array([0, 3]))
    query.values[1] = 1e-38
    for name in CODECS:
        packed = codec(name).encode(random_vectors([7, 40], 48))
        np.testing.assert_allclose(NativeKernel(level).token_maxima(query, packed), 0.0, atol=1e-30)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("name", WITH_SCALES)
def test_rounding_the_query_costs_no_more_than_it_says(level, name):
    """Half a step in each component: 127 steps from zero, 64 on avx2."""
    query, packed = random_vectors([32], 384, seed=1), codec(name).encode(random_vectors([181, 40, 7, 300], 384))
    kind = codec(name)
    rotated = kind.rotate(query.values).astype(np.float64)
    maxima = NativeKernel(level).token_maxima(query, packed)
    steps = np.abs(rotated).max(axis=1) / _native.query_limit(level)
    for i, document in enumerate(_documents(kind, packed)):
        bound = steps / 2 * np.abs(document).sum(axis=1).max()
        assert (np.abs(maxima[i] - (rotated @ document.T).max(axis=1)) <= bound + 1e-6).all()


def _documents(kind, packed):
    decoded = kind.decode(packed)
    return [kind.rotate(decoded.rows(i)).astype(np.float64) for i in range(len(decoded))]


def test_levels_agree_on_whether_they_can_run():
    assert levels(), "this processor has AVX2 or NEON with dot products; CI's must"
    assert NativeKernel().level == levels()[0]
    with pytest.raises(ValueError, match="has 'a"):
        NativeKernel("neon" if levels()[0].startswith("avx") else "avx2")


def test_ci_runs_the_compiled_kernel():
    """Without this, a kernel that no longer compiles would look like success: the install falls back to NumPy."""
    from late_rerank import Reranker
    from late_rerank.testing.fakes import FakeEncoder

    assert why_not_native() is None
    assert Reranker(FakeEncoder()).kernel.name == f"native:{levels()[0]}"


@pytest.mark.parametrize("packing", ["int8", "centred"])
def test_a_batch_of_queries_scores_as_they_do_one_by_one(packing):
    kernel, packed = NativeKernel(), packed_by(packing, random_vectors([50, 0, 3, 181], 48))
    queries = random_vectors([5, 32, 0, 1, 40], 48, seed=1)
    scores = kernel.score_batch(queries, packed)
    assert scores.shape == (5, 4)
    for i in range(5):
        assert scores[i].tolist() == kernel.score(queries.one(i), packed).tolist()
    assert kernel.score_batch(random_vectors([], 48), packed).shape == (0, 4)


@pytest.mark.parametrize("name", PACKINGS)
def test_scores_are_the_same_to_the_last_bit_in_any_company_and_on_any_number_of_threads(name):
    rng = np.random.default_rng(0)
    packed, query = packed_by(name, random_vectors(rng.integers(0, 200, 300), 48)), random_vectors([20], 48, seed=1)
    alone = np.concatenate([NativeKernel().score(query, packed.take(np.array([i]))) for i in range(300)])
    for n_threads in (1, 2, 5):
        kernel = NativeKernel(n_threads=n_threads)
        order = rng.permutation(300)
        assert kernel.score(query, packed).tolist() == alone.tolist()
        assert kernel.score(query, scattered(packed).take(order)).tolist() == alone[order].tolist()
        assert (kernel.token_maxima(query, packed) == NativeKernel().token_maxima(query, packed)).all()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_many_threads_at_once_get_what_one_gets(n_threads):
    packed = codec("int4").encode(random_vectors([50] * 200, 128))
    queries = [random_vectors([9 + i], 128, seed=i) for i in range(32)]
    expected = [NativeKernel().score(query, packed).tolist() for query in queries]
    kernel = NativeKernel(n_threads=n_threads)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert [scores.tolist() for scores in pool.map(lambda query: kernel.score(query, packed), queries)] == expected


def test_python_runs_on_while_the_kernel_scores():
    packed, query = codec("float32").encode(random_vectors([600] * 100, 384)), random_vectors([256], 384, seed=1)
    packed, times, turns = packed.take(np.tile(np.arange(100), 3)), [], []

    def score():
        times.append(time.perf_counter())
        NativeKernel().score(query, packed)
        times.append(time.perf_counter())

    thread = threading.Thread(target=score)
    thread.start()
    while len(times) < 2:
        turns.append(time.perf_counter())
    thread.join()
    # Before the call and after it Python gets its turns even if the kernel holds the GIL: so those in the middle count.
    quarter = (times[1] - times[0]) / 4
    assert sum(times[0] + quarter < turn < times[1] - quarter for turn in turns) > 100


DAEMONS = """
import threading, time
from late_rerank.codecs import codec
from late_rerank.maxsim.native_kernel import NativeKernel
from late_rerank.testing.vectors import random_vectors
query, packed = random_vectors([32], 128), codec("int8").encode(random_vectors([200] * 200, 128))
def score():
    while True:
        NativeKernel().score(query, packed)
for _ in range(4):
    threading.Thread(target=score, daemon=True).start()
time.sleep(0.3)
"""


def test_a_process_may_end_while_daemon_threads_score(tmp_path):
    for _ in range(3):
        subprocess.run([sys.executable, "-c", DAEMONS], check=True, timeout=60, cwd=tmp_path)


FORK = """
import os, numpy as np
from late_rerank.codecs import codec
from late_rerank.maxsim.native_kernel import NativeKernel
from late_rerank.testing.vectors import random_vectors
def n_threads():
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else None

kernel, query, packed = NativeKernel(n_threads=3), random_vectors([9], 48), codec("int8").encode(random_vectors([50] * 100, 48))
before = n_threads()
expected = kernel.score(query, packed)
assert before is None or n_threads() == before + 2
child = os.fork()
if child == 0:
    before = n_threads()
    for _ in range(20):
        assert (kernel.score(query, packed) == expected).all()
    assert before is None or n_threads() == before + 2  # the parent's threads don't live here
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork: not on Windows")
def test_a_forked_child_has_threads_of_its_own(tmp_path):
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60, cwd=tmp_path)


# What can't be read is refused, before any byte of it is.


def _packed(name="int8", dim=48):
    return codec(name).encode(random_vectors([5, 0, 40], dim))


def _moved(packed, column, index, value):
    starts = {name: array.copy() for name, array in packed.starts.items()}
    starts[column][index] = value
    return replace(packed, starts=starts)


def _misaligned(array):
    return np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype)


BROKEN = {
    "a start before the buffer": (lambda p: _moved(p, "codes", 0, -1), ValueError, "document 0: its codes"),
    "a start behind the buffer": (lambda p: _moved(p, "codes", 2, 10**9), ValueError, "document 2: its codes.*reach out"),
    "the largest start there is": (lambda p: _moved(p, "scales", 2, 2**63 - 1), ValueError, "document 2: its scales"),
    "codes that run past the end": (lambda p: _moved(p, "codes", 2, p.buffers[0].size - 39 * 48), ValueError, "reach out"),
    "scales that run past the end": (lambda p: _moved(p, "scales", 2, p.buffers[0].size - 3), ValueError, "reach out"),
    "codes a byte too far": (lambda p: _moved(p, "codes", 2, p.buffers[0].size - 40 * 48 + 1), ValueError, "reach out"),
    "scales a byte too far": (lambda p: _moved(p, "scales", 2, p.buffers[0].size - 40 * 4 + 1), ValueError, "reach out"),
    "a list of lengths": (lambda p: replace(p, lengths=[5, 0, 40]), TypeError, "lengths a list"),
    "lengths at an odd address": (lambda p: replace(p, lengths=_misaligned(p.lengths)), ValueError, "lengths isn't aligned"),
    "a negative length": (lambda p: replace(p, lengths=np.array([5, -1, 40])), ValueError, "document 1 has -1 tokens"),
    "a length that overflows": (lambda p: replace(p, lengths=np.array([5, 2**62, 40])), ValueError, "document 1"),
    "no such buffer": (lambda p: replace(p, buffer=np.array([0, 0, 1], np.int32)), ValueError, "buffer 1 of 1"),
    "a buffer below the first": (lambda p: replace(p, buffer=np.array([0, 0, -1], np.int32)), ValueError, "buffer -1 of 1"),
    "fewer starts than documents": (
        lambda p: replace(p, starts={name: array[:2] for name, array in p.starts.items()}),
        ValueError,
        "one entry a document",
    ),
    "no scales": (lambda p: replace(p, starts={"codes": p.starts["codes"]}), ValueError, "int8 needs scales"),
    "no codes": (lambda p: replace(p, starts={"scales": p.starts["scales"]}), TypeError, "starts of columns"),
    "lengths of 32 bits": (lambda p: replace(p, lengths=p.lengths.astype(np.int32)), TypeError, "lengths .* int32"),
    "starts that are floats": (
        lambda p: replace(p, starts={name: array.astype(np.float64) for name, array in p.starts.items()}),
        TypeError,
        "float64",
    ),
    "strided lengths": (lambda p: replace(p, lengths=np.repeat(p.lengths, 2)[::2]), TypeError, "strides"),
    "buffers that aren't bytes": (lambda p: replace(p, buffers=(p.buffers[0].view(np.float32),)), ValueError, "uint8"),
    "a buffer of two dimensions": (lambda p: replace(p, buffers=(p.buffers[0].reshape(2, -1),)), ValueError, "1-d"),
    "a strided buffer": (lambda p: replace(p, buffers=(p.buffers[0][::2],)), (ValueError, BufferError), "contiguous"),
    "a list of buffers": (lambda p: replace(p, buffers=list(p.buffers)), TypeError, "tuple"),
    "a buffer of text": (lambda p: replace(p, buffers=("text",)), TypeError, "buffers"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_reaches_out_of_its_buffer_or_has_another_type_is_refused(case):
    breaking, error, message = BROKEN[case]
    query, kernel = random_vectors([3], 48), NativeKernel()
    kernel.score(query, _packed())
    with pytest.raises(error, match=message):
        kernel.score(query, breaking(_packed()))
    with pytest.raises(error, match=message):
        kernel.token_maxima(query, breaking(_packed()))


def test_a_query_that_is_not_finite_is_refused():
    for name in CODECS:
        for value in (np.nan, np.inf, -np.inf):
            query = random_vectors([3], 48)
            query.values[2, 47] = value
            with pytest.raises(ValueError, match="query holds NaN"):
                NativeKernel().score(query, _packed(name))


def test_vectors_too_long_for_float32_are_refused():
    """Sums of a rotation, or scales multiplied: from finite numbers infinity, and from that a silent 0."""
    query, huge = random_vectors([3], 48), random_vectors([3], 48)
    huge.values[:] = np.where(huge.values < 0, -2e38, 2e38)
    for name in ("int4", "binary"):
        with pytest.raises(ValueError, match="overflow"):
            NativeKernel().score(huge, _packed(name))
    for name in WITH_SCALES:
        packed = _packed(name)
        packed.column("scales", 2).view(np.float32)[:] = 3e38
        query.values[:] = 1e3
        with pytest.raises(ValueError, match="document 2"):
            NativeKernel().score(query, packed)


def test_queries_are_taken_in_any_layout():
    packed, query = _packed(), random_vectors([3], 48)
    expected = NativeKernel().score(query, packed).tolist()
    for values in (np.asfortranarray(query.values), _misaligned(query.values).reshape(3, 48)):
        assert NativeKernel().score(TokenVectors(values, query.offsets), packed).tolist() == expected


def test_dims_are_bounded_where_integer_sums_would_overflow():
    query = TokenVectors(np.ones((2, 65_536), np.float32), np.array([0, 2]))
    packed = codec("int8").encode(TokenVectors(np.ones((5, 65_536), np.float32), np.array([0, 5])))
    for level in levels():
        np.testing.assert_allclose(NativeKernel(level).score(query, packed), [2 * 65_536], rtol=1e-5)
    with pytest.raises(ValueError, match="65536, got 65537"):
        NativeKernel().score(random_vectors([1], 65_537), codec("int8").encode(random_vectors([1], 65_537)))


def test_a_score_that_overflows_is_refused():
    huge = random_vectors([5], 48)
    huge.values[:] = np.abs(huge.values) * 6e18
    with pytest.raises(ValueError, match="document 0"):
        NativeKernel().score(
            TokenVectors(np.abs(random_vectors([9], 48).values) * 5e19, np.array([0, 9])), codec("float32").encode(huge)
        )


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_first_damaged_document_is_named(n_threads):
    packed = codec("int8").encode(random_vectors([50] * 200, 48))
    for i in (199, 150, 77, 78):
        packed.column("scales", i).view(np.float32)[3] = np.nan
    for _ in range(20):
        with pytest.raises(ValueError, match="document 77 "):
            NativeKernel(n_threads=n_threads).score(random_vectors([9], 48), packed)


def test_a_rotation_that_this_version_does_not_make_is_refused():
    packed = _packed("int4")
    spec = CodecSpec("int4", 48, packed.codec.columns, {**packed.codec.config, "n_rounds": 4})
    with pytest.raises(ValueError, match="n_rounds"):
        NativeKernel().score(random_vectors([3], 48), replace(packed, codec=spec))


@pytest.mark.parametrize("n_threads", [0, -1, 5000, 1.5, True])
def test_a_wrong_number_of_threads_is_refused(n_threads):
    with pytest.raises(ValueError, match="n_threads"):
        NativeKernel(n_threads=n_threads)


# The entry point itself, called with whatever numbers: it answers, or raises, and reads nothing out of bounds, as
# `make sanitize` would see.

numbers = st.one_of(st.integers(0, 6), st.integers(-3, 300), st.sampled_from([-(2**63), -(2**31), 2**31, 2**62, 2**63 - 1]))


@settings(max_examples=300, deadline=None)
@given(
    level=st.sampled_from(levels()),
    name=st.sampled_from(CODECS),
    dim=st.integers(0, 70),
    n_query_tokens=st.integers(0, 40),
    sizes=st.lists(st.integers(0, 400), max_size=3),
    documents=st.lists(st.tuples(st.integers(-1, 3), numbers, numbers, numbers), max_size=5),
    offsets=st.tuples(st.lists(st.integers(-1, 41), max_size=4), st.sampled_from([0, 0, 0, 1, -1])),
    n_threads=st.integers(-1, 3),
    content=st.integers(0, 255),
    strides=st.one_of(st.just([]), st.lists(numbers, max_size=3), st.sampled_from([[1], [3, 6], [2**62, 2**63 - 2]])),
)
def test_no_numbers_make_it_read_out_of_bounds(
    level, name, dim, n_query_tokens, sizes, documents, offsets, n_threads, content, strides
):
    rng = np.random.default_rng(content)
    buffers = tuple(rng.integers(0, content + 1, size, dtype=np.uint8) for size in sizes)
    query = rng.standard_normal((n_query_tokens, dim)).astype(np.float32)
    buffer, codes, scales, lengths = (np.array(column, dtype=np.int64) for column in np.array(documents or [[0] * 4], object).T)
    n = len(lengths)
    offsets = np.array([0, *offsets[0], n_query_tokens + offsets[1]])
    rotation = None
    if name in ("int4", "binary") and dim:
        from late_rerank.codecs.rotation import rotation as rotation_of

        turned = rotation_of(0, dim)
        rotation = (turned.signs, turned.permutation, turned.blocks)
    scores = np.full((len(offsets) - 1, n), 7, np.float32)
    maxima = np.full((n, n_query_tokens), 7, np.float32)
    windows = None
    if strides:
        windows = (
            np.array(strides, dtype=np.int64),
            np.full((len(strides), n), 7, np.float32),
            np.full((len(strides), n), 7, np.int64),
        )
    try:
        _native.score_into(
            level, name, query, offsets, buffers, buffer.astype(np.int32), codes, scales if name in WITH_SCALES else None,
            lengths, rotation, scores, maxima, n_threads, windows,
        )  # fmt: skip
    except ValueError:
        return
    assert n_threads > 0
    assert offsets[-1] == n_query_tokens
    assert (np.diff(offsets) >= 0).all()
    assert ((buffer >= 0) & (buffer < len(buffers)) & (lengths >= 0)).all()
    assert np.isfinite(scores).all()
    assert np.isfinite(maxima).all()
    if windows:
        assert np.isfinite(windows[1]).all()
        assert (windows[2] >= 0).all()
        assert (windows[2] <= np.maximum(lengths - 1, 0)).all()


@settings(max_examples=60, deadline=None)
@given(
    signs=st.tuples(st.integers(0, 3), st.integers(0, 9)),
    permutation=st.lists(st.integers(-2, 12), max_size=24),
    blocks=st.lists(st.integers(-1, 9), max_size=4),
)
def test_a_rotation_that_is_none_is_refused(signs, permutation, blocks):
    packed, dim = _packed("int4", 8), 8
    rows = max(len(permutation) // dim, 1)
    moves = np.resize(np.array([*permutation, 0], np.int32), (rows, dim))
    arguments = (np.ones(signs, np.float32), moves, np.array(blocks, np.int32))
    scores = np.empty((1, 3), np.float32)
    query = random_vectors([3], dim)
    fits = signs == (rows, dim) and ((moves >= 0) & (moves < dim)).all() and sum(blocks) == dim
    fits = fits and all(block > 0 and block & (block - 1) == 0 for block in blocks)
    call = (levels()[0], "int4", query.values, query.offsets, packed.buffers, packed.buffer, packed.starts["codes"],
            packed.starts["scales"], packed.lengths, arguments, scores, None, 1, None)  # fmt: skip
    if fits:
        _native.score_into(*call)
    else:
        with pytest.raises(ValueError, match="rotation"):
            _native.score_into(*call)


def test_scores_are_never_written_to_a_copy():
    """nanobind would convert a float64 or strided `scores` and lose what is written to it."""
    query, packed = random_vectors([3], 48), _packed("float32")
    for scores in (np.empty((1, 3), np.float64), np.empty((1, 6), np.float32)[:, ::2], np.empty((1, 4), np.float32)):
        with pytest.raises((TypeError, ValueError)):
            _native.score_into(
                levels()[0], "float32", query.values, query.offsets, packed.buffers, packed.buffer, packed.starts["values"],
                None, packed.lengths, None, scores, None, 1, None,
            )  # fmt: skip


def test_windows_are_never_written_to_a_copy():
    query, packed, strides = random_vectors([3], 48), _packed("float32"), np.array([12])
    best, first = np.empty((1, 3), np.float32), np.empty((1, 3), np.int64)
    wrong = [
        (best.astype(np.float64), first),
        (best, first.astype(np.int32)),
        (np.empty((1, 6), np.float32)[:, ::2], first),
        (np.empty((2, 3), np.float32), first),
        (best, np.empty((1, 4), np.int64)),
    ]
    for best, first in wrong:
        with pytest.raises((TypeError, ValueError)):
            _native.score_into(
                levels()[0], "float32", query.values, query.offsets, packed.buffers, packed.buffer, packed.starts["values"],
                None, packed.lengths, None, None, None, 1, (strides, best, first),
            )  # fmt: skip


def test_random_bytes_give_a_score_or_a_value_error():
    for name in CODECS:
        packed: PackedVectors = random_packed([5, 0, 200, 40], codec(name).spec(48))
        try:
            scores = NativeKernel().score(random_vectors([9], 48), packed)
        except ValueError:
            continue
        assert np.isfinite(scores).all()
