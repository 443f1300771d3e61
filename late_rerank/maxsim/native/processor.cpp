#include "processor.h"

#include <cstdint>

#include "kernel.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace late_rerank {

#if defined(__x86_64__)

namespace {

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf(uint32_t number, uint32_t sub) {
  Leaf found;
  __get_cpuid_count(number, sub, &found.eax, &found.ebx, &found.ecx, &found.edx);
  return found;
}

bool bit(uint32_t word, int which) { return (word >> which) & 1; }

// Whether the operating system saves these registers when it switches between threads.
bool saved(uint32_t registers) {
  if (!bit(leaf(1, 0).ecx, 27)) return false;  // OSXSAVE
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & registers) == registers;
}

constexpr uint32_t kYmm = 0x6, kZmm = 0xe6;

struct Features {
  bool avx2, avxvnni, avx512vnni;
};

Features ask() {
  const Leaf basic = leaf(1, 0), extended = leaf(7, 0), further = leaf(7, 1);
  Features has;
  has.avx2 = saved(kYmm) && bit(basic.ecx, 12) /* FMA */ && bit(basic.ecx, 29) /* F16C */ && bit(extended.ebx, 5) &&
             bit(extended.ebx, 8) /* BMI2 */;
  has.avxvnni = has.avx2 && bit(further.eax, 4);
  has.avx512vnni = has.avx2 && saved(kZmm) && bit(extended.ebx, 16) /* F */ && bit(extended.ebx, 17) /* DQ */ &&
                   bit(extended.ebx, 30) /* BW */ && bit(extended.ebx, 31) /* VL */ && bit(extended.ecx, 11) /* VNNI */;
  return has;
}

// Asked once: in a virtual machine each question takes 10 us.
const Features& features() {
  static const Features has = ask();
  return has;
}

}  // namespace

bool processor_has_avx2() { return features().avx2; }
bool processor_has_avxvnni() { return features().avxvnni; }
bool processor_has_avx512vnni() { return features().avx512vnni; }

extern const Level avx512vnni, avxvnni, avx2;
const Level* const kLevels[] = {&avx512vnni, &avxvnni, &avx2, nullptr};

#elif defined(__aarch64__)

bool processor_has_neon() {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & (1 << 20);  // HWCAP_ASIMDDP
#elif defined(__APPLE__) || defined(_WIN32)
  return true;  // every Apple processor with macOS, every ARM processor that Windows 11 runs on
#else
  return false;  // unknown how to ask
#endif
}

extern const Level neon;
const Level* const kLevels[] = {&neon, nullptr};

#else

const Level* const kLevels[] = {nullptr};

#endif

}  // namespace late_rerank
