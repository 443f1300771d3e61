#include "windows.h"

#include <algorithm>
#include <cmath>

namespace late_rerank {
namespace {

// The halves of a scale's windows on their way through a document. Two halves that stand side by side are a window. A half that is
// complete goes to the next scale too, whose halves are made of it.
struct Scale {
  const Level* level;
  size_t stride, row_floats;
  const float* before;  // the half before; its row may be another's until `hold`
  float *here, *other;  // own rows
  float* best;
  int64_t* first;
  Scale* next;   // nullptr for the last scale
  float* whole;  // keeps the maxima of the whole document; nullptr where nobody asks
  size_t begin;  // the first token of this half

  // Takes the maxima of tokens `from` to `to`, which lie in one half. Compared, not divided: that took a twentieth of the time.
  void add(const float* maxima, size_t from, size_t to, bool is_last) {
    const bool begins = from == begin, ends = to - begin == stride || is_last;
    if (begins && ends) return end_half(maxima, to, is_last);
    if (begins) {
      std::copy(maxima, maxima + row_floats, here);
    } else {
      level->keep_larger(here, maxima, row_floats);
    }
    if (!ends) return;
    end_half(here, to, is_last);
    std::swap(here, other);
  }

  // Copies the half before, if its row isn't its own.
  void hold() {
    if (before == here || before == other) return;
    std::copy(before, before + row_floats, here);
    before = here;
    std::swap(here, other);
  }

  void end_half(const float* half, size_t to, bool is_last) {
    if (begin > 0) {
      const float total = level->sum_of_larger(before, half, row_floats);
      // Of equal neighbours the later one: they share what matches, and what follows a match says more than what stands before it.
      const bool follows = total == *best && *first + static_cast<int64_t>(2 * stride) == static_cast<int64_t>(begin);
      if (begin == stride || total > *best || follows) {
        *best = total;
        *first = static_cast<int64_t>(begin - stride);
      }
    }
    if (next) {
      next->add(half, begin, to, is_last);
    } else if (whole && begin > 0) {
      level->keep_larger(whole, half, row_floats);
    } else if (whole) {
      std::copy(half, half + row_floats, whole);
    }
    before = half;
    begin += stride;
  }
};

}  // namespace

void score_one_window(const Call& call, size_t i, size_t scale, float score) {
  for (; scale < call.windows.n_scales; scale++) {
    call.windows.best[scale * call.n_documents + i] = score;
    call.windows.first[scale * call.n_documents + i] = 0;
  }
}

float mean_of_scales(const Call& call, size_t i) {
  float total = 0.0f;
  for (size_t scale = 0; scale < call.windows.n_scales; scale++) total += call.windows.best[scale * call.n_documents + i];
  return total / static_cast<float>(call.windows.n_scales);
}

bool score_windows(const Call& call, const uint8_t* packed, size_t i, const Workspace& at) {
  const Windows& windows = call.windows;
  const Document& document = call.documents[i];
  const Document& after = call.documents[i + 1 < call.n_documents ? i + 1 : i];
  const size_t row_bytes = code_bytes(call.shape.codec, call.shape.dim), block_tokens = windows.strides[0];
  // At the other scales the whole document is one window.
  Scale scales[kMaxScales];
  size_t n_scales = 0;
  for (; n_scales < windows.n_scales && document.n_tokens > 2 * windows.strides[n_scales]; n_scales++) {
    float* const halves = at.halves + 2 * n_scales * at.row_floats;
    const size_t to = n_scales * call.n_documents + i;
    scales[n_scales] = {call.level, windows.strides[n_scales], at.row_floats, halves, halves, halves + at.row_floats,
                        windows.best + to, windows.first + to, nullptr, nullptr, 0};
    if (n_scales) scales[n_scales - 1].next = &scales[n_scales];
  }
  if (n_scales < windows.n_scales) scales[n_scales - 1].whole = at.maxima;
  bool finite = true;
  for (size_t from = 0; from < document.n_tokens; from += kBlocks * block_tokens) {
    const size_t n_rest = document.n_tokens - from, n_tokens = std::min(n_rest, kBlocks * block_tokens);
    const Document here = {document.codes + from * row_bytes, document.scales + 4 * from, n_tokens};
    const Document next = n_tokens < n_rest ? Document{here.codes + n_tokens * row_bytes, here.scales, 1} : after;
    finite = call.level->maxima(call.shape, packed, here, next, block_tokens, at.scratch, at.blocks) && finite;
    for (size_t block = 0; block * block_tokens < n_tokens; block++) {
      const size_t begin = from + block * block_tokens, end = std::min(begin + block_tokens, document.n_tokens);
      scales[0].add(at.blocks + block * at.row_floats, begin, end, end == document.n_tokens);
    }
    for (size_t scale = 0; scale < n_scales; scale++) scales[scale].hold();
  }
  if (n_scales < windows.n_scales) score_one_window(call, i, n_scales, call.level->sum_of_larger(at.maxima, at.maxima, at.row_floats));
  for (size_t scale = 0; scale < windows.n_scales; scale++)
    finite = finite && std::isfinite(windows.best[scale * call.n_documents + i]);
  return finite;
}

}  // namespace late_rerank
