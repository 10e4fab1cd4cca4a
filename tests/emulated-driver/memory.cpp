#include "memory.h"

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

#include <sys/mman.h>
#include <unistd.h>

namespace emulated {

namespace {

constexpr unsigned char Poison = 0xFF;
constexpr std::size_t CheckedBefore = 64;

// Blocks run in any order, so the first access outside an allocation may be far from it and must not hit another one. Guards cost
// addresses, but no memory.
constexpr std::size_t GuardBytes = 1 << 20;

struct Allocation
{
    std::size_t bytes;
    std::unique_ptr<GuardedMemory> pages;
    Origin origin;
    // Whether it can be accessed, and whether it has been freed to its pool.
    bool open, retired;
};

std::mutex lock;
std::size_t total, ofPool;

// Never destroyed: threads and finalizers may still use it while the process ends.
std::map<std::uintptr_t, Allocation>& allocations()
{
    static auto* all = new std::map<std::uintptr_t, Allocation>;
    return *all;
}

bool is_poison(const char* from, const char* to)
{
    for (; from < to; from++)
    {
        if (static_cast<unsigned char>(*from) != Poison) return false;
    }

    return true;
}

// The allocation that contains these bytes, or null. The caller holds the lock.
const Allocation* allocation_around(const void* address, std::size_t bytes)
{
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    auto next = allocations().upper_bound(at);
    if (next == allocations().begin()) return nullptr;
    --next;
    return at + bytes <= next->first + next->second.bytes ? &next->second : nullptr;
}

}  // namespace

GuardedMemory::GuardedMemory(std::size_t bytes)
{
    begin = end = nullptr;
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), inner = (bytes + page - 1) / page * page;
    void* memory = mmap(nullptr, inner + 2 * GuardBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    if (mprotect(static_cast<char*>(memory) + GuardBytes, inner, PROT_READ | PROT_WRITE) != 0)
    {
        munmap(memory, inner + 2 * GuardBytes);
        return;
    }

    begin = static_cast<char*>(memory) + GuardBytes;
    end = begin + inner;
}

GuardedMemory::~GuardedMemory()
{
    if (!begin) return;
    munmap(begin - GuardBytes, static_cast<std::size_t>(end - begin) + 2 * GuardBytes);
}

void* allocate(std::size_t bytes, Origin origin)
{
    std::unique_ptr<GuardedMemory> pages(new GuardedMemory(bytes + 16));
    if (!pages->begin_of_pages()) return nullptr;
    const auto length = static_cast<std::size_t>(pages->end_of_pages() - pages->begin_of_pages());
    std::memset(pages->begin_of_pages(), Poison, length);
    char* address = pages->end_aligned(bytes);
    const bool pool = origin == Origin::Pool;
    // Splits a mapping, of which the host has a limited number.
    if (pool && mprotect(pages->begin_of_pages(), length, PROT_NONE) != 0) return nullptr;
    std::lock_guard<std::mutex> guard(lock);
    if (origin != Origin::Host) total += bytes;
    if (pool) ofPool += bytes;
    allocations()[reinterpret_cast<std::uintptr_t>(address)] = {bytes, std::move(pages), origin, !pool, false};
    return address;
}

bool open(void* address)
{
    std::lock_guard<std::mutex> guard(lock);
    const auto found = allocations().find(reinterpret_cast<std::uintptr_t>(address));
    if (found == allocations().end()) return true;
    GuardedMemory& pages = *found->second.pages;
    const auto length = static_cast<std::size_t>(pages.end_of_pages() - pages.begin_of_pages());
    return found->second.open = mprotect(pages.begin_of_pages(), length, PROT_READ | PROT_WRITE) == 0;
}

bool retire(void* address)
{
    std::lock_guard<std::mutex> guard(lock);
    const auto found = allocations().find(reinterpret_cast<std::uintptr_t>(address));
    if (found == allocations().end() || found->second.origin != Origin::Pool || found->second.retired) return false;
    found->second.retired = true;
    return true;
}

bool release(void* address, Origin origin)
{
    std::lock_guard<std::mutex> guard(lock);
    const auto found = allocations().find(reinterpret_cast<std::uintptr_t>(address));
    if (found == allocations().end() || found->second.origin != origin) return false;
    if (origin != Origin::Host) total -= found->second.bytes;
    if (origin == Origin::Pool) ofPool -= found->second.bytes;
    allocations().erase(found);
    return true;
}

std::size_t allocated_bytes()
{
    std::lock_guard<std::mutex> guard(lock);
    return total;
}

std::size_t pool_bytes()
{
    std::lock_guard<std::mutex> guard(lock);
    return ofPool;
}

bool is_page_locked(const void* address, std::size_t bytes)
{
    std::lock_guard<std::mutex> guard(lock);
    const Allocation* allocation = allocation_around(address, bytes);
    return allocation && allocation->origin == Origin::Host;
}

bool is_of_pool(const void* address)
{
    std::lock_guard<std::mutex> guard(lock);
    const Allocation* allocation = allocation_around(address, 0);
    return allocation && allocation->origin == Origin::Pool;
}

bool inside_allocation(const void* address, std::size_t bytes)
{
    std::lock_guard<std::mutex> guard(lock);
    const Allocation* allocation = allocation_around(address, bytes);
    return allocation && allocation->origin != Origin::Host && !allocation->retired;
}

bool is_reachable(const void* address, std::size_t bytes)
{
    std::lock_guard<std::mutex> guard(lock);
    const Allocation* allocation = allocation_around(address, bytes);
    return allocation && allocation->origin != Origin::Host && allocation->open;
}

std::string describe_address(const void* address)
{
    std::lock_guard<std::mutex> guard(lock);
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    char text[200];
    std::snprintf(text, sizeof text, "access at %p, near no allocation", address);
    auto next = allocations().upper_bound(at);
    long long distance = 1ll << 40;
    if (next != allocations().end() && static_cast<long long>(next->first - at) < distance)
    {
        distance = static_cast<long long>(next->first - at);
        std::snprintf(text, sizeof text, "access %lld bytes before an allocation of %zu bytes", distance, next->second.bytes);
    }

    if (next == allocations().begin()) return text;
    --next;
    const auto end = next->first + next->second.bytes;
    if (at < end)
        std::snprintf(
            text, sizeof text, "access %lld bytes into an allocation of %zu bytes", static_cast<long long>(at - next->first), next->second.bytes);
    else if (static_cast<long long>(at - end) < distance)
        std::snprintf(
            text, sizeof text, "access %lld bytes beyond the end of an allocation of %zu bytes", static_cast<long long>(at - end), next->second.bytes);
    return text;
}

Contents contents()
{
    std::lock_guard<std::mutex> guard(lock);
    Contents all;
    for (const auto& [address, allocation] : allocations())
    {
        const char* begin = reinterpret_cast<const char*>(address);
        if (allocation.open && allocation.origin != Origin::Host) all[address].assign(begin, begin + allocation.bytes);
    }

    return all;
}

char* most_changed(const Contents& before, std::size_t& bytes)
{
    std::lock_guard<std::mutex> guard(lock);
    std::size_t most = 0;
    char* found = nullptr;
    for (const auto& [address, content] : before)
    {
        const auto still = allocations().find(address);
        if (still == allocations().end() || !still->second.open || still->second.bytes != content.size()) continue;
        char* now = reinterpret_cast<char*>(address);
        std::size_t changed = 0;
        for (std::size_t i = 0; i < content.size(); i++) changed += now[i] != content[i];
        if (changed <= most) continue;
        most = changed;
        found = now;
        bytes = content.size();
    }

    return found;
}

bool slack_is_untouched(std::string& message)
{
    std::lock_guard<std::mutex> guard(lock);
    for (const auto& [address, allocation] : allocations())
    {
        if (!allocation.open) continue;
        const char *begin = reinterpret_cast<const char*>(address), *end = begin + allocation.bytes;
        const char* before = begin - allocation.pages->begin_of_pages() > static_cast<std::ptrdiff_t>(CheckedBefore)
            ? begin - CheckedBefore : allocation.pages->begin_of_pages();
        if (is_poison(before, begin) && is_poison(end, allocation.pages->end_of_pages())) continue;
        message = "wrote just outside an allocation of " + std::to_string(allocation.bytes) + " bytes";
        // Restored, so that it is reported once.
        std::memset(const_cast<char*>(before), Poison, static_cast<std::size_t>(begin - before));
        std::memset(const_cast<char*>(end), Poison, static_cast<std::size_t>(allocation.pages->end_of_pages() - end));
        return false;
    }

    return true;
}

}  // namespace emulated
