// One document's best windows at several scales.
#pragma once

#include "score.h"

namespace late_rerank {

// Blocks whose maxima are computed in one go: few enough that they stay in the first-level cache.
constexpr size_t kBlocks = 16;
constexpr size_t kMaxScales = 8;

// What a thread works with, each on a 64-byte boundary.
struct Workspace {
  uint8_t* scratch;
  float* maxima;      // (n_query_tokens,), of the whole document
  float* halves;      // two rows for each scale
  float* blocks;      // kBlocks rows; one if there are no windows
  size_t row_floats;  // of a row, which the level says
};

// Finds the best windows of document i, which is longer than a window of the first scale. False if a number isn't finite.
bool score_windows(const Call& call, const uint8_t* packed, size_t i, const Workspace& at);

// The mean over the scales of document i's best windows.
float mean_of_scales(const Call& call, size_t i);

// Tells that document i is one window at all scales from `scale` on.
void score_one_window(const Call& call, size_t i, size_t scale, float score);

}  // namespace late_rerank
