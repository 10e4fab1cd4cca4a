// The memory functions of the driver API: device memory with and without a pool, page-locked memory, copies and fills.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "driver.h"
#include "memory.h"
#include "results.h"
#include "stream.h"

using namespace emulated;

namespace {

// The only pool of the device; memory.cpp knows what belongs to it.
int defaultPool;

void* pointer(std::uint64_t address) { return reinterpret_cast<void*>(address); }

int unknown_stream() { return failed(InvalidHandle, "there is no such stream, or it has been destroyed"); }

int take(std::uint64_t* address, std::size_t bytes, Origin origin)
{
    if (bytes == 0) return InvalidValue;
    if (bytes > static_cast<std::size_t>(settings.memoryLimit)) return OutOfMemory;
    void* memory = allocate(bytes, origin);
    if (!memory) return OutOfMemory;
    counters.allocations++;
    *address = reinterpret_cast<std::uint64_t>(memory);
    return Success;
}

// Queues a copy or fill. It is checked now, and again when it runs, because the memory may have been freed by then.
template <class Body>
int queue_access(void* handle, std::uint64_t address, std::size_t bytes, const char* what, Body body)
{
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) return unknown_stream();
    if (!inside_allocation(pointer(address), bytes)) return failed(InvalidValue, std::string(what) + " outside an allocation");
    return queue(*stream, [=] {
        if (is_reachable(pointer(address), bytes)) return body();
        return failed(IllegalAddress, std::string(what) + " that is not there yet, or was given back while the work was queued");
    });
}

}  // namespace

EXPORT int cuMemGetInfo_v2(std::size_t* free, std::size_t* total)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    *total = static_cast<std::size_t>(settings.memoryLimit);
    const std::size_t used = allocated_bytes();
    *free = used < *total ? *total - used : 0;
    return Success;
}

EXPORT int cuMemAlloc_v2(std::uint64_t* address, std::size_t bytes)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    return take(address, bytes, Origin::Device);
}

// Waits for the device, unless the memory belongs to a pool.
EXPORT int cuMemFree_v2(std::uint64_t address)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const bool pool = is_of_pool(pointer(address));
    if (pool && !retire(pointer(address))) return failed(InvalidValue, "gave memory back twice");
    const int result = pool ? static_cast<int>(Success) : run_everything();
    if (!release(pointer(address), pool ? Origin::Pool : Origin::Device)) return failed(InvalidValue, "freed an address that was not allocated");
    counters.releases++;
    return result;
}

EXPORT int cuMemAllocAsync(std::uint64_t* address, std::size_t bytes, void* handle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    if (!settings.memoryPools) return failed(NotSupported, "the device has no memory pools");
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) return unknown_stream();
    const int result = take(address, bytes, Origin::Pool);
    return result == Success ? queue(*stream, [memory = pointer(*address)] {
        return open(memory) ? static_cast<int>(Success) : failed(OutOfMemory, "the host refuses to map memory of the pool");
    }) : result;
}

EXPORT int cuMemFreeAsync(std::uint64_t address, void* handle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) return unknown_stream();
    if (!retire(pointer(address))) return failed(InvalidValue, "gave memory back that is not of a pool, or twice");
    counters.releases++;
    return queue(*stream, [memory = pointer(address)] {
        release(memory, Origin::Pool);
        return static_cast<int>(Success);
    });
}

EXPORT int cuDeviceGetDefaultMemPool(void** pool, int)
{
    counters.calls++;
    if (!is_initialised()) return NotInitialized;
    if (!settings.memoryPools) return failed(NotSupported, "the device has no memory pools");
    *pool = &defaultPool;
    return Success;
}

// CUmemPool_attribute 5 is the reserved memory, 7 the used memory. This pool frees at once, so they are equal.
EXPORT int cuMemPoolGetAttribute(void* pool, int attribute, void* value)
{
    counters.calls++;
    if (pool != &defaultPool || (attribute != 5 && attribute != 7)) return failed(InvalidValue, "attribute of a memory pool");
    *static_cast<std::uint64_t*>(value) = pool_bytes();
    return Success;
}

EXPORT int cuMemHostAlloc(void** address, std::size_t bytes, unsigned flags)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    if (bytes == 0 || flags > 7) return failed(InvalidValue, "page-locked memory of " + std::to_string(bytes) + " bytes");
    *address = allocate(bytes, Origin::Host);
    if (!*address) return OutOfMemory;
    counters.pinned++;
    return Success;
}

EXPORT int cuMemFreeHost(void* address)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    if (!release(address, Origin::Host)) return failed(InvalidValue, "freed an address that is not page-locked");
    counters.pinned--;
    return Success;
}

// Page-locked memory is read when the copy runs; other memory before this returns.
EXPORT int cuMemcpyHtoDAsync_v2(std::uint64_t destination, const void* source, std::size_t bytes, void* handle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    static const char what[] = "a copy to memory";
    if (is_page_locked(source, bytes))
    {
        return queue_access(handle, destination, bytes, what, [=] {
            if (!is_page_locked(source, bytes)) return failed(IllegalAddress, "page-locked memory was freed while a copy was queued");
            std::memcpy(pointer(destination), source, bytes);
            return static_cast<int>(Success);
        });
    }

    const auto first = static_cast<const char*>(source);
    return queue_access(handle, destination, bytes, what, [=, copy = std::vector<char>(first, first + bytes)] {
        std::memcpy(pointer(destination), copy.data(), bytes);
        return static_cast<int>(Success);
    });
}

// Page-locked memory is written when the copy runs; other memory before this returns.
EXPORT int cuMemcpyDtoHAsync_v2(void* destination, std::uint64_t source, std::size_t bytes, void* handle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const bool pageLocked = is_page_locked(destination, bytes);
    const int result = queue_access(handle, source, bytes, "a copy of memory", [=] {
        if (pageLocked && !is_page_locked(destination, bytes)) return failed(IllegalAddress, "page-locked memory was freed while a copy was queued");
        std::memcpy(destination, pointer(source), bytes);
        return static_cast<int>(Success);
    });
    return result == Success && !pageLocked ? run_all(*find_stream(handle)) : result;
}

EXPORT int cuMemsetD8Async(std::uint64_t address, unsigned char value, std::size_t bytes, void* handle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    return queue_access(handle, address, bytes, "a fill of memory", [=] {
        std::memset(pointer(address), value, bytes);
        return static_cast<int>(Success);
    });
}

// For the emulated NCCL: whether these bytes are of one allocation of the device.
EXPORT int emulatedInside(const void* address, std::size_t bytes) { return inside_allocation(address, bytes) ? 1 : 0; }
