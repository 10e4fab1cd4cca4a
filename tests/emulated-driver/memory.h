// Device memory: each allocation stands alone, ends at memory that cannot be touched (but for the few bytes that alignment
// leaves, which are checked after each launch), and starts full of NaN.
#pragma once

#include <cstddef>
#include <string>

namespace emulated {

// Pages between memory that cannot be touched.
class GuardedMemory
{
public:
    explicit GuardedMemory(std::size_t bytes);
    GuardedMemory(const GuardedMemory&) = delete;
    ~GuardedMemory();

    // Where `bytes` bytes begin that end, up to an alignment of 16, at the upper guard.
    char* end_aligned(std::size_t bytes) const { return end - (bytes + 15) / 16 * 16; }

    char* begin_of_pages() const { return begin; }
    char* end_of_pages() const { return end; }

private:
    char *begin, *end;
};

// How memory was taken: of the pool it is taken and given back in the order of a stream.
enum class Origin
{
    Device,
    Pool,
    Host
};

// The address, or null where the host has no such memory. Memory of the pool cannot be touched before it is opened, which is
// false where the host refuses.
void* allocate(std::size_t bytes, Origin origin);
bool open(void* address);

// Says that memory of the pool will be released: from here on nothing may be queued that uses it. False for an address that
// was not allocated there, or is given back twice.
bool retire(void* address);

// False for an address that was not allocated that way.
bool release(void* address, Origin origin);

// Device memory, of the pool or not.
std::size_t allocated_bytes();
std::size_t pool_bytes();

// Whether memory is page-locked, all of it in one allocation.
bool is_page_locked(const void* address, std::size_t bytes);

bool is_of_pool(const void* address);

// Whether a copy or a fill of device memory stays inside one allocation that may be used by what is queued now; and whether
// the memory is there at the moment.
bool inside_allocation(const void* address, std::size_t bytes);
bool is_reachable(const void* address, std::size_t bytes);

// Says where an address lies relative to the nearest allocation.
std::string describe_address(const void* address);

// Checks the bytes between the allocations and their guards; false and a description where one was written.
bool slack_is_untouched(std::string& message);

}  // namespace emulated
