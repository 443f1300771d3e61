// A whole call: pack the queries, score every document, sum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel.h"

namespace late_rerank {

struct Call {
  const Level* level;
  Shape shape;
  const float* query;               // (n_query_tokens, dim): all queries, one after the other
  const size_t* query_offsets;      // (n_queries + 1,): query q has the tokens from query_offsets[q] to query_offsets[q + 1]
  size_t n_queries;
  Rotation rotation;
  const Document* documents;
  size_t n_documents;
  float* scores;                    // (n_queries, n_documents), or nullptr
  float* maxima;                    // (n_documents, n_query_tokens), or nullptr
  size_t n_threads;
};

constexpr int64_t kFine = -1, kQueryNotFinite = -2;

// Returns kFine, kQueryNotFinite, or the first document that holds NaN or infinity. Reads nothing outside of what Call describes.
int64_t score(const Call& call);

}  // namespace late_rerank
