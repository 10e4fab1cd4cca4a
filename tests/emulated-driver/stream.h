// Queues of work. By default work runs when it is queued; with the setting "deferred" it runs when somebody waits for it, as
// late as a device may, so that a program which does not wait where it has to gets other results.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace emulated {

// A piece of queued work; returns a CUresult.
using Operation = std::function<int()>;

struct Stream
{
    unsigned flags = 0;
    std::recursive_mutex lock;
    std::deque<Operation> waiting;
    // Written under the lock. Other threads, such as that of finalizers, ask without it how far the stream has come.
    std::atomic<unsigned long long> queued{0}, ended{0};
};

// The stream behind a handle: null and 1 are the legacy default stream, 2 is the calling thread's; null where there is none.
std::shared_ptr<Stream> find_stream(void* handle);

// Queues work, which runs at once unless work is deferred.
int queue(Stream& stream, Operation operation);

// Runs what was queued first, up to a position. What follows work that failed is dropped, as on a device whose context is lost.
int run_until(Stream& stream, unsigned long long position);
int run_all(Stream& stream);

// Every stream that this thread has used.
int run_everything();

}  // namespace emulated
