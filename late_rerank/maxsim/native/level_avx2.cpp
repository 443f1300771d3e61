// AVX2 with FMA and F16C: Intel since 2013 (the cheapest lines later), AMD since 2015. 16 registers of 8 lanes.
//
// Compiled a second time as `avxvnni` (Intel's client processors since 2021, AMD's since Zen 5), where one instruction does
// what takes three here.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel.h"
#include "processor.h"

namespace {

struct Isa {
  typedef int32_t Ints __attribute__((vector_size(32)));
  typedef float Floats __attribute__((vector_size(32)));
  static constexpr size_t kLanes = 8, kVectors = 2, kTokensAlone = 8;

#if defined(LATE_RERANK_AVXVNNI)
  static constexpr size_t kTokens = 6;
  static constexpr int kQueryLimit = 127;
  static inline Ints dot_add(Ints sums, Ints token, Ints query) {
#if defined(__AVXVNNI__)
    return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)token, (__m256i)query);
#else  // The same instruction in AVX-512's encoding: how a processor without AVX-VNNI can test this level.
    return (Ints)_mm256_dpbusd_epi32((__m256i)sums, (__m256i)token, (__m256i)query);
#endif
  }
#else
  static constexpr size_t kTokens = 4;
  // maddubs adds two products of an unsigned and a signed byte in 16 bits and saturates: 2 * 255 * 64 = 32640 just fits.
  static constexpr int kQueryLimit = 64;
  static inline Ints dot_add(Ints sums, Ints token, Ints query) {
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)token, (__m256i)query);
    return sums + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
#endif
  static constexpr int kInt8Offset = 128;

  static inline Ints broadcast_int(const uint8_t* at) {
    int32_t bytes;
    __builtin_memcpy(&bytes, at, 4);
    return (Ints)_mm256_set1_epi32(bytes);
  }
  static inline Ints broadcast_int8(const uint8_t* at) {
    return (Ints)_mm256_xor_si256((__m256i)broadcast_int(at), _mm256_set1_epi8(static_cast<char>(0x80)));
  }
  static inline Floats broadcast_float(const uint8_t* at) { return (Floats)_mm256_castsi256_ps((__m256i)broadcast_int(at)); }
  static inline Floats multiply_add(Floats sums, Floats token, Floats query) {
    return (Floats)_mm256_fmadd_ps((__m256)token, (__m256)query, (__m256)sums);
  }
  static inline Floats to_floats(Ints sums) { return (Floats)_mm256_cvtepi32_ps((__m256i)sums); }
  static inline Floats larger(Floats a, Floats b) { return (Floats)_mm256_max_ps((__m256)a, (__m256)b); }
  static inline void eight_floats(const uint8_t* halves, uint8_t* to) {
    _mm256_storeu_ps(reinterpret_cast<float*>(to), _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves))));
  }
  static inline void sixty_four_bits(uint64_t bits, uint8_t* to) {
    // Byte i of a register gets the byte with bit i, then keeps that bit.
    const __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    for (int half = 0; half < 2; half++) {
      const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int32_t>(bits >> (32 * half))), which);
      const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32 * half), _mm256_and_si256(set, _mm256_set1_epi8(2)));
    }
  }
};

}  // namespace

#include "level.h"

namespace late_rerank {
#if defined(LATE_RERANK_AVXVNNI)
LATE_RERANK_LEVEL(avxvnni, processor_has_avxvnni)
#else
LATE_RERANK_LEVEL(avx2, processor_has_avx2)
#endif
}
#endif
