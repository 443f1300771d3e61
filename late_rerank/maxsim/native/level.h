// The kernel itself, written once. A level_*.cpp includes it after defining `struct Isa`, the few instructions that differ.
//
// Lanes are query tokens: a register holds one component (or four int8 components) of kLanes query tokens. Each group of four
// bytes of a document token is broadcast and multiplied with kVectors such registers. kTokens document tokens x kVectors query
// registers are accumulated at once, so that no horizontal sum and no matrix of similarities is ever made; the running maxima are
// kVectors registers. The last block of a document overlaps the one before, where the rest would be smaller: max doesn't mind.
//
// A query that fits one register (most do: 16 tokens on AVX-512) is scored with one, in half the time: kVectors is a template
// parameter, 1 or Isa::kVectors.
//
// Everything is in an anonymous namespace and calls no function of the standard library; see kernel.h.
#pragma once

#include "kernel.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__aarch64__)
#define LATE_RERANK_REGISTER(value) "w"(value)
#else
#define LATE_RERANK_REGISTER(value) "v"(value)
#endif

namespace late_rerank {
namespace {

constexpr size_t kLanes = Isa::kLanes;
// Arrays of __m512i are spilled to the stack by GCC 12 on every step, which costs 2.5x: __m512i may alias. These don't.
typedef int32_t Ints __attribute__((vector_size(kLanes * 4)));
typedef float Floats __attribute__((vector_size(kLanes * 4)));

ALWAYS_INLINE size_t up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
// Query registers scored at once; a group is so many query tokens, and a query some groups.
ALWAYS_INLINE size_t n_vectors(const Shape& shape) { return shape.n_query_tokens <= kLanes ? 1 : Isa::kVectors; }
ALWAYS_INLINE size_t group_tokens(const Shape& shape) { return kLanes * n_vectors(shape); }
ALWAYS_INLINE size_t n_groups(const Shape& shape) {
  return up(shape.n_query_tokens ? shape.n_query_tokens : 1, group_tokens(shape)) / group_tokens(shape);
}
ALWAYS_INLINE bool is_float(Codec codec) { return codec == Codec::float32 || codec == Codec::float16; }
// Steps of four bytes: one float, or four int8.
ALWAYS_INLINE size_t n_steps(const Shape& shape) { return is_float(shape.codec) ? shape.dim : (shape.dim + 3) / 4; }

template <class T>
ALWAYS_INLINE T load(const void* from) {
  T value;
  __builtin_memcpy(&value, from, sizeof(T));
  return value;
}

ALWAYS_INLINE bool are_finite(const void* floats, size_t n) {
  uint32_t wrong = 0;
  for (size_t i = 0; i < n; i++)
    wrong |= static_cast<uint32_t>((load<uint32_t>(static_cast<const uint8_t*>(floats) + 4 * i) & 0x7f800000u) == 0x7f800000u);
  return !wrong;
}

// ---- The packed query: the tokens of a group side by side, group after group. Each group is
//        scales  group_tokens floats     what a lane's maximum is multiplied by at the end (1 for floats)
//        start   group_tokens int32      what its sums start from: document codes are unsigned, offset by a constant
//        values  n_steps x group_tokens x 4 bytes

ALWAYS_INLINE size_t group_bytes(const Shape& shape) { return (2 + n_steps(shape)) * group_tokens(shape) * 4; }

size_t row_floats(const Shape& shape) { return n_groups(shape) * group_tokens(shape); }

size_t query_bytes(const Shape& shape) { return n_groups(shape) * group_bytes(shape); }

size_t pack_bytes(const Shape& shape) { return 2 * shape.dim * group_tokens(shape) * sizeof(float); }

// The codes of a document minus this are what they mean, up to the scale. int8's are made unsigned by flipping the top bit.
ALWAYS_INLINE int32_t code_offset(Codec codec) {
  switch (codec) {
    case Codec::int8: return Isa::kInt8Offset;
    case Codec::int4: return 15;    // codes 0, 2, ... 30
    case Codec::binary: return 1;   // codes 0, 2
    default: return 0;
  }
}

// `rows` is (dim, kGroup): each step works on a component of kGroup query tokens at once. `other` is as large.
template <size_t kGroup>
float* rotated(const Rotation& rotation, size_t dim, float* rows, float* other) {
  for (size_t round = 0; round < rotation.n_rounds; round++) {
    const float* signs = rotation.signs + round * dim;
    for (size_t i = 0; i < dim; i++)
      for (size_t lane = 0; lane < kGroup; lane++) rows[i * kGroup + lane] *= signs[i];
    size_t first = 0;
    for (size_t b = 0; b < rotation.n_blocks; b++) {
      const size_t size = static_cast<size_t>(rotation.blocks[b]);
      for (size_t half = 1; half < size; half *= 2)
        for (size_t i = first; i < first + size; i += 2 * half)
          for (size_t j = i; j < i + half; j++) {
            float* low = rows + j * kGroup;
            float* high = low + half * kGroup;
            for (size_t lane = 0; lane < kGroup; lane++) {
              const float sum = low[lane] + high[lane], difference = low[lane] - high[lane];
              low[lane] = sum;
              high[lane] = difference;
            }
          }
      const float factor = 1.0f / __builtin_sqrtf(static_cast<float>(size));
      for (size_t i = first * kGroup; i < (first + size) * kGroup; i++) rows[i] *= factor;
      first += size;
    }
    const int32_t* permutation = rotation.permutation + round * dim;
    for (size_t i = 0; i < dim; i++) __builtin_memcpy(other + i * kGroup, rows + permutation[i] * kGroup, kGroup * sizeof(float));
    float* swapped = rows;
    rows = other;
    other = swapped;
  }
  return rows;
}

template <size_t kGroup>
void pack_group_as_integers(const Shape& shape, const float* rows, uint8_t* group) {
  float* scales = reinterpret_cast<float*>(group);
  int32_t* start = reinterpret_cast<int32_t*>(group) + kGroup;
  int32_t* values = reinterpret_cast<int32_t*>(group) + 2 * kGroup;
  float inverse[kGroup], largest[kGroup] = {};
  int32_t sums[kGroup] = {};
  for (size_t i = 0; i < shape.dim; i++)
    for (size_t lane = 0; lane < kGroup; lane++) {
      const float size = __builtin_fabsf(rows[i * kGroup + lane]);
      largest[lane] = size > largest[lane] ? size : largest[lane];
    }
  for (size_t lane = 0; lane < kGroup; lane++) {
    const bool zero = largest[lane] < 1e-30f;  // the quotient would overflow; so small a vector matches nothing
    inverse[lane] = zero ? 0.0f : static_cast<float>(Isa::kQueryLimit) / largest[lane];
    scales[lane] = zero ? 0.0f : largest[lane] / static_cast<float>(Isa::kQueryLimit);
  }
  for (size_t step = 0; step < n_steps(shape); step++) {
    int32_t packed[kGroup] = {};
    for (size_t byte = 0; byte < 4 && 4 * step + byte < shape.dim; byte++) {
      const float* row = rows + (4 * step + byte) * kGroup;
      for (size_t lane = 0; lane < kGroup; lane++) {
        const int32_t code = static_cast<int32_t>(__builtin_rintf(row[lane] * inverse[lane]));
        sums[lane] += code;
        packed[lane] |= static_cast<int32_t>(static_cast<uint32_t>(code & 0xff) << (8 * byte));
      }
    }
    __builtin_memcpy(values + step * kGroup, packed, sizeof packed);
  }
  for (size_t lane = 0; lane < kGroup; lane++) start[lane] = -code_offset(shape.codec) * sums[lane];
}

template <size_t kGroup>
void pack_group_as_floats(const Shape& shape, const float* rows, uint8_t* group) {
  float* scales = reinterpret_cast<float*>(group);
  int32_t* start = reinterpret_cast<int32_t*>(group) + kGroup;
  for (size_t lane = 0; lane < kGroup; lane++) {
    scales[lane] = 1.0f;
    start[lane] = 0;
  }
  __builtin_memcpy(group + 8 * kGroup, rows, shape.dim * kGroup * sizeof(float));
}

// Components transposed at once: the rows written to then stay in the first-level cache.
constexpr size_t kTile = 32;

template <size_t kGroup>
bool packed_in_groups(const Shape& shape, const float* query, const Rotation& rotation, uint8_t* packed, uint8_t* workspace) {
  float* rows = reinterpret_cast<float*>(workspace);
  float* other = rows + shape.dim * kGroup;
  for (size_t group = 0; group < n_groups(shape); group++) {
    const float* const tokens = query + group * kGroup * shape.dim;
    const size_t n_rest = shape.n_query_tokens - group * kGroup, n = n_rest < kGroup ? n_rest : kGroup;
    if (n < kGroup) __builtin_memset(rows, 0, shape.dim * kGroup * sizeof(float));
    for (size_t first = 0; first < shape.dim; first += kTile) {
      const size_t end = first + kTile < shape.dim ? first + kTile : shape.dim;
      for (size_t lane = 0; lane < n; lane++)
        for (size_t i = first; i < end; i++) rows[i * kGroup + lane] = tokens[lane * shape.dim + i];
    }
    // Looked through after the rotation, whose sums can overflow; what isn't finite before it isn't finite after.
    const float* turned = rotated<kGroup>(rotation, shape.dim, rows, other);
    if (!are_finite(turned, shape.dim * kGroup)) return false;
    uint8_t* to = packed + group * group_bytes(shape);
    if (is_float(shape.codec)) {
      pack_group_as_floats<kGroup>(shape, turned, to);
    } else {
      pack_group_as_integers<kGroup>(shape, turned, to);
    }
  }
  return true;
}

bool pack(const Shape& shape, const float* query, const Rotation& rotation, uint8_t* packed, uint8_t* workspace) {
  return n_vectors(shape) == 1 ? packed_in_groups<kLanes>(shape, query, rotation, packed, workspace)
                               : packed_in_groups<kLanes * Isa::kVectors>(shape, query, rotation, packed, workspace);
}

// ---- Products: what a document's four bytes and a query register make.

struct FloatProducts {
  typedef Floats Sums;
  static ALWAYS_INLINE Sums started(const uint8_t*, size_t) { return Sums{}; }
  static ALWAYS_INLINE Sums token(const uint8_t* at) { return Isa::broadcast_float(at); }
  static ALWAYS_INLINE Sums query(const uint8_t* at) { return load<Sums>(at); }
  static ALWAYS_INLINE Sums added(Sums sums, Sums token, Sums query) { return Isa::multiply_add(sums, token, query); }
  static ALWAYS_INLINE Floats value(Sums sums, const uint8_t*, size_t) { return sums; }
  static constexpr bool kCheckValues = true;
};

// kFlip: whether the bytes of documents are int8, whose top bit some processors want flipped.
template <bool kFlip>
struct IntProducts {
  typedef Ints Sums;
  static ALWAYS_INLINE Sums started(const uint8_t* start, size_t vector) { return load<Sums>(start + vector * sizeof(Sums)); }
  static ALWAYS_INLINE Sums token(const uint8_t* at) { return kFlip ? Isa::broadcast_int8(at) : Isa::broadcast_int(at); }
  static ALWAYS_INLINE Sums query(const uint8_t* at) { return load<Sums>(at); }
  static ALWAYS_INLINE Sums added(Sums sums, Sums token, Sums query) { return Isa::dot_add(sums, token, query); }
  static ALWAYS_INLINE Floats value(Sums sums, const uint8_t* scales, size_t token) {
    return Isa::to_floats(sums) * Isa::broadcast_float(scales + 4 * token);
  }
  static constexpr bool kCheckValues = false;  // integers are finite, scales are looked through beforehand
};

// kTokens document tokens against one group of query tokens. Row i is at rows[i / 3] + (i % 3) * stride: four pointers and one stride
// instead of twelve pointers, which would not fit the registers.
template <class Products, size_t kVectors, size_t kTokens>
ALWAYS_INLINE void block(const uint8_t* rows, size_t stride, size_t steps, const uint8_t* group, const uint8_t* scales,
                         uint8_t* maxima, Floats& wrong, const uint8_t* ahead, size_t ahead_per_step) {
  typedef typename Products::Sums Sums;
  constexpr size_t kGroup = kLanes * kVectors;
  Sums sums[kTokens][kVectors];
  UNROLL for (size_t i = 0; i < kTokens; i++) {
    UNROLL for (size_t j = 0; j < kVectors; j++) sums[i][j] = Products::started(group + kGroup * 4, j);
  }
  const uint8_t* query = group + 8 * kGroup;
  const uint8_t* const end = query + steps * kGroup * 4;
  const uint8_t* row[(kTokens + 2) / 3];
  UNROLL for (size_t i = 0; i < (kTokens + 2) / 3; i++) row[i] = rows + 3 * i * stride;
  for (; query != end; query += kGroup * 4, ahead += ahead_per_step) {
    // Here rather than all at once: the processor can wait for some twenty lines of memory at a time, further ones would block it.
    __builtin_prefetch(ahead);
    Sums q[kVectors];
    UNROLL for (size_t j = 0; j < kVectors; j++) q[j] = Products::query(query + j * sizeof(Sums));
    UNROLL for (size_t i = 0; i < kTokens; i++) {
      const Sums token = Products::token(row[i / 3] + (i % 3) * stride);
      UNROLL for (size_t j = 0; j < kVectors; j++) sums[i][j] = Products::added(sums[i][j], token, q[j]);
    }
    UNROLL for (size_t i = 0; i < (kTokens + 2) / 3; i++) row[i] += 4;
  }
  Floats best[kVectors];
  UNROLL for (size_t j = 0; j < kVectors; j++) best[j] = load<Floats>(maxima + j * sizeof(Floats));
  UNROLL for (size_t i = 0; i < kTokens; i++) {
    UNROLL for (size_t j = 0; j < kVectors; j++) {
      const Floats value = Products::value(sums[i][j], scales, i);
      if (Products::kCheckValues) wrong += value * 0.0f;  // NaN from NaN and infinity, whichever of the two max would drop
      best[j] = Isa::larger(best[j], value);
    }
  }
  UNROLL for (size_t j = 0; j < kVectors; j++) __builtin_memcpy(maxima + j * sizeof(Floats), &best[j], sizeof(Floats));
}

// ---- Rows of tokens as the products read them: where they lie, or unpacked into a scratch that stays in the first-level cache.

struct InPlace {
  static ALWAYS_INLINE size_t row_bytes(const Shape& shape) { return shape.codec == Codec::float32 ? 4 * shape.dim : shape.dim; }
  static ALWAYS_INLINE size_t stride(const Shape& shape) { return row_bytes(shape); }
  template <size_t kTokens>
  static ALWAYS_INLINE const uint8_t* rows(const Shape&, const uint8_t* codes, uint8_t*) {
    return codes;
  }
};

template <class Unpack>
struct Unpacked {
  static ALWAYS_INLINE size_t row_bytes(const Shape& shape) { return Unpack::row_bytes(shape.dim); }
  static ALWAYS_INLINE size_t stride(const Shape& shape) { return up(Unpack::unpacked_bytes(shape.dim), 64); }
  template <size_t kTokens>
  static ALWAYS_INLINE const uint8_t* rows(const Shape& shape, const uint8_t* codes, uint8_t* scratch) {
    for (size_t i = 0; i < kTokens; i++) Unpack::row(codes + i * row_bytes(shape), shape.dim, scratch + i * stride(shape));
    return scratch;
  }
};

struct Float16Rows {
  static ALWAYS_INLINE size_t row_bytes(size_t dim) { return 2 * dim; }
  static ALWAYS_INLINE size_t unpacked_bytes(size_t dim) { return 4 * up(dim, 16); }
  static ALWAYS_INLINE void row(const uint8_t* from, size_t dim, uint8_t* to) {
    size_t i = 0;
    for (; i + 8 <= dim; i += 8) Isa::eight_floats(from + 2 * i, to + 4 * i);
    if (i < dim) {
      uint8_t rest[16] = {};
      __builtin_memcpy(rest, from + 2 * i, 2 * (dim - i));
      Isa::eight_floats(rest, to + 4 * i);
    }
  }
};

// int8 of a dim that is no multiple of four: the last group of four bytes would reach into the next row, or out of the buffer.
struct OddInt8Rows {
  static ALWAYS_INLINE size_t row_bytes(size_t dim) { return dim; }
  static ALWAYS_INLINE size_t unpacked_bytes(size_t dim) { return dim + 3; }
  static ALWAYS_INLINE void row(const uint8_t* from, size_t dim, uint8_t* to) {
    __builtin_memset(to + dim / 4 * 4, 0, 4);
    __builtin_memcpy(to, from, dim);
  }
};

// Byte i holds component i in its low half and component i + half in its high half, so that nothing is interleaved.
struct Int4Rows {
  static ALWAYS_INLINE size_t row_bytes(size_t dim) { return (dim + 1) / 2; }
  static ALWAYS_INLINE size_t unpacked_bytes(size_t dim) { return dim + 4; }
  static ALWAYS_INLINE void row(const uint8_t* from, size_t dim, uint8_t* to) {
    const size_t half = row_bytes(dim);
    __builtin_memset(to + (2 * half) / 4 * 4, 0, 4);
    if (kLanes == 16 && half >= 64) return chunks<64>(from, half, to);
    if (kLanes >= 8 && half >= 32) return chunks<32>(from, half, to);
    if (half >= 16) return chunks<16>(from, half, to);
    for (size_t i = 0; i < half; i++) {
      to[i] = static_cast<uint8_t>((from[i] << 1) & 0x1e);
      to[half + i] = static_cast<uint8_t>((from[i] >> 3) & 0x1e);
    }
  }

