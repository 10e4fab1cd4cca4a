// Device memory. Each allocation has pages of its own, ends at a page that cannot be accessed, and is filled with NaN. The few bytes
// between its end and that page, which alignment leaves, are checked after each launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace emulated {

// Pages between guard pages, which cannot be accessed. Both pointers are null where the host refuses to map them.
class GuardedMemory
{
public:
    explicit GuardedMemory(std::size_t bytes);
    GuardedMemory(const GuardedMemory&) = delete;
    ~GuardedMemory();

    // The address at which `bytes` bytes begin that end at the upper guard, up to an alignment of 16.
    char* end_aligned(std::size_t bytes) const { return end - (bytes + 15) / 16 * 16; }

    char* begin_of_pages() const { return begin; }
    char* end_of_pages() const { return end; }

private:
    char *begin, *end;
};

// How memory was allocated. Pool: in the order of a stream.
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

// Marks memory of the pool that will be released: work that is queued from now on may not use it. False for an address that was not
// allocated from the pool, or has been retired before.
bool retire(void* address);

// Frees memory. False for an address that was not allocated in this way.
bool release(void* address, Origin origin);

// Bytes of device memory, of all of it and of the pool.
std::size_t allocated_bytes();
std::size_t pool_bytes();

// Whether memory is page-locked and belongs to one allocation.
bool is_page_locked(const void* address, std::size_t bytes);

bool is_of_pool(const void* address);

// Whether a copy or a fill of device memory stays inside one allocation, which work that is queued now may use; and whether the memory
// can be accessed now.
bool inside_allocation(const void* address, std::size_t bytes);
bool is_reachable(const void* address, std::size_t bytes);

// Describes where an address is relative to the nearest allocation.
std::string describe_address(const void* address);

// A copy of all device memory, and the allocation of which most bytes have changed since then: what a kernel has computed. Null where
// none has.
using Contents = std::map<std::uintptr_t, std::vector<char>>;
Contents contents();
char* most_changed(const Contents& before, std::size_t& bytes);

// Checks the bytes between allocations and their guards; false and a description where one was written to.
bool slack_is_untouched(std::string& message);

}  // namespace emulated
