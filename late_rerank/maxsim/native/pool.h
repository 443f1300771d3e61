// Threads that help a caller who could do it alone.
#pragma once

#include <cstddef>
#include <functional>

namespace late_rerank {

// Calls work(item, slot) for each item below n_items, on the caller's thread and on up to n_threads - 1 others. Two calls that run at
// the same time have different slots, below n_threads. `work` must not throw.
//
// The caller takes items itself and at the end waits only for items that a helper has begun: a helper that the system hasn't
// woken yet is never waited for. (OpenMP's teams wait for every member; on a busy machine that takes milliseconds.)
void each(size_t n_items, size_t n_threads, const std::function<void(size_t item, size_t slot)>& work);

}  // namespace late_rerank
