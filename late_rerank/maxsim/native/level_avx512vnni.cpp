// AVX-512 with VNNI: Intel since 2019 (servers), AMD since Zen 4. 32 registers of 16 lanes.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernel.h"
#include "processor.h"

namespace {

struct Isa {
  static constexpr size_t kLanes = 16, kVectors = 2, kTokens = 12, kTokensAlone = 12;
  static constexpr int kQueryLimit = 127, kInt8Offset = 128;
  typedef int32_t Ints __attribute__((vector_size(64)));
  typedef float Floats __attribute__((vector_size(64)));

  static inline Ints broadcast_int(const uint8_t* at) {
    int32_t bytes;
    __builtin_memcpy(&bytes, at, 4);
    return (Ints)_mm512_set1_epi32(bytes);
  }
  static inline Ints broadcast_int8(const uint8_t* at) {
    return (Ints)_mm512_xor_si512((__m512i)broadcast_int(at), _mm512_set1_epi8(static_cast<char>(0x80)));
  }
  static inline Floats broadcast_float(const uint8_t* at) { return (Floats)_mm512_castsi512_ps((__m512i)broadcast_int(at)); }
  static inline Ints dot_add(Ints sums, Ints token, Ints query) {
    return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)token, (__m512i)query);
  }
  static inline Floats multiply_add(Floats sums, Floats token, Floats query) {
    return (Floats)_mm512_fmadd_ps((__m512)token, (__m512)query, (__m512)sums);
  }
  static inline Floats to_floats(Ints sums) { return (Floats)_mm512_cvtepi32_ps((__m512i)sums); }
  static inline Floats larger(Floats a, Floats b) { return (Floats)_mm512_max_ps((__m512)a, (__m512)b); }
  static inline void eight_floats(const uint8_t* halves, uint8_t* to) {
    _mm256_storeu_ps(reinterpret_cast<float*>(to), _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(halves))));
  }
  static inline void sixty_four_bits(uint64_t bits, uint8_t* to) { _mm512_storeu_si512(to, _mm512_maskz_set1_epi8(bits, 2)); }
};

}  // namespace

#include "level.h"

namespace late_rerank {
LATE_RERANK_LEVEL(avx512vnni, processor_has_avx512vnni)
}
#endif
