// Streams. By default work runs when it is queued. With the setting "deferred" it runs only when something waits for it, so that a
// program that lacks a wait gets wrong results.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "driver.h"

namespace emulated {

// Queued work; returns a CUresult.
using Operation = std::function<int()>;

struct Stream
{
    unsigned flags = 0;
    // How the kernels of this stream add on tensor cores: as the device did in the settings of the thread that created it.
    SumRule sums = settings.sum_rule();
    std::recursive_mutex lock;
    std::deque<Operation> waiting;
    // Written under the lock. Other threads, such as that of finalizers, ask without it how far the stream has come.
    std::atomic<unsigned long long> queued{0}, ended{0};
};

// The stream of a handle: 0 and 1 are the legacy default stream, 2 is the calling thread's default stream. Null where there is none.
std::shared_ptr<Stream> find_stream(void* handle);

// Queues work, and runs it unless work is deferred.
int queue(Stream& stream, Operation operation);

// Runs queued work in order up to a position. Work after a failure is dropped, as on a device whose context is lost.
int run_until(Stream& stream, unsigned long long position);
int run_all(Stream& stream);

// The same for every stream that this thread has used.
int run_everything();

}  // namespace emulated
