#include "pool.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace late_rerank {
namespace {

// A job outlives its call: a helper may come late, find that nothing is left, and go.
struct Job {
  Job(size_t n_items, size_t n_slots, const std::function<void(size_t, size_t)>& work)
      : n_items(n_items), n_slots(n_slots), work(&work) {}

  void help() {
    const size_t slot = slots.fetch_add(1);
    if (slot >= n_slots) return;
    for (;;) {
      const size_t item = next.fetch_add(1);
      if (item >= n_items) return;  // `work` may be gone by now
      (*work)(item, slot);
      if (done.fetch_add(1) + 1 == n_items) {
        std::lock_guard<std::mutex> lock(mutex);
        finished.notify_one();
      }
    }
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex);
    finished.wait(lock, [this] { return done.load() == n_items; });
  }

  const size_t n_items, n_slots;
  const std::function<void(size_t, size_t)>* const work;
  std::atomic<size_t> next{0}, done{0}, slots{0};
  std::mutex mutex;
  std::condition_variable finished;
};

class Helpers {
 public:
  void ask(const std::shared_ptr<Job>& job, size_t n_helpers) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      // Where the system has no more threads or memory, fewer do it too, or the caller alone.
      try {
        for (; n_started_ < n_helpers; n_started_++) std::thread([this] { loop(); }).detach();
      } catch (const std::system_error&) {
      }
      try {
        for (size_t i = 0; i < n_helpers && i < n_started_; i++) jobs_.push_back(job);
      } catch (const std::bad_alloc&) {
      }
    }
    for (size_t i = 0; i < n_helpers; i++) wake_.notify_one();
  }

 private:
  void loop() {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return !jobs_.empty(); });
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job->help();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  size_t n_started_ = 0;
};

// Never destroyed: threads still wait in it when the process ends. A forked child has none of the threads and perhaps a locked mutex:
// it starts anew.
std::atomic<Helpers*> helpers{nullptr};

Helpers& the_helpers() {
  static std::once_flag once;
  std::call_once(once, [] {
    helpers = new Helpers;
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(nullptr, nullptr, [] { helpers = new Helpers; });
#endif
  });
  return *helpers.load();
}

}  // namespace

void each(size_t n_items, size_t n_threads, const std::function<void(size_t, size_t)>& work) {
  if (n_threads > n_items) n_threads = n_items;
  if (n_threads <= 1) {
    for (size_t i = 0; i < n_items; i++) work(i, 0);
    return;
  }
  const auto job = std::make_shared<Job>(n_items, n_threads, work);
  the_helpers().ask(job, n_threads - 1);
  job->help();
  job->wait();
}

}  // namespace late_rerank
