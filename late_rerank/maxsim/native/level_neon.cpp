// NEON with the dot product instructions: ARMv8.2 and later (Apple M1, Graviton 2, Neoverse N1). 32 registers of 4 lanes.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernel.h"
#include "processor.h"

namespace {

struct Isa {
  static constexpr size_t kLanes = 4, kVectors = 4, kTokens = 6, kTokensAlone = 12;
  static constexpr int kQueryLimit = 127, kInt8Offset = 0;  // the instruction multiplies signed bytes
  typedef int32_t Ints __attribute__((vector_size(16)));
  typedef float Floats __attribute__((vector_size(16)));

  static inline Ints broadcast_int(const uint8_t* at) {
    int32_t bytes;
    __builtin_memcpy(&bytes, at, 4);
    return (Ints)vdupq_n_s32(bytes);
  }
  static inline Ints broadcast_int8(const uint8_t* at) { return broadcast_int(at); }
  static inline Floats broadcast_float(const uint8_t* at) { return (Floats)broadcast_int(at); }
  static inline Ints dot_add(Ints sums, Ints token, Ints query) {
    return (Ints)vdotq_s32((int32x4_t)sums, (int8x16_t)token, (int8x16_t)query);
  }
  static inline Floats multiply_add(Floats sums, Floats token, Floats query) {
    return (Floats)vfmaq_f32((float32x4_t)sums, (float32x4_t)token, (float32x4_t)query);
  }
  static inline Floats to_floats(Ints sums) { return (Floats)vcvtq_f32_s32((int32x4_t)sums); }
  static inline Floats larger(Floats a, Floats b) { return (Floats)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
  static inline void eight_floats(const uint8_t* halves, uint8_t* to) {
    const float16x8_t values = vreinterpretq_f16_u8(vld1q_u8(halves));
    vst1q_f32(reinterpret_cast<float*>(to), vcvt_f32_f16(vget_low_f16(values)));
    vst1q_f32(reinterpret_cast<float*>(to) + 4, vcvt_f32_f16(vget_high_f16(values)));
  }
  static inline void sixty_four_bits(uint64_t bits, uint8_t* to) {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    for (int quarter = 0; quarter < 4; quarter++) {
      const uint8x8_t low = vdup_n_u8(static_cast<uint8_t>(bits >> (16 * quarter)));
      const uint8x8_t high = vdup_n_u8(static_cast<uint8_t>(bits >> (16 * quarter + 8)));
      vst1q_u8(to + 16 * quarter, vandq_u8(vtstq_u8(vcombine_u8(low, high), bit), vdupq_n_u8(2)));
    }
  }
};

}  // namespace

#include "level.h"

namespace late_rerank {
LATE_RERANK_LEVEL(neon, processor_has_neon)
}
#endif
