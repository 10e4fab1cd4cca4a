#include "stream.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include "driver.h"
#include "results.h"

using namespace emulated;

namespace {

// What an event was last recorded after: a position in a stream.
struct Place
{
    std::shared_ptr<Stream> stream;
    unsigned long long position = 0;
};

struct Event
{
    unsigned flags = 0;
    Place place;
};

// What there is, and the lock of all of it. Never destroyed: threads and finalizers may still use it while the process ends.
std::mutex& lock = *new std::mutex;
std::map<void*, std::shared_ptr<Stream>>& streams = *new std::map<void*, std::shared_ptr<Stream>>;
std::map<void*, std::shared_ptr<Event>>& events = *new std::map<void*, std::shared_ptr<Event>>;

thread_local std::shared_ptr<Stream> legacy = std::make_shared<Stream>(), ofThread = std::make_shared<Stream>();
thread_local std::vector<std::weak_ptr<Stream>> used;

// Where an event is; false where there is no such event.
bool find_place(void* handle, Place& place)
{
    std::lock_guard<std::mutex> guard(lock);
    const auto found = events.find(handle);
    if (found == events.end()) return false;
    place = found->second->place;
    return true;
}

int unknown_stream() { return failed(InvalidHandle, "there is no such stream, or it has been destroyed"); }

int unknown_event() { return failed(InvalidHandle, "there is no such event, or it has been destroyed"); }

bool is_complete(const Place& place) { return !place.stream || place.stream->ended >= place.position; }

}  // namespace

namespace emulated {

std::shared_ptr<Stream> find_stream(void* handle)
{
    const auto number = reinterpret_cast<std::uintptr_t>(handle);
    std::shared_ptr<Stream> found = number <= 1 ? legacy : number == 2 ? ofThread : nullptr;
    if (!found)
    {
        std::lock_guard<std::mutex> guard(lock);
        const auto entry = streams.find(handle);
        if (entry != streams.end()) found = entry->second;
    }

    const auto is_it = [&](const std::weak_ptr<Stream>& other) { return other.lock() == found; };
    if (found && std::none_of(used.begin(), used.end(), is_it)) used.push_back(found);
    return found;
}

int queue(Stream& stream, Operation operation)
{
    std::lock_guard<std::recursive_mutex> guard(stream.lock);
    stream.waiting.push_back(std::move(operation));
    stream.queued++;
    return settings.deferred ? static_cast<int>(Success) : run_all(stream);
}

int run_until(Stream& stream, unsigned long long position)
{
    std::lock_guard<std::recursive_mutex> guard(stream.lock);
    while (stream.ended < position && !stream.waiting.empty())
    {
        const Operation operation = std::move(stream.waiting.front());
        stream.waiting.pop_front();
        // An operation may wait for another stream, whose kernels have a rule of their own.
        const SumRule outer = sumRule;
        sumRule = stream.sums;
        const int result = operation();
        sumRule = outer;
        stream.ended++;
        if (result == Success) continue;
        stream.waiting.clear();
        stream.ended = stream.queued.load();
        return result;
    }

    return Success;
}

int run_all(Stream& stream) { return run_until(stream, stream.queued); }

int run_everything()
{
    int first = Success;
    for (const std::weak_ptr<Stream>& weak : used)
    {
        const std::shared_ptr<Stream> stream = weak.lock();
        const int result = stream ? run_all(*stream) : static_cast<int>(Success);
        if (first == Success) first = result;
    }

    used.erase(std::remove_if(used.begin(), used.end(), [](const std::weak_ptr<Stream>& s) { return s.expired(); }), used.end());
    return first;
}

}  // namespace emulated

EXPORT int cuStreamCreate(void** stream, unsigned flags)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    if (flags > 1) return failed(InvalidValue, "a stream has no such flags");
    auto made = std::make_shared<Stream>();
    made->flags = flags;
    *stream = made.get();
    std::lock_guard<std::mutex> guard(lock);
    streams[made.get()] = std::move(made);
    return Success;
}

// Queued work still runs.
EXPORT int cuStreamDestroy_v2(void* handle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    std::shared_ptr<Stream> stream;
    {
        std::lock_guard<std::mutex> guard(lock);
        const auto entry = streams.find(handle);
        if (entry == streams.end()) return unknown_stream();
        stream = std::move(entry->second);
        streams.erase(entry);
    }

    run_all(*stream);
    return Success;
}

EXPORT int cuStreamSynchronize(void* handle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) return unknown_stream();
    counters.synchronizations++;
    return run_all(*stream);
}

EXPORT int cuCtxSynchronize()
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    counters.synchronizations++;
    return run_everything();
}

EXPORT int cuStreamWaitEvent(void* handle, void* eventHandle, unsigned flags)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    if (flags != 0) return failed(InvalidValue, "flags of cuStreamWaitEvent");
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) return unknown_stream();
    Place place;
    if (!find_place(eventHandle, place)) return unknown_event();
    // The latest record at the time of this call counts; an event that was never recorded is no reason to wait.
    if (!place.stream) return Success;
    return queue(*stream, [place] { return run_until(*place.stream, place.position); });
}

EXPORT int cuEventCreate(void** event, unsigned flags)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    // Blocking wait, no timing, between processes.
    if (flags > 7 || ((flags & 4) != 0 && (flags & 2) == 0)) return failed(InvalidValue, "an event has no such flags");
    auto made = std::make_shared<Event>();
    made->flags = flags;
    *event = made.get();
    counters.events++;
    std::lock_guard<std::mutex> guard(lock);
    events[made.get()] = std::move(made);
    return Success;
}

EXPORT int cuEventRecord(void* handle, void* streamHandle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Stream> stream = find_stream(streamHandle);
    std::lock_guard<std::mutex> guard(lock);
    const auto event = events.find(handle);
    if (event == events.end()) return unknown_event();
    if (!stream) return unknown_stream();
    event->second->place = {stream, stream->queued};
    return Success;
}

// Whether this is a thread that watches NCCL.
static bool is_watch()
{
    char name[16] = {};
    return pthread_getname_np(pthread_self(), name, sizeof name) == 0 && std::strncmp(name, "NCCL", 4) == 0;
}

// While the file that FEEDBACK_EMULATED_HELD_BY names exists, the call of a watch waits, as behind a call of another thread that waits for
// the device.
EXPORT int cuEventQuery(void* handle)
{
    static const char* const held = std::getenv("FEEDBACK_EMULATED_HELD_BY");
    while (held && access(held, F_OK) == 0 && is_watch()) usleep(10'000);
    counters.calls++;
    Place place;
    if (!find_place(handle, place)) return unknown_event();
    return is_complete(place) ? static_cast<int>(Success) : static_cast<int>(NotReady);
}

EXPORT int cuEventSynchronize(void* handle)
{
    counters.calls++;
    Place place;
    if (!find_place(handle, place)) return unknown_event();
    counters.eventWaits++;
    return place.stream ? run_until(*place.stream, place.position) : static_cast<int>(Success);
}

EXPORT int cuEventDestroy_v2(void* handle)
{
    counters.calls++;
    std::lock_guard<std::mutex> guard(lock);
    if (events.erase(handle) == 0) return failed(InvalidHandle, "there is no such event, or it has been destroyed");
    counters.events--;
    return Success;
}

// For the emulated NCCL: queues work on a stream.
EXPORT int emulatedQueue(void* handle, int (*operation)(void*), void* data)
{
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) return unknown_stream();
    return queue(*stream, [operation, data] { return operation(data); });
}