 private:
  // kBytes at a time; the last ones overlap those before. Shifted in 16 bits: what crosses from byte to byte is masked away.
  template <size_t kBytes>
  static ALWAYS_INLINE void chunks(const uint8_t* from, size_t half, uint8_t* to) {
    typedef uint16_t Chunk __attribute__((vector_size(kBytes)));
    for (size_t i = 0;;) {
      Chunk both;
      __builtin_memcpy(&both, from + i, kBytes);
      const Chunk low = (both << 1) & 0x1e1e, high = (both >> 3) & 0x1e1e;
      __builtin_memcpy(to + i, &low, kBytes);
      __builtin_memcpy(to + half + i, &high, kBytes);
      if (i + kBytes >= half) return;
      i += kBytes;
      if (i + kBytes > half) i = half - kBytes;
    }
  }
};

// Bit i % 8 of byte i / 8 is component i.
struct BinaryRows {
  static ALWAYS_INLINE size_t row_bytes(size_t dim) { return (dim + 7) / 8; }
  static ALWAYS_INLINE size_t unpacked_bytes(size_t dim) { return dim; }
  static ALWAYS_INLINE void row(const uint8_t* from, size_t dim, uint8_t* to) {
    size_t i = 0;
    for (; i + 64 <= dim; i += 64) Isa::sixty_four_bits(load<uint64_t>(from + i / 8), to + i);
    if (i < dim) Isa::sixty_four_bits(bytes(from + i / 8, row_bytes(dim) - i / 8), to + i);
  }

