// Work on several threads: they live as long as one call, so a process may fork between calls.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

inline std::atomic<int> thread_count{1};

using Task = std::function<void()>;

// What must have happened before others go on; it also opens when the work before it failed.
class Gate {
  public:
    void open() {
        std::lock_guard<std::mutex> lock(mutex);
        is_open = true;
        changed.notify_all();
    }
    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [this] { return is_open; });
    }

  private:
    std::mutex mutex;
    std::condition_variable changed;
    bool is_open = false;
};

// Tasks start in their order, so one may wait for what a task before it does. Throws what one of them threw.
inline void run_all(const std::vector<Task> &tasks) {
    std::atomic<size_t> next{0};
    std::mutex mutex;
    std::exception_ptr failure;
    const auto work = [&] {
        for (size_t at; (at = next++) < tasks.size();) {
            try {
                tasks[at]();
            } catch (...) {
                std::lock_guard<std::mutex> lock(mutex);
                failure = std::current_exception();
            }
        }
    };
    std::vector<std::thread> others;
    const size_t wanted = std::min<size_t>(thread_count, tasks.size());
    for (size_t i = 1; i < wanted; i++) {
        try {
            others.emplace_back(work);
        } catch (const std::system_error &) {
            break;  // The system gives no more; this thread does what is left.
        }
    }
    work();
    for (auto &other : others) other.join();
    if (failure) std::rethrow_exception(failure);
}
