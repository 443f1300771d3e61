"""The kernel's levels that this machine may not have: ARM's under an emulator, AVX-VNNI's in AVX-512's encoding."""

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from rounding import expected_maxima, expected_scores, rounded_query

from late_rerank.codecs import codec
from late_rerank.codecs.rotation import rotation
from late_rerank.testing.vectors import random_packed, random_vectors
from late_rerank.types import PackedVectors, TokenVectors

TESTS = Path(__file__).parents[1]
PROGRAM, KERNEL = TESTS / "native" / "score_file.cpp", TESTS.parent / "late_rerank" / "maxsim" / "native"
CODECS = ["float32", "float16", "int8", "int4", "binary"]  # numbered as in kernel.h
BUILT = TESTS.parent / "build" / "score_file"
ROUNDED = ["int8", "int4", "binary"]
LENGTHS = [0, 1, 3, 4, 5, 6, 7, 11, 12, 13, 40, 181]  # around the tokens scored at once: 6, and 12 for short queries
FINE, QUERY_NOT_FINITE = -1, -2  # of score.h
TOLERANCE = 1e-5  # of float32 sums, a query token

# As in the kernel's CMakeLists.txt.
LEVEL = ["-O3", "-ffp-contract=off"]
AVX2 = [*LEVEL, "-mavx2", "-mfma", "-mf16c", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mavx512vnni", "-mprefer-vector-width=512"]
# In place of -mavxvnni: the level then takes the same instruction from AVX-512.
AVXVNNI_BY_AVX512 = [*AVX512, "-Dprocessor_has_avxvnni=processor_has_avx512vnni"]
OPTIONS = {
    "aarch64": {"level_neon.cpp": [*LEVEL, "-march=armv8.2-a+dotprod"]},
    "x86_64": {"level_avx2.cpp": AVX2, "level_avxvnni.cpp": [*AVX2, "-mavxvnni"], "level_avx512vnni.cpp": AVX512},
}


class Call(NamedTuple):
    level: str
    query: np.ndarray
    packed: PackedVectors
    n_threads: int = 1
    n_missing_bytes: int = 0  # that each token's codes are too short by


class Answer(NamedTuple):
    status: int
    scores: np.ndarray
    maxima: np.ndarray


class Program:
    def __init__(self, command, folder):
        self.command, self.folder = command, folder

    def run(self, calls):
        (self.folder / "calls").write_bytes(b"".join(map(written, calls)))
        return subprocess.run([*self.command, "calls", "results"], cwd=self.folder, capture_output=True, text=True, check=False)

    def score(self, calls):
        """One answer a call."""
        done = self.run(calls)
        assert done.returncode == 0, done.stderr
        return read((self.folder / "results").read_bytes(), calls)


def built(compiler, options_by_level, *link_options):
    """The program, with these levels. It is compiled once, and kept in build/ by the digest of all that decides its bytes."""
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    told = hashlib.sha256(repr((compiler, version, options_by_level, link_options)).encode())
    for source in sorted([PROGRAM, *KERNEL.glob("*.h"), *KERNEL.glob("*.cpp")]):
        told.update(source.name.encode() + b"\0" + source.read_bytes())
    program = BUILT / told.hexdigest()[:32] / "score_file"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            compile_into(Path(folder), compiler, options_by_level, link_options).replace(program)
    return program


def compile_into(folder, compiler, options_by_level, link_options):
    sources = {
        PROGRAM: ["-O2"],
        **{KERNEL / name: ["-O2"] for name in ("score.cpp", "windows.cpp", "pool.cpp", "processor.cpp")},
    }
    sources |= {KERNEL / name: options for name, options in options_by_level.items()}
    for source, options in sources.items():
        command = [compiler, "-std=c++17", *options, f"-I{KERNEL}", "-c", source]
        subprocess.run(command, cwd=folder, check=True)
    subprocess.run([compiler, *link_options, "-o", "score_file", *folder.glob("*.o")], cwd=folder, check=True)
    return folder / "score_file"


@pytest.fixture(scope="module")
def neon(tmp_path_factory):
    if not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64")):
        pytest.skip("needs a compiler and an emulator: apt install g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user")
    folder = tmp_path_factory.mktemp("neon")
    # Static: the emulator then needs none of the other machine's libraries.
    return Program(["qemu-aarch64", built("aarch64-linux-gnu-g++", OPTIONS["aarch64"], "-static")], folder)


@pytest.mark.parametrize("name", CODECS)
def test_neon_scores_as_the_reference(neon, name):
    calls = [
        Call("neon", random_vectors([n_query_tokens], dim, seed=1).values, codec(name).encode(random_vectors(LENGTHS, dim)))
        for dim in (1, 3, 48, 128, 383, 384)
        for n_query_tokens in (1, 2, 4, 5, 16, 17, 33)
    ]
    for call, answer in zip(calls, neon.score(calls), strict=True):
        assert_as_expected(call, answer)


@pytest.mark.parametrize("name", ROUNDED)
def test_neon_reads_every_code(neon, name):
    """Codecs don't write all of them: int8 has no -128, and what lies beyond the last component is 0."""
    calls = []
    for dim in (1, 3, 48, 383):
        packed = random_packed(LENGTHS, codec(name).spec(dim))
        scales = np.random.default_rng(1).random(packed.n_tokens, dtype=np.float32) / 300
        for i, end in enumerate(np.cumsum(packed.lengths)):
            packed.column("scales", i)[:] = scales[end - packed.lengths[i] : end].view(np.uint8)
        calls += [Call("neon", random_vectors([n], dim, seed=1).values, packed) for n in (2, 5)]
    for call, answer in zip(calls, neon.score(calls), strict=True):
        assert_as_expected(call, answer)


@pytest.mark.parametrize("name", CODECS)
def test_neon_scores_zero_vectors_as_zero(neon, name):
    """And query tokens so small that 127 divided by their largest component overflows."""
    query = random_vectors([3], 48, seed=1).values
    query[0], query[1] = 0, query[1] * 1e-38
    documents = random_vectors([2, 7], 48)
    documents.values[:2] = 0
    packed = codec(name).encode(documents)
    [answer] = neon.score([Call("neon", query, packed)])
    assert answer.status == FINE
    np.testing.assert_allclose(answer.maxima, expected_maxima(rounded_query(query, name, 48, 127), packed), atol=TOLERANCE)
    assert answer.scores[0] == 0
    assert not answer.maxima[:, 0].any()
    assert name not in ROUNDED or not answer.maxima[:, 1].any()


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("name", CODECS)
def test_neon_names_the_first_document_that_is_not_finite(neon, name, n_threads):
    calls, expected = [], []
    for wrong in (np.nan, np.inf, -np.inf):
        for i, length in enumerate(LENGTHS):
            for token in {0, length // 2, length - 1} if length else ():
                packed = codec(name).encode(random_vectors([*LENGTHS, 2], 19))
                numbers(packed, i)[token, -1] = wrong
                numbers(packed, len(LENGTHS))[0] = wrong
                calls += [Call("neon", random_vectors([n], 19, seed=1).values, packed, n_threads) for n in (2, 9)]
                expected += [i, i]
    assert [answer.status for answer in neon.score(calls)] == expected


@pytest.mark.parametrize("name", CODECS)
def test_neon_refuses_a_query_that_is_not_finite(neon, name):
    packed, calls = codec(name).encode(random_vectors([2], 19)), []
    for wrong in (np.nan, np.inf, -np.inf):
        for n_query_tokens, token, component in ((2, 0, 18), (2, 1, 0), (18, 0, 0), (18, 17, 18)):
            query = random_vectors([n_query_tokens], 19, seed=1).values
            query[token, component] = wrong
            calls.append(Call("neon", query, packed))
    assert {answer.status for answer in neon.score(calls)} == {QUERY_NOT_FINITE}


@pytest.mark.parametrize("name", CODECS)
def test_neon_threads_get_what_one_thread_gets(neon, name):
    query, packed = random_vectors([9], 48, seed=1).values, codec(name).encode(random_vectors(LENGTHS * 5, 48))
    alone, together = neon.score([Call("neon", query, packed, 1), Call("neon", query, packed, 3)])
    assert alone.status == together.status == FINE
    np.testing.assert_array_equal(together.scores, alone.scores)
    np.testing.assert_array_equal(together.maxima, alone.maxima)


@pytest.mark.parametrize("name", CODECS)
def test_reading_past_a_document_would_end_the_program(neon, name):
    """Else the tests above would not see it."""
    call = Call("neon", random_vectors([2], 48, seed=1).values, codec(name).encode(random_vectors([7], 48)))
    assert neon.run([call]).returncode == 0
    assert neon.run([call._replace(n_missing_bytes=1)]).returncode != 0


def test_the_program_scores_as_the_installed_kernel(tmp_path):
    native_kernel = pytest.importorskip("late_rerank.maxsim.native_kernel")
    if not (sys.platform == "linux" and platform.machine() in OPTIONS and shutil.which("g++")):
        pytest.skip("needs Linux on x86_64 or aarch64, and a compiler: apt install g++")
    program = Program([built("g++", OPTIONS[platform.machine()], "-pthread")], tmp_path)
    calls = [
        Call(level, random_vectors([33], dim, seed=1).values, codec(name).encode(random_vectors(LENGTHS, dim)))
        for level in native_kernel.levels()
        for name in CODECS
        for dim in (3, 383, 384)
    ]
    for call, answer in zip(calls, program.score(calls), strict=True):
        kernel, query = native_kernel.NativeKernel(call.level), TokenVectors(call.query, np.array([0, len(call.query)]))
        assert answer.status == FINE
        np.testing.assert_array_equal(answer.scores, kernel.score(query, call.packed))
        np.testing.assert_array_equal(answer.maxima, kernel.token_maxima(query, call.packed))


def test_avxvnni_scores_as_the_reference(tmp_path):
    native_kernel = pytest.importorskip("late_rerank.maxsim.native_kernel")
    if "avx512vnni" not in native_kernel.levels() or not shutil.which("g++"):
        pytest.skip("needs a processor with AVX-512 VNNI, and a compiler: apt install g++")
    levels = {**OPTIONS["x86_64"], "level_avxvnni.cpp": AVXVNNI_BY_AVX512}
    program = Program([built("g++", levels, "-pthread")], tmp_path)
    calls = [
        Call("avxvnni", random_vectors([n_query_tokens], dim, seed=1).values, codec(name).encode(random_vectors(LENGTHS, dim)))
        for name in CODECS
        for dim in (1, 48, 383, 384)
        for n_query_tokens in (1, 8, 9, 33)
    ]
    for call, answer in zip(calls, program.score(calls), strict=True):
        assert_as_expected(call, answer)


def assert_as_expected(call, answer):
    spec = call.packed.codec
    query, which = rounded_query(call.query, spec.name, spec.dim, limit=127), f"dim {spec.dim}, {len(call.query)} query tokens"
    assert answer.status == FINE, which
    maxima, scores = expected_maxima(query, call.packed), expected_scores(query, call.packed)
    np.testing.assert_allclose(answer.maxima, maxima, rtol=1e-6, atol=TOLERANCE, err_msg=which)
    np.testing.assert_allclose(answer.scores, scores, rtol=1e-6, atol=TOLERANCE * len(query), err_msg=which)


def numbers(packed, i):
    """What of a document can be NaN, to be changed in place: (n_tokens, n)."""
    spec = packed.codec
    column, dtype = ("scales", np.float32) if "scales" in spec.columns else ("values", np.dtype(spec.name))
    return packed.column(column, i).view(dtype).reshape(packed.lengths[i], -1)


def written(call):
    """A call as score_file.cpp reads it."""
    packed, (n_query_tokens, dim) = call.packed, call.query.shape
    spec, widths = packed.codec, list(packed.codec.columns.values())
    turned = rotation(spec.config["seed"], dim) if "rotation" in spec.config else None
    n_rounds, n_blocks = (len(turned.signs), len(turned.blocks)) if turned else (0, 0)
    per_token, per_scale = widths[0] - call.n_missing_bytes, sum(widths[1:])
    header = [
        CODECS.index(spec.name),
        n_query_tokens,
        dim,
        n_rounds,
        n_blocks,
        len(packed),
        per_token,
        per_scale,
        call.n_threads,
    ]
    parts = [call.level.encode().ljust(16, b"\0"), np.array(header, np.uint32), call.query]
    parts += [turned.signs, turned.permutation, turned.blocks] if turned else []
    parts.append(packed.lengths.astype(np.uint32))
    for i, length in enumerate(packed.lengths):
        codes, *scales = (packed.column(name, i) for name in spec.columns)
        parts += [codes[: length * per_token], *scales]
    return b"".join(part if isinstance(part, bytes) else part.tobytes() for part in parts)


def read(results, calls):
    """The answers that score_file.cpp wrote."""
    at, answers = 0, []
    for call in calls:
        shapes = [(np.int64, ()), (np.float32, (len(call.packed),)), (np.float32, (len(call.packed), len(call.query)))]
        arrays = []
        for dtype, shape in shapes:
            arrays.append(np.frombuffer(results, dtype, int(np.prod(shape)), at).reshape(shape))
            at += arrays[-1].nbytes
        answers.append(Answer(int(arrays[0]), *arrays[1:]))
    assert at == len(results)
    return answers
