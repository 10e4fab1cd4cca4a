// Device memory: each allocation stands alone, ends at a page that cannot be touched (but for the few bytes that alignment
// leaves, which are checked after each launch), and starts full of NaN.
#pragma once

#include <cstddef>
#include <string>

namespace emulated {

// Pages between two that cannot be touched.
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

// The address, or null where the limit of this thread's device is reached.
void* allocate(std::size_t bytes);

// False for an address that was not allocated.
bool release(void* address);

std::size_t allocated_bytes();

// Whether a copy or a fill of device memory stays inside one allocation.
bool inside_allocation(const void* address, std::size_t bytes);

// Says where an address lies relative to the nearest allocation.
std::string describe_address(const void* address);

// Checks the bytes between the allocations and their guards; false and a description where one was written.
bool slack_is_untouched(std::string& message);

}  // namespace emulated
