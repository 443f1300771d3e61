#include "score.h"

#include <atomic>
#include <cmath>
#include <memory>

#include "pool.h"

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

bool score_document(const Call& call, const uint8_t* packed, size_t i, uint8_t* scratch, float* maxima) {
  const Document& document = call.documents[i];
  const size_t n_query_tokens = call.shape.n_query_tokens;
  bool finite = true;
  if (document.n_tokens == 0) {
    for (size_t q = 0; q < call.n_queries; q++) {
      const size_t n = call.query_offsets[q + 1] - call.query_offsets[q];
      for (size_t j = call.query_offsets[q]; j < call.query_offsets[q + 1]; j++) maxima[j] = kNoTokensScore / static_cast<float>(n);
    }
  } else if (n_query_tokens) {
    const Document& next = call.documents[i + 1 < call.n_documents ? i + 1 : i];
    finite = call.level->maxima(call.shape, packed, document, next, scratch, maxima);
  }
  if (call.scores)
    for (size_t q = 0; q < call.n_queries; q++) {
      const size_t first = call.query_offsets[q], end = call.query_offsets[q + 1];
      const float total = document.n_tokens ? sum(maxima + first, end - first) : kNoTokensScore;
      call.scores[q * call.n_documents + i] = total;
      finite = finite && std::isfinite(total);
    }
  return finite;
}

}  // namespace

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
  const size_t scratch_bytes = lines(level.scratch_bytes(call.shape)), maxima_bytes = lines(n_query_tokens * sizeof(float));
  Lines workspace(call.n_threads * (scratch_bytes + maxima_bytes));
  uint8_t* const workspaces = workspace.begin();
  std::atomic<int64_t> wrong{kFine};
  each(n_items, call.n_threads, [&](size_t item, size_t slot) {
    uint8_t* const scratch = workspaces + slot * (scratch_bytes + maxima_bytes);
    float* const own = reinterpret_cast<float*>(scratch + scratch_bytes);
    for (size_t i = item * per_item; i < call.n_documents && i < (item + 1) * per_item; i++) {
      if (score_document(call, packed.begin(), i, scratch, call.maxima ? call.maxima + i * n_query_tokens : own)) continue;
      int64_t first = wrong.load();
      while ((first == kFine || first > static_cast<int64_t>(i)) && !wrong.compare_exchange_weak(first, static_cast<int64_t>(i))) {
      }
    }
  });
  return wrong.load();
}

}  // namespace late_rerank
