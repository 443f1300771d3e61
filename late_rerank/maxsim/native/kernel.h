// What a level of the kernel takes and gives. Free of Python, and of every standard header with code in it: the level_*.cpp
// are compiled for processors that may not be there, and a linker may keep their copy of an inline function for all.
#pragma once

#include <cstddef>
#include <cstdint>

namespace late_rerank {

enum class Codec { float32, float16, int8, int4, binary };

// One fixed orthogonal rotation of the query, for codecs whose codes are of rotated vectors: in each round signs, then Hadamard
// transforms of the blocks, then a permutation. See late_rerank/codecs/rotation.py, which makes the arrays.
struct Rotation {
  size_t n_rounds;             // 0: no rotation
  const float* signs;          // (n_rounds, dim), +1 or -1
  const int32_t* permutation;  // (n_rounds, dim): component i comes from permutation[i]
  size_t n_blocks;
  const int32_t* blocks;  // powers of two; they sum to dim
};

struct Shape {
  Codec codec;
  size_t n_query_tokens;
  size_t dim;
};

// Where a document lies. `scales` is one float32 a token, anywhere in memory; floats have none, and it is not read.
struct Document {
  const uint8_t* codes;
  const uint8_t* scales;
  size_t n_tokens;
};

// One way of computing MaxSim, for one family of processors.
struct Level {
  const char* name;
  bool (*supported)();

  // Bytes to allocate for the packed query, for packing it, and for scoring; each on a 64-byte boundary.
  size_t (*query_bytes)(const Shape&);
  size_t (*pack_bytes)(const Shape&);
  size_t (*scratch_bytes)(const Shape&);

  // Floats of a row of maxima: the query's tokens, up to whole registers.
  size_t (*row_floats)(const Shape&);

  // Packs the query (n_query_tokens, dim). False if a component isn't finite, rotated: then nothing may be scored with it.
  bool (*pack)(const Shape&, const float* query, const Rotation&, uint8_t* packed, uint8_t* workspace);

  // The best match of each query token in each block of `block_tokens` tokens of one document, (n_blocks, row_floats). A row is 0
  // behind the query's tokens, so whole rows may be summed. The last block may be shorter. The document has at least one token;
  // `next` is fetched into the cache meanwhile.
  // False if a scale, a product or a maximum isn't finite.
  bool (*maxima)(const Shape&, const uint8_t* packed, const Document& document, const Document& next, size_t block_tokens,
                 uint8_t* scratch, float* maxima);

  // On rows of `row_floats` floats: the sum of the larger ones of two rows; and a row that keeps the larger ones of itself and another.
  float (*sum_of_larger)(const float* one, const float* other, size_t n);
  void (*keep_larger)(float* kept, const float* row, size_t n);

  // Runs the instruction that this codec is scored with, n times on registers alone; returns multiply-adds done.
  double (*peak)(Codec, uint64_t n);

  // A query's components are rounded to integers up to this, for codecs that are no floats.
  int query_limit;
};

// Best first; empty where the processor is of another architecture. Ends in nullptr.
extern const Level* const kLevels[];

constexpr float kNoTokensScore = -1e9f;  // Source: sentence-transformers 6.2, `maxsim`.

}  // namespace late_rerank
