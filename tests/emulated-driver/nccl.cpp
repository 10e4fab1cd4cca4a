// The functions of NCCL that FeedbackKernels uses, between processes (or threads) of one machine, on the memory and the streams of the
// emulated driver. Each rank says what it calls, and all compare: other sizes, types or calls, and a call that a rank lacks, are errors that
// ncclCommGetAsyncError reports and ncclGetLastError describes. Sums are in rank order. As on a device, work that has failed does not end
// before ncclCommAbort, and leaves no result.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT extern "C" __attribute__((visibility("default")))

// Of the emulated driver.
extern "C" int emulatedQueue(void* stream, int (*operation)(void*), void* data);
extern "C" int emulatedInside(const void* address, std::size_t bytes);
extern "C" int cuCtxGetCurrent(void** context);
extern "C" int cuStreamSynchronize(void* stream);

namespace {

enum Result : int
{
    Success = 0,
    UnhandledCudaError = 1,
    SystemError = 2,
    InvalidArgument = 4,
    InvalidUsage = 5,
    RemoteError = 6
};

enum Type : int
{
    Int8 = 0,
    Float32 = 7,
    BFloat16 = 9
};

constexpr int Sum = 0, FirstWeighted = 5, ScalarOfHost = 1;
constexpr int MostRanks = 8;
constexpr std::size_t AreaBytes = 256 << 10;

// What a rank calls. The factor of a weighted sum is its own.
struct Call
{
    int kind, type, root, weighted;
    unsigned long long count;

    // Also whether sums have factors: NCCL chooses its algorithm by the operation.
    bool operator==(const Call& other) const
    {
        return kind == other.kind && type == other.type && root == other.root && weighted == other.weighted && count == other.count;
    }

