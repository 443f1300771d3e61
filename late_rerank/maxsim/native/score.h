// A whole call: pack the queries, score every document, sum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel.h"

namespace late_rerank {

// The best windows of each document at several scales. A window starts at each multiple of the scale's stride and holds up to two
// strides of tokens; the last one ends with the document. A document of up to two strides is one window.
struct Windows {
  const size_t* strides;  // (n_scales,) in tokens, ascending, each a multiple of the one before; nullptr where `n_scales` is 0
  size_t n_scales;
  float* best;     // (n_scales, n_documents): the score of the best window
  int64_t* first;  // (n_scales, n_documents): its first token; of equals the earliest, but the last of neighbours
};

struct Call {
  const Level* level;
  Shape shape;
  const float* query;               // (n_query_tokens, dim): all queries, one after the other
  const size_t* query_offsets;      // (n_queries + 1,): query q has the tokens from query_offsets[q] to query_offsets[q + 1]
  size_t n_queries;
  Rotation rotation;
  const Document* documents;
  size_t n_documents;
  float* scores;                    // (n_queries, n_documents), or nullptr; with windows, the mean of the best ones
  float* maxima;                    // (n_documents, n_query_tokens), or nullptr
  size_t n_threads;
  Windows windows;                  // of one query only
};

// Bytes of a token's codes, without its scale.
size_t code_bytes(Codec codec, size_t dim);

constexpr int64_t kFine = -1, kQueryNotFinite = -2;

// Returns kFine, kQueryNotFinite, or the first document that holds NaN or infinity. Reads nothing outside of what Call describes.
int64_t score(const Call& call);

}  // namespace late_rerank
