#include "score.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>

#include "pool.h"
#include "windows.h"

namespace late_rerank {
namespace {

// 64-byte lines of memory, so that no vector of the workspace lies across two. Not zeroed: that would take longer than packing the
// query.
class Lines {
 public:
  explicit Lines(size_t n_bytes) : bytes_(new uint8_t[n_bytes + 64]) {}
  uint8_t* begin() { return bytes_.get() + (64 - reinterpret_cast<uintptr_t>(bytes_.get()) % 64) % 64; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
};

size_t lines(size_t n_bytes) { return (n_bytes + 63) / 64 * 64; }

// Four sums in double: a fixed order, so a score is the same to the last bit wherever and beside whatever it is computed.
float sum(const float* values, size_t n) {
  double sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (size_t j = 0; j < 4; j++) sums[j] += values[i + j];
  for (; i < n; i++) sums[0] += values[i];
  return static_cast<float>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// False if a number isn't finite.
bool score_whole(const Call& call, const uint8_t* packed, size_t i, const Workspace& at) {
  const Document& document = call.documents[i];
  const Document& next = call.documents[i + 1 < call.n_documents ? i + 1 : i];
  const bool finite = call.level->maxima(call.shape, packed, document, next, document.n_tokens, at.scratch, at.blocks);
  std::copy(at.blocks, at.blocks + call.shape.n_query_tokens, at.maxima);
  return finite;
}

// A document, or a query, without tokens.
void score_nothing(const Call& call, size_t i, float* maxima) {
  for (size_t q = 0; q < call.n_queries; q++) {
    const size_t n = call.query_offsets[q + 1] - call.query_offsets[q];
    for (size_t j = call.query_offsets[q]; j < call.query_offsets[q + 1]; j++) maxima[j] = kNoTokensScore / static_cast<float>(n);
  }
  score_one_window(call, i, 0, call.documents[i].n_tokens ? 0.0f : kNoTokensScore);
}

bool score_document(const Call& call, const uint8_t* packed, size_t i, const Workspace& at) {
  const Document& document = call.documents[i];
  bool finite = true;
  if (document.n_tokens == 0 || call.shape.n_query_tokens == 0) {
    score_nothing(call, i, at.maxima);
  } else if (call.windows.n_scales) {
    const bool is_long = document.n_tokens > 2 * call.windows.strides[0];
    finite = is_long ? score_windows(call, packed, i, at) : score_whole(call, packed, i, at);
    if (!is_long) score_one_window(call, i, 0, sum(at.maxima, call.shape.n_query_tokens));
  } else {
    finite = score_whole(call, packed, i, at);
  }
  if (call.scores && call.windows.n_scales) {
    call.scores[i] = document.n_tokens ? mean_of_scales(call, i) : kNoTokensScore;
  } else if (call.scores) {
    for (size_t q = 0; q < call.n_queries; q++) {
      const size_t first = call.query_offsets[q], end = call.query_offsets[q + 1];
      const float total = document.n_tokens ? sum(at.maxima + first, end - first) : kNoTokensScore;
      call.scores[q * call.n_documents + i] = total;
      finite = finite && std::isfinite(total);
    }
  }
  return finite;
}

}  // namespace

size_t code_bytes(Codec codec, size_t dim) {
  switch (codec) {
    case Codec::float32: return 4 * dim;
    case Codec::float16: return 2 * dim;
    case Codec::int8: return dim;
    case Codec::int4: return (dim + 1) / 2;
    case Codec::binary: return (dim + 7) / 8;
  }
  return 0;
}

int64_t score(const Call& call) {
  const Level& level = *call.level;
  const size_t n_query_tokens = call.shape.n_query_tokens;
  Lines packed(level.query_bytes(call.shape));
  {
    Lines workspace(level.pack_bytes(call.shape));
    if (!level.pack(call.shape, call.query, call.rotation, packed.begin(), workspace.begin())) return kQueryNotFinite;
  }
  // Items of several documents: one atomic step an item, and few enough that the last one doesn't keep the others waiting.
  const size_t per_item = call.n_threads > 1 ? 1 + call.n_documents / (8 * call.n_threads) : call.n_documents;
  const size_t n_items = per_item ? (call.n_documents + per_item - 1) / per_item : 0;
  const size_t row_floats = level.row_floats(call.shape), n_scales = call.windows.n_scales;
  const size_t scratch_bytes = lines(level.scratch_bytes(call.shape)), row_bytes = lines(row_floats * sizeof(float));
  const size_t n_blocks = n_scales ? kBlocks : 1, workspace_bytes = scratch_bytes + (1 + 2 * n_scales + n_blocks) * row_bytes;
  Lines workspace(call.n_threads * workspace_bytes);
  uint8_t* const workspaces = workspace.begin();
  std::atomic<int64_t> wrong{kFine};
  each(n_items, call.n_threads, [&](size_t item, size_t slot) {
    uint8_t* const scratch = workspaces + slot * workspace_bytes;
    const auto row = [&](size_t which) { return reinterpret_cast<float*>(scratch + scratch_bytes + which * row_bytes); };
    for (size_t i = item * per_item; i < call.n_documents && i < (item + 1) * per_item; i++) {
      float* const maxima = call.maxima ? call.maxima + i * n_query_tokens : row(0);
      if (score_document(call, packed.begin(), i, {scratch, maxima, row(1), row(1 + 2 * n_scales), row_floats})) continue;
      int64_t first = wrong.load();
      while ((first == kFine || first > static_cast<int64_t>(i)) && !wrong.compare_exchange_weak(first, static_cast<int64_t>(i))) {
      }
    }
  });
  return wrong.load();
}

}  // namespace late_rerank