 private:
  // n bytes, 1 to 7 (or 8), as a number: its ends are read, and overlap.
  static ALWAYS_INLINE uint64_t bytes(const uint8_t* from, size_t n) {
    if (n >= 4) return load<uint32_t>(from) | static_cast<uint64_t>(load<uint32_t>(from + n - 4)) << (8 * (n - 4));
    if (n >= 2) return load<uint16_t>(from) | static_cast<uint64_t>(load<uint16_t>(from + n - 2)) << (8 * (n - 2));
    return *from;
  }
};

ALWAYS_INLINE size_t widest_row(const Shape& shape) { return 4 * up(shape.dim, 16) + 64; }

size_t scratch_bytes(const Shape& shape) {
  constexpr size_t kMostTokens = Isa::kTokens > Isa::kTokensAlone ? Isa::kTokens : Isa::kTokensAlone;
  const size_t rows = shape.codec == Codec::float32 ? 0 : kMostTokens * widest_row(shape);
  return rows + n_groups(shape) * group_tokens(shape) * sizeof(float);
}

// ---- One document.

// How far ahead memory is asked for, in blocks and at least in bytes. k=1000 takes 1.7x as long without.
constexpr size_t kAheadBlocks = 2, kAheadBytes = 6144;

// A document on its way through the blocks.
struct Pass {
  const Shape& shape;
  const uint8_t* packed;
  const Document& document;
  const Document& next;
  uint8_t* scratch;
  uint8_t* maxima;
  Floats wrong;
};

// Tokens first to first + kTokens against the whole query.
template <class Products, class Rows, size_t kVectors, size_t kTokens>
ALWAYS_INLINE void tokens(Pass& pass, size_t first) {
  const Shape& shape = pass.shape;
  const size_t row_bytes = Rows::row_bytes(shape), end = pass.document.n_tokens * row_bytes, block_bytes = kTokens * row_bytes;
  const size_t distance = kAheadBlocks * block_bytes > kAheadBytes ? kAheadBlocks * block_bytes : kAheadBytes;
  const size_t ahead = first * row_bytes + distance;
  const uint8_t* const wanted = ahead < end ? pass.document.codes + ahead : pass.next.codes + (ahead - end);
  const uint8_t* rows = Rows::template rows<kTokens>(shape, pass.document.codes + first * row_bytes, pass.scratch);
  for (size_t group = 0; group < n_groups(shape); group++)
    block<Products, kVectors, kTokens>(rows, Rows::stride(shape), n_steps(shape), pass.packed + group * group_bytes(shape),
                                       pass.document.scales + 4 * first, pass.maxima + group * kVectors * sizeof(Floats),
                                       pass.wrong, wanted, block_bytes / n_steps(shape) + 1);
}

template <class Products, class Rows, size_t kVectors, size_t kTokens>
void all_tokens(Pass& pass) {
  const size_t n = pass.document.n_tokens;
  size_t first = 0;
  for (; first + kTokens <= n; first += kTokens) tokens<Products, Rows, kVectors, kTokens>(pass, first);
  if (first == n) return;
  if (n >= kTokens && n - first > kTokens - 4) return tokens<Products, Rows, kVectors, kTokens>(pass, n - kTokens);
  if (n >= 4) {
    for (; first < n; first += 4) tokens<Products, Rows, kVectors, 4>(pass, first + 4 <= n ? first : n - 4);
  } else {
    for (; first < n; first++) tokens<Products, Rows, kVectors, 1>(pass, first);
  }
}

template <class Products, class Rows, size_t kVectors, size_t kTokens>
bool scored_in_groups(const Shape& shape, const uint8_t* packed, const Document& document, const Document& next,
                      size_t block_tokens, uint8_t* scratch, float* out) {
  constexpr size_t kGroup = kLanes * kVectors;
  uint8_t* const maxima = scratch;
  const Floats lowest = Floats{} - 3.402823466e38f;
  const size_t row_bytes = Rows::row_bytes(shape);
  Document here = document, after = next;
  Floats wrong{};
  for (size_t from = 0; from < document.n_tokens; from += block_tokens, out += row_floats(shape)) {
    const size_t n_rest = document.n_tokens - from;
    if (n_rest > block_tokens) {
      here.n_tokens = block_tokens;
      after.codes = here.codes + block_tokens * row_bytes;
    } else {
      here.n_tokens = n_rest;
      after.codes = next.codes;
    }
    Pass pass = {shape, packed, here, after, scratch + n_groups(shape) * kGroup * sizeof(float), maxima, wrong};
    for (size_t i = 0; i < n_groups(shape) * kVectors; i++) __builtin_memcpy(maxima + i * sizeof(Floats), &lowest, sizeof(Floats));
    all_tokens<Products, Rows, kVectors, kTokens>(pass);
    wrong = pass.wrong;
    for (size_t group = 0; group < n_groups(shape); group++) {
      UNROLL for (size_t j = 0; j < kVectors; j++) {
        const size_t at = (group * kVectors + j) * sizeof(Floats);
        const Floats scaled = load<Floats>(maxima + at) * load<Floats>(packed + group * group_bytes(shape) + j * sizeof(Floats));
        wrong += scaled * 0.0f;  // a sum of integers times two finite scales can overflow
        __builtin_memcpy(reinterpret_cast<uint8_t*>(out) + at, &scaled, sizeof(Floats));
      }
    }
    here.codes += here.n_tokens * row_bytes;
    here.scales += 4 * here.n_tokens;
  }
  for (size_t lane = 0; lane < kLanes; lane++)
    if (!(wrong[lane] == 0.0f)) return false;
  return true;
}

template <class Products, class Rows>
bool scored(const Shape& shape, const uint8_t* packed, const Document& document, const Document& next, size_t block_tokens,
            uint8_t* scratch, float* out) {
  if (!Products::kCheckValues && !are_finite(document.scales, document.n_tokens)) return false;
  if (n_vectors(shape) == 1)
    return scored_in_groups<Products, Rows, 1, Isa::kTokensAlone>(shape, packed, document, next, block_tokens, scratch, out);
  return scored_in_groups<Products, Rows, Isa::kVectors, Isa::kTokens>(shape, packed, document, next, block_tokens, scratch, out);
}

bool maxima(const Shape& shape, const uint8_t* packed, const Document& document, const Document& next, size_t block_tokens,
            uint8_t* scratch, float* out) {
  constexpr bool kFlip = true;
  const auto by = [&](auto scored_by) { return scored_by(shape, packed, document, next, block_tokens, scratch, out); };
  switch (shape.codec) {
    case Codec::float32: return by(scored<FloatProducts, InPlace>);
    case Codec::float16: return by(scored<FloatProducts, Unpacked<Float16Rows>>);
    case Codec::int8:
      return shape.dim % 4 ? by(scored<IntProducts<kFlip>, Unpacked<OddInt8Rows>>) : by(scored<IntProducts<kFlip>, InPlace>);
    case Codec::int4: return by(scored<IntProducts<!kFlip>, Unpacked<Int4Rows>>);
    case Codec::binary: return by(scored<IntProducts<!kFlip>, Unpacked<BinaryRows>>);
  }
  return false;
}

// ---- Rows of maxima.

// In a fixed order: the same to the last bit wherever the rows come from. Lanes are folded, since sixteen additions one after the
// other take as long as a third of a block's products.
float sum_of_larger(const float* one, const float* other, size_t n) {
  Floats folded{};
  for (size_t i = 0; i < n; i += kLanes) folded += Isa::larger(load<Floats>(one + i), load<Floats>(other + i));
  float sums[kLanes];
  __builtin_memcpy(sums, &folded, sizeof folded);
  UNROLL for (size_t half = kLanes / 2; half > 0; half /= 2) {
    UNROLL for (size_t lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
  }
  return sums[0];
}

void keep_larger(float* kept, const float* row, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    const Floats larger = Isa::larger(load<Floats>(kept + i), load<Floats>(row + i));
    __builtin_memcpy(kept + i, &larger, sizeof larger);
  }
}

// ---- The limit.

template <class Products>
double multiplied(uint64_t n, double per_lane) {
  typedef typename Products::Sums Sums;
  constexpr size_t kSums = Isa::kTokens * Isa::kVectors;
  Sums sums[kSums] = {};
  Sums token = {}, query = {};
  __asm__ volatile("" : "+" LATE_RERANK_REGISTER(query));  // else it is known to be zero
  for (uint64_t i = 0; i < n; i++) {
    UNROLL for (size_t j = 0; j < kSums; j++) {
      __asm__ volatile("" : "+" LATE_RERANK_REGISTER(token));  // else a product is computed once
      sums[j] = Products::added(sums[j], token, query);
    }
  }
  Sums total = {};
  UNROLL for (size_t j = 0; j < kSums; j++) total += sums[j];
  __asm__ volatile("" : : "m"(total));
  return static_cast<double>(n) * kSums * kLanes * per_lane;
}

double peak(Codec codec, uint64_t n) {
  return is_float(codec) ? multiplied<FloatProducts>(n, 1) : multiplied<IntProducts<false>>(n, 4);
}

}  // namespace

#define LATE_RERANK_LEVEL(name, supported) \
  extern const Level name;                 \
  const Level name = {#name, supported, query_bytes, pack_bytes, scratch_bytes, row_floats, pack, maxima, sum_of_larger, keep_larger, peak, \
                      Isa::kQueryLimit};

}  // namespace late_rerank