    std::string text() const
    {
        const std::string of = std::to_string(count) + " elements of type " + std::to_string(type);
        return kind == 0 ? (weighted ? "a weighted sum of " : "a sum of ") + of : "a broadcast of " + of + " from rank " + std::to_string(root);
    }
};

// What the ranks share. Zeros are its initial state.
struct Shared
{
    std::atomic<int> size, failed;
    std::atomic<int> joined[MostRanks], left[MostRanks];
    // How many places all have to reach, each rank has reached.
    std::atomic<unsigned long long> reached[MostRanks];
    Call calls[MostRanks];
    char message[512];
    alignas(64) unsigned char areas[MostRanks][AreaBytes];
};

struct Id
{
    char name[128];
};

struct Weight
{
    int type;
    float factor;
};

struct Communicator
{
    Shared* shared = nullptr;
    int rank = 0, size = 0;
    std::atomic<bool> aborted{false};
    unsigned long long places = 0, calls = 0;
    std::vector<Weight> weights;
};

using Clock = std::chrono::steady_clock;

// Whether work runs as soon as it is queued, also where the driver defers it. Of the calling thread.
thread_local bool early = false;

std::mutex lock;
std::string lastError;

// Never freed: a call of another thread may still look at what has been aborted.
std::set<Communicator*>& communicators = *new std::set<Communicator*>;

double seconds()
{
    const char* text = std::getenv("FEEDBACK_EMULATED_NCCL_SECONDS");
    const double given = text ? std::atof(text) : 0;
    return given > 0 ? given : 20;
}

int refuse(int result, const std::string& message)
{
    std::lock_guard<std::mutex> guard(lock);
    lastError = message;
    return result;
}

// The first failure is that of all ranks.
void fail(Shared& shared, const std::string& message)
{
    int free = 0;
    if (!shared.failed.compare_exchange_strong(free, 1)) return;
    std::snprintf(shared.message, sizeof shared.message, "%s", message.c_str());
    shared.failed = 2;
}

bool has_failed(const Shared& shared) { return shared.failed == 2; }

bool wait_for(const std::function<bool()>& holds, const std::function<bool()>& ends)
{
    const auto until = Clock::now() + std::chrono::duration<double>(seconds());
    for (int turn = 0; !holds(); turn++)
    {
        if (ends() || Clock::now() > until) return false;
        if (turn < 100) std::this_thread::yield();
        else std::this_thread::sleep_for(std::chrono::microseconds(50));
    }

    return true;
}

// Waits until all ranks have come as far. False where one does not.
bool meet(Communicator& at, const std::string& what)
{
    Shared& shared = *at.shared;
    const unsigned long long place = ++at.places;
    shared.reached[at.rank] = place;
    for (int rank = 0; rank < at.size; rank++)
    {
        const auto is_there = [&] { return shared.reached[rank] >= place; };
        const auto ends = [&] { return at.aborted || has_failed(shared) || (shared.left[rank] && !is_there()); };
        if (wait_for(is_there, ends)) continue;
        if (!at.aborted && !has_failed(shared))
        {
            const char* why = shared.left[rank] ? " has left" : " is missing";
            fail(shared, "call " + std::to_string(at.calls) + ", rank " + std::to_string(at.rank) + " at " + what + ": rank " + std::to_string(rank) + why);
        }

        return false;
    }

    return !at.aborted && !has_failed(shared);
}

float widen(std::uint16_t bits)
{
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

std::uint16_t narrow(float value)
{
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
    return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

std::size_t size_of(int type) { return type == Float32 ? 4 : type == BFloat16 ? 2 : 1; }

// Multiplies numbers by a factor, in their type.
void weigh(unsigned char* numbers, std::size_t count, const Weight& weight)
{
    for (std::size_t i = 0; i < count; i++)
    {
        if (weight.type == Float32)
        {
            reinterpret_cast<float*>(numbers)[i] *= weight.factor;
            continue;
        }

        auto* rounded = reinterpret_cast<std::uint16_t*>(numbers);
        rounded[i] = narrow(widen(rounded[i]) * weight.factor);
    }
}

void add(unsigned char* sums, const unsigned char* numbers, std::size_t count, int type)
{
    for (std::size_t i = 0; i < count; i++)
    {
        if (type == Float32)
        {
            reinterpret_cast<float*>(sums)[i] += reinterpret_cast<const float*>(numbers)[i];
            continue;
        }

        auto* rounded = reinterpret_cast<std::uint16_t*>(sums);
        rounded[i] = narrow(widen(rounded[i]) + widen(reinterpret_cast<const std::uint16_t*>(numbers)[i]));
    }
}

// Work on a stream.
struct Work
{
    Communicator* at;
    Call call;
    Weight weight;
    const unsigned char* from;
    unsigned char* to;
};

bool exchange(const Work& work)
{
    Communicator& at = *work.at;
    Shared& shared = *at.shared;
    const std::string what = work.call.text();
    at.calls++;
    shared.calls[at.rank] = work.call;
    if (!meet(at, what)) return false;
    for (int rank = 0; rank < at.size; rank++)
    {
        if (shared.calls[rank] == work.call) continue;
        fail(shared, "call " + std::to_string(at.calls) + ": rank " + std::to_string(at.rank) + " makes " + what + ", rank " + std::to_string(rank) + " " + shared.calls[rank].text());
        return false;
    }

    const std::size_t unit = size_of(work.call.type);
    for (unsigned long long done = 0; done < work.call.count;)
    {
        const auto count = static_cast<std::size_t>(std::min<unsigned long long>(work.call.count - done, AreaBytes / unit));
        std::memcpy(shared.areas[at.rank], work.from + done * unit, count * unit);
        if (work.call.kind == 0 && work.weight.factor != 1) weigh(shared.areas[at.rank], count, work.weight);
        if (!meet(at, what)) return false;
        std::memcpy(work.to + done * unit, shared.areas[work.call.kind == 0 ? 0 : work.call.root], count * unit);
        for (int rank = 1; work.call.kind == 0 && rank < at.size; rank++) add(work.to + done * unit, shared.areas[rank], count, work.call.type);
        // The areas are written to again only when all have read them.
        if (!meet(at, what)) return false;
        done += count;
    }

    return true;
}

int run(void* data)
{
    const Work work = *static_cast<Work*>(data);
    delete static_cast<Work*>(data);
    if (exchange(work)) return 0;
    // As a kernel that waits for its peers, until it is aborted.
    const auto aborted = [&] { return work.at->aborted.load(); };
    wait_for(aborted, [] { return false; });
    std::memset(work.to, 0xFF, work.call.count * size_of(work.call.type));
    return 0;
}

bool is_known(Communicator* communicator)
{
    std::lock_guard<std::mutex> guard(lock);
    return communicators.count(communicator) != 0;
}

int queue(const void* from, void* to, Call call, int operation, Communicator* at, void* stream)
{
    void* context = nullptr;
    if (!is_known(at) || at->aborted) return refuse(InvalidArgument, "there is no such communicator");
    if (cuCtxGetCurrent(&context) != 0 || !context) return refuse(InvalidUsage, "no context is current");
    if (has_failed(*at->shared)) return refuse(RemoteError, at->shared->message);
    if (call.type != Float32 && call.type != BFloat16 && call.type != Int8) return refuse(InvalidArgument, "type " + std::to_string(call.type));
    if (call.root < 0 || call.root >= at->size) return refuse(InvalidArgument, "root " + std::to_string(call.root));
    const std::size_t bytes = call.count * size_of(call.type);
    if (!emulatedInside(from, bytes) || !emulatedInside(to, bytes)) return refuse(InvalidArgument, call.text() + " outside an allocation of the device");
    Weight weight{call.type, 1};
    if (operation != Sum)
    {
        const auto index = static_cast<std::size_t>(operation - FirstWeighted);
        if (operation < FirstWeighted || index >= at->weights.size()) return refuse(InvalidArgument, "operation " + std::to_string(operation));
        weight = at->weights[index];
        call.weighted = 1;
        if (weight.type != call.type) return refuse(InvalidArgument, "a factor of type " + std::to_string(weight.type) + " for " + call.text());
    }

    auto* work = new Work{at, call, weight, static_cast<const unsigned char*>(from), static_cast<unsigned char*>(to)};
    if (emulatedQueue(stream, run, work) != 0) return refuse(UnhandledCudaError, "the stream does not take work");
    // As early as a device may do it: work of a stream that does not wait for others would come too soon.
    if (early && cuStreamSynchronize(stream) != 0) return refuse(UnhandledCudaError, "work of the stream has failed");
    return Success;
}

Shared* map(const char* name)
{
    const int file = shm_open(name, O_RDWR | O_CREAT, 0600);
    if (file < 0) return nullptr;
    void* memory = ftruncate(file, sizeof(Shared)) == 0 ? mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    close(file);
    return memory == MAP_FAILED ? nullptr : static_cast<Shared*>(memory);
}

}  // namespace

EXPORT void emulatedNcclEarly(int value) { early = value != 0; }

// Whether a communicator has been neither aborted nor destroyed.
EXPORT int emulatedNcclKnows(Communicator* communicator) { return is_known(communicator); }

EXPORT int ncclGetVersion(int* version)
{
    *version = 22003;
    return Success;
}

EXPORT const char* ncclGetErrorString(int result)
{
    switch (result)
    {
    case Success: return "no error";
    case UnhandledCudaError: return "unhandled cuda error";
    case SystemError: return "unhandled system error";
    case InvalidArgument: return "invalid argument";
    case InvalidUsage: return "invalid usage";
    case RemoteError: return "remote process exited or there was a network error";
    default: return "unknown result code";
    }
}

EXPORT const char* ncclGetLastError(Communicator* communicator)
{
    static thread_local std::string text;
    const bool ofAll = communicator && is_known(communicator) && has_failed(*communicator->shared);
    std::lock_guard<std::mutex> guard(lock);
    text = ofAll ? communicator->shared->message : lastError;
    return text.c_str();
}

EXPORT int ncclGetUniqueId(Id* id)
{
    static std::atomic<int> made{0};
    std::memset(id, 0, sizeof *id);
    // The last byte too arrives in each process, or the id was not passed by value.
    std::snprintf(id->name, sizeof id->name, "/feedback-nccl-%d-%d-%lld", static_cast<int>(getpid()), made++,
        static_cast<long long>(Clock::now().time_since_epoch().count()));
    id->name[sizeof id->name - 1] = '!';
    return Success;
}

EXPORT int ncclCommInitRank(Communicator** made, int size, Id id, int rank)
{
    if (id.name[0] != '/' || id.name[sizeof id.name - 1] != '!') return refuse(InvalidArgument, "an id that ncclGetUniqueId did not make");
    if (size < 1 || size > MostRanks || rank < 0 || rank >= size)
        return refuse(InvalidArgument, "rank " + std::to_string(rank) + " of " + std::to_string(size));
    void* context = nullptr;
    if (cuCtxGetCurrent(&context) != 0 || !context) return refuse(InvalidUsage, "no context is current");
    Shared* shared = map(id.name);
    if (!shared) return refuse(SystemError, "no shared memory");
    int free = 0;
    if (!shared->size.compare_exchange_strong(free, size) && free != size)
        fail(*shared, "rank " + std::to_string(rank) + " joins " + std::to_string(size) + " ranks, others " + std::to_string(free));
    else if (shared->joined[rank].exchange(1) != 0) fail(*shared, "two processes join as rank " + std::to_string(rank));
    int missing = 0;
    const auto all = [&]
    {
        for (missing = 0; missing < size && shared->joined[missing]; missing++) {}
        return missing == size;
    };
    const bool complete = wait_for(all, [&] { return has_failed(*shared); });
    shm_unlink(id.name);
    if (!complete && !has_failed(*shared)) fail(*shared, "rank " + std::to_string(missing) + " has not joined");
    if (has_failed(*shared)) return refuse(RemoteError, shared->message);
    auto* communicator = new Communicator;
    communicator->shared = shared;
    communicator->rank = rank;
    communicator->size = size;
    std::lock_guard<std::mutex> guard(lock);
    communicators.insert(communicator);
    *made = communicator;
    return Success;
}

EXPORT int ncclCommGetAsyncError(Communicator* communicator, int* result)
{
    if (!is_known(communicator)) return refuse(InvalidArgument, "there is no such communicator");
    *result = has_failed(*communicator->shared) ? RemoteError : Success;
    return Success;
}

EXPORT int ncclCommAbort(Communicator* communicator)
{
    // As of a communicator whose connections never end.
    while (std::getenv("FEEDBACK_EMULATED_NCCL_ABORT_HANGS")) std::this_thread::sleep_for(std::chrono::seconds(1));
    // What the driver waits for ends.
    if (const char* held = std::getenv("FEEDBACK_EMULATED_HELD_BY")) unlink(held);
    std::lock_guard<std::mutex> guard(lock);
    if (communicators.erase(communicator) == 0) return InvalidArgument;
    communicator->aborted = true;
    communicator->shared->left[communicator->rank] = 1;
    return Success;
}

EXPORT int ncclCommDestroy(Communicator* communicator)
{
    std::lock_guard<std::mutex> guard(lock);
    if (communicators.erase(communicator) == 0) return InvalidArgument;
    communicator->shared->left[communicator->rank] = 1;
    return Success;
}

EXPORT int ncclRedOpCreatePreMulSum(int* operation, const void* factor, int type, int residence, Communicator* communicator)
{
    if (!is_known(communicator)) return refuse(InvalidArgument, "there is no such communicator");
    if (residence != ScalarOfHost || (type != Float32 && type != BFloat16)) return refuse(InvalidArgument, "a factor of type " + std::to_string(type));
    std::uint16_t rounded = 0;
    Weight weight{type, 0};
    if (type == Float32) std::memcpy(&weight.factor, factor, sizeof weight.factor);
    else
    {
        std::memcpy(&rounded, factor, sizeof rounded);
        weight.factor = widen(rounded);
    }

    communicator->weights.push_back(weight);
    *operation = FirstWeighted + static_cast<int>(communicator->weights.size()) - 1;
    return Success;
}

EXPORT int ncclAllReduce(const void* from, void* to, std::size_t count, int type, int operation, Communicator* communicator, void* stream)
{
    return queue(from, to, Call{0, type, 0, 0, count}, operation, communicator, stream);
}

EXPORT int ncclBroadcast(const void* from, void* to, std::size_t count, int type, int root, Communicator* communicator, void* stream)
{
    return queue(from, to, Call{1, type, root, 0, count}, Sum, communicator, stream);
}
