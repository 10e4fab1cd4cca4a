// A kernel that fails is left by siglongjmp from the stack of a fiber to that of the thread. With _FORTIFY_SOURCE, which some
// compilers set by themselves, glibc takes a jump to a lower address for an error and aborts the process.
#undef _FORTIFY_SOURCE

#include "scheduler.h"

#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#if defined(__USE_FORTIFY_LEVEL) && __USE_FORTIFY_LEVEL > 0
#error "siglongjmp between stacks aborts the process with _FORTIFY_SOURCE"
#endif

#include "hopper_unit.h"
#include "memory.h"
#include "results.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulated {

thread_local const Thread* current;

namespace {

constexpr unsigned WarpLanes = 32, MostThreads = 1024, NamedBarriers = 16;
constexpr std::size_t StackBytes = 64 * 1024, MostArgumentBytes = 4096;

// The most that a launch gets on any device that kernels are written for, and the number of the first byte: a driver keeps
// some for itself, so that it is not 0.
constexpr std::size_t MostSharedBytes = 227 * 1024;
constexpr unsigned FirstSharedAddress = 1024, DynamicAlignment = 1024;

enum class State : unsigned char
{
    Ready,
    AtBarrier,
    AtShuffle,
    Suspended,
    Finished
};

#if defined(__x86_64__)

// Saves what a function call keeps, and the stack; the rest is dead across a call.
extern "C" void emulated_switch(void** save, void* load);
asm(R"(
    .text
    .globl emulated_switch
    .hidden emulated_switch
    .type emulated_switch, @function
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulated_switch, .-emulated_switch
)");

struct Context
{
    void* stack = nullptr;

    void prepare(char* top, void (*entry)())
    {
        // As after a call: the return address, and below it six registers that nobody misses.
        auto words = reinterpret_cast<void**>(top);
        *--words = nullptr;
        *--words = reinterpret_cast<void*>(entry);
        for (int i = 0; i < 6; i++) *--words = nullptr;
        stack = words;
    }

    static void change(Context& from, Context& to) { emulated_switch(&from.stack, to.stack); }
};

#else

struct Context
{
    ucontext_t context;

    void prepare(char* top, void (*entry)())
    {
        getcontext(&context);
        context.uc_stack.ss_sp = top - StackBytes / 2;
        context.uc_stack.ss_size = StackBytes / 2;
        context.uc_link = nullptr;
        makecontext(&context, entry, 0);
    }

    static void change(Context& from, Context& to) { swapcontext(&from.context, &to.context); }
};

#endif

struct Copy
{
    unsigned char* destination;
    const void* source;
    bool inside;
    unsigned group;
};

struct Fiber
{
    Thread thread;
    Context context;
    State state;
    // Under way, in the order in which they were started, and the number of the group that is not closed yet.
    std::vector<Copy> copies;
    unsigned group;
};

struct Warp
{
    unsigned lanes, arrived, generation;
    // Two rounds: a lane may be in the next round while another still reads this one's, never two ahead.
    WarpExchange rounds[2];
};

// What one thread of the host needs to run blocks. Made once and used by every launch of the thread.
struct Machine
{
    std::unique_ptr<Fiber[]> fibers{new Fiber[MostThreads]};
    std::vector<unsigned> ready;
    Warp warps[MostThreads / WarpLanes];
    Block block;
    Context scheduler;
    const Kernel* kernel = nullptr;
    const void* arguments = nullptr;
    alignas(128) unsigned char argumentBlock[MostArgumentBytes];
    unsigned threads = 0, atBarrier = 0, finished = 0;
    std::uint64_t random = 0;
    char* stacks;
    GuardedMemory shared{MostSharedBytes};
    std::size_t sharedBytes = 0, dynamicBytes = 0;
    // Where the block's shared memory begins, and the number of that place.
    char* sharedBegin = nullptr;
    unsigned sharedFirst = FirstSharedAddress;
    bool dynamicTaken = false, copying = false;
    std::vector<unsigned> atNamed[NamedBarriers];
    sigjmp_buf escape;
    int failure = 0;
    std::string message;

    Machine()
    {
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void* memory = mmap(nullptr, MostThreads * StackBytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        stacks = memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
        ready.reserve(MostThreads);
    }

    Machine(const Machine&) = delete;

    ~Machine()
    {
        if (stacks) munmap(stacks, MostThreads * StackBytes);
    }

    // Whether the host gave it the memory that it needs.
    bool usable() const { return stacks && shared.begin_of_pages(); }

    Fiber& running() { return fibers[current_number()]; }

    unsigned current_number() const { return static_cast<unsigned>(reinterpret_cast<const Fiber*>(current) - fibers.get()); }

    unsigned draw(unsigned below)
    {
        // xorshift64*
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        return static_cast<unsigned>((random * 0x2545F4914F6CDD1Dull >> 32) * below >> 32);
    }

    std::string place() const
    {
        char text[200];
        if (!current) return std::string("kernel ") + kernel->name;
        std::snprintf(
            text, sizeof text, "kernel %s, block (%u, %u, %u) of (%u, %u, %u), thread %u of %u", kernel->name, block.index.x, block.index.y,
            block.index.z, block.grid.x, block.grid.y, block.grid.z, current_number(), threads);
        return text;
    }

    void run_block();
    void yield(State state);
    void* take_shared(std::size_t bytes, std::size_t alignment);
};

thread_local std::unique_ptr<Machine> machine;
thread_local Machine* active;

void fiber_entry()
{
    Machine& m = *active;
    try
    {
        m.kernel->body(m.arguments);
    }
    catch (const std::exception& e)
    {
        // Such as std::bad_alloc, which would otherwise end the process: nobody catches it below this frame.
        fail(LaunchFailed, e.what());
    }

    if (!m.running().copies.empty()) fail(LaunchFailed, "ends while copies into shared memory are under way");
    m.finished++;
    m.yield(State::Finished);
}

void Machine::yield(State state)
{
    Fiber& fiber = running();
    fiber.state = state;
    Context::change(fiber.context, scheduler);
}

void Machine::run_block()
{
    sharedBytes = 0;
    atBarrier = finished = 0;
    ready.clear();
    for (unsigned i = 0; i < threads; i++)
    {
        fibers[i].state = State::Ready;
        fibers[i].copies.clear();
        fibers[i].group = 0;
        // Stacks start at different distances from a page, or all of them would compete for the same cache lines.
        fibers[i].context.prepare(stacks + (i + 1) * StackBytes - i % 32 * 192, fiber_entry);
        ready.push_back(i);
    }

    for (unsigned w = 0; w * WarpLanes < threads; w++)
    {
        warps[w].lanes = threads - w * WarpLanes < WarpLanes ? threads - w * WarpLanes : WarpLanes;
        warps[w].arrived = warps[w].generation = 0;
    }

    for (std::vector<unsigned>& waiting : atNamed) waiting.clear();
    start_hopper_unit();
    // In every other block copies are as late as they can be: they go on when no thread can.
    const bool late = draw(2) == 0;
    while (!ready.empty() || copies_under_way() > 0)
    {
        const unsigned threadsReady = static_cast<unsigned>(ready.size());
        const unsigned place = draw(late && threadsReady > 0 ? threadsReady : threadsReady + static_cast<unsigned>(copies_under_way()));
        if (place >= threadsReady)
        {
            current = nullptr;
            copying = true;
            advance_copy(place - threadsReady);
            copying = false;
            continue;
        }

        const unsigned next = ready[place];
        ready[place] = ready.back();
        ready.pop_back();
        current = &fibers[next].thread;
        Context::change(scheduler, fibers[next].context);
    }

    current = nullptr;
    if (finished == threads)
    {
        const std::string work = unfinished_work();
        if (!work.empty()) fail(LaunchFailed, "a block ends while " + work);
        return;
    }

    unsigned atShuffle = 0, suspended = 0;
    for (unsigned i = 0; i < threads; i++)
    {
        atShuffle += fibers[i].state == State::AtShuffle;
        suspended += fibers[i].state == State::Suspended;
    }

    message = place() + ", block (" + std::to_string(block.index.x) + ", " + std::to_string(block.index.y) + ", " + std::to_string(block.index.z)
              + "): of " + std::to_string(threads) + " threads " + std::to_string(atBarrier) + " wait at a barrier, " + std::to_string(atShuffle)
              + " at a shuffle, " + std::to_string(suspended) + " for what others do, and " + std::to_string(finished) + " have ended";
    failure = LaunchFailed;
}

struct sigaction previousFault, previousBus;

void on_fault(int signal, siginfo_t* info, void* context)
{
    if (active && (current || active->copying)) fail(IllegalAddress, describe_address(info->si_addr));
    const struct sigaction& previous = signal == SIGSEGV ? previousFault : previousBus;
    if (previous.sa_flags & SA_SIGINFO) previous.sa_sigaction(signal, info, context);
    else if (previous.sa_handler == SIG_DFL || previous.sa_handler == SIG_IGN) sigaction(signal, &previous, nullptr);
    else previous.sa_handler(signal);
}

// Never destroyed: threads may still run kernels while the process ends.
std::map<std::string, Kernel>& registry()
{
    static auto* kernels = new std::map<std::string, Kernel>;
    return *kernels;
}

}  // namespace

Registration::Registration(const char* name, unsigned threads, std::size_t argumentBytes, KernelBody body)
{
    registry()[name] = {name, threads, argumentBytes, body};
}

const Kernel* find_kernel(const std::string& name)
{
    const auto found = registry().find(name);
    return found == registry().end() ? nullptr : &found->second;
}

void fail(int result, const std::string& what)
{
    Machine& m = *active;
    m.failure = result;
    m.message = m.place() + ": " + what;
    siglongjmp(m.escape, 1);
}

unsigned thread_number() { return active->current_number(); }
unsigned threads_of_block() { return active->threads; }
unsigned draw_number(unsigned below) { return active->draw(below); }
void suspend() { active->yield(State::Suspended); }
void wake(unsigned thread) { active->ready.push_back(thread); }

void give_way()
{
    Machine& m = *active;
    m.ready.push_back(m.current_number());
    m.yield(State::Ready);
}

void named_barrier(unsigned name, unsigned threads)
{
    if (threads % WarpLanes != 0) fail(LaunchFailed, "a named barrier of " + std::to_string(threads) + " threads, wanted whole warps");
    std::vector<unsigned>& waiting = active->atNamed[name];
    if (waiting.size() + 1 < threads)
    {
        waiting.push_back(thread_number());
        suspend();
        return;
    }

    for (unsigned thread : waiting) wake(thread);
    waiting.clear();
}

bool argument_offset(const void* address, std::size_t& offset)
{
    const auto at = static_cast<const char*>(address), begin = static_cast<const char*>(active->arguments);
    if (at < begin || at >= begin + active->kernel->argumentBytes) return false;
    offset = static_cast<std::size_t>(at - begin);
    return true;
}

void block_barrier()
{
    Machine& m = *active;
    if (++m.atBarrier == m.threads)
    {
        m.atBarrier = 0;
        for (unsigned i = 0; i < m.threads; i++) m.ready.push_back(i);
    }

    m.yield(State::AtBarrier);
}

const unsigned char* with_warp(const void* mine, std::size_t bytes, void (*combine)(WarpExchange&))
{
    Machine& m = *active;
    const unsigned number = m.current_number(), lane = number % WarpLanes;
    Warp& warp = m.warps[number / WarpLanes];
    if (warp.lanes != WarpLanes) fail(LaunchFailed, "an operation of a whole warp in part of one");
    WarpExchange& round = warp.rounds[warp.generation % 2];
    std::memcpy(round.in[lane], mine, bytes);
    if (++warp.arrived == WarpLanes)
    {
        warp.arrived = 0;
        warp.generation++;
        combine(round);
        for (unsigned i = 0; i < WarpLanes; i++)
        {
            if (i != lane) m.ready.push_back(number - lane + i);
        }
    }
    else
    {
        m.yield(State::AtShuffle);
    }

    return round.out[lane];
}

unsigned shuffle_xor(unsigned mask, unsigned value, int lanes)
{
    if (mask != ~0u) fail(LaunchFailed, "a shuffle of part of a warp");
    const unsigned mine[2] = {value, static_cast<unsigned>(lanes)};
    unsigned result;
    std::memcpy(&result, with_warp(mine, sizeof mine, [](WarpExchange& warp) {
        for (unsigned lane = 0; lane < WarpLanes; lane++)
        {
            unsigned from;
            std::memcpy(&from, warp.in[lane] + sizeof from, sizeof from);
            std::memcpy(warp.out[lane], warp.in[lane ^ from], sizeof from);
        }
    }), sizeof result);
    return result;
}

void* Machine::take_shared(std::size_t bytes, std::size_t alignment)
{
    if (sharedBytes == 0)
    {
        sharedBytes = bytes;
        sharedBegin = shared.end_aligned(bytes);
        sharedFirst = FirstSharedAddress;
        if (alignment < DynamicAlignment && draw(2) == 0)
        {
            const std::size_t unit = 2 * alignment, misfit = (reinterpret_cast<std::uintptr_t>(sharedBegin) + alignment) % unit;
            sharedBegin -= misfit;
            sharedFirst += static_cast<unsigned>(alignment);
        }

        std::memset(sharedBegin, 0xFF, bytes);
    }
    else if (sharedBytes != bytes)
    {
        fail(LaunchFailed, "two declarations of shared memory in one kernel");
    }

    return sharedBegin;
}

void* shared_memory(std::size_t bytes, std::size_t alignment)
{
    if (bytes > DeclaredSharedBytes) fail(InvalidValue, "declares more shared memory than a kernel may");
    return active->take_shared(bytes, alignment);
}

void* dynamic_shared_memory(std::size_t bytes)
{
    Machine& m = *active;
    m.dynamicTaken = true;
    if (bytes != m.dynamicBytes)
        fail(InvalidValue, "takes " + std::to_string(bytes) + " bytes of dynamic shared memory, the launch gives " + std::to_string(m.dynamicBytes));
    return m.take_shared(bytes, DynamicAlignment);
}

unsigned shared_address(const void* shared)
{
    Machine& m = *active;
    const auto at = static_cast<const char*>(shared);
    if (m.sharedBytes == 0 || at < m.sharedBegin || at >= m.sharedBegin + m.sharedBytes)
        fail(IllegalAddress, "an address of shared memory is wanted; " + describe_address(shared));
    return m.sharedFirst + static_cast<unsigned>(at - m.sharedBegin);
}

unsigned char* shared_pointer(unsigned address, std::size_t bytes)
{
    Machine& m = *active;
    const std::size_t at = address - m.sharedFirst;
    if (address < m.sharedFirst || at + bytes > m.sharedBytes)
        fail(IllegalAddress, "access at " + std::to_string(address) + " in shared memory, which has " + std::to_string(m.sharedBytes)
                                 + " bytes from " + std::to_string(m.sharedFirst));
    if (address % bytes != 0) fail(MisalignedAddress, std::to_string(bytes) + "-byte access at " + std::to_string(address) + " in shared memory");
    return reinterpret_cast<unsigned char*>(m.sharedBegin) + at;
}

void cp_async(unsigned shared, const void* global, bool inside)
{
    Fiber& fiber = active->running();
    unsigned char* destination = shared_pointer(shared, 16);
    // Here, so that a source which cannot be read is the fault of who started the copy.
    if (inside)
    {
        static_cast<void>(*static_cast<const volatile unsigned char*>(global));
        static_cast<void>(static_cast<const volatile unsigned char*>(global)[15]);
    }

    std::memset(destination, 0xFF, 16);
    fiber.copies.push_back({destination, global, inside, fiber.group});
}

void cp_async_commit_group() { active->running().group++; }

void cp_async_wait_group(unsigned youngest)
{
    Fiber& fiber = active->running();
    std::size_t ended = 0;
    for (; ended < fiber.copies.size() && fiber.copies[ended].group + youngest < fiber.group; ended++)
    {
        const Copy& copy = fiber.copies[ended];
        if (copy.inside) std::memcpy(copy.destination, copy.source, 16);
        else std::memset(copy.destination, 0, 16);
    }

    fiber.copies.erase(fiber.copies.begin(), fiber.copies.begin() + static_cast<std::ptrdiff_t>(ended));
}

void fail_misaligned(const void* address, std::size_t alignment)
{
    fail(MisalignedAddress, std::to_string(alignment) + "-byte access at an address that is no multiple; " + describe_address(address));
}

int run_grid(
    const Kernel& kernel, Index3 grid, Index3 block, std::size_t dynamicSharedBytes, const void* arguments, std::uint64_t seed,
    std::string& message)
{
    if (kernel.argumentBytes > MostArgumentBytes)
    {
        message = std::string("kernel ") + kernel.name + ": arguments of " + std::to_string(kernel.argumentBytes) + " bytes, the most are "
                  + std::to_string(MostArgumentBytes);
        return InvalidValue;
    }

    if (!machine) machine.reset(new Machine);
    Machine& m = *machine;
    if (!m.usable())
    {
        machine.reset();
        message = "the host has no memory for the stacks of a block";
        return OutOfMemory;
    }

    m.kernel = &kernel;
    // A launch takes a copy, as aligned as any kernel's struct may ask for.
    m.arguments = std::memcpy(m.argumentBlock, arguments, kernel.argumentBytes);
    m.threads = block.x * block.y * block.z;
    m.random = seed * 0x9E3779B97F4A7C15ull | 1;
    m.failure = 0;
    m.dynamicBytes = dynamicSharedBytes;
    m.dynamicTaken = m.copying = false;
    m.block.grid = grid;
    for (unsigned i = 0; i < m.threads; i++)
        m.fibers[i].thread = {{i % block.x, i / block.x % block.y, i / block.x / block.y}, &m.block};
    active = &m;
    const unsigned long long blocks = 1ull * grid.x * grid.y * grid.z;
    // Blocks, too, run in no order that a kernel may rely on: a random start and a stride that visits each once.
    unsigned long long first = m.draw(static_cast<unsigned>(blocks < ~0u ? blocks : ~0u)), stride = 1;
    for (unsigned long long candidate : {7919ull, 104729ull, 1299709ull})
    {
        if (blocks % candidate != 0) stride = candidate;
    }

    if (sigsetjmp(m.escape, 1) == 0)
    {
        for (unsigned long long i = 0; i < blocks && m.failure == 0; i++)
        {
            const unsigned long long number = (first + i * stride) % blocks;
            m.block.index = {
                static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                static_cast<unsigned>(number / grid.x / grid.y)};
            m.run_block();
        }

        current = nullptr;
        if (m.failure == 0 && m.dynamicBytes != 0 && !m.dynamicTaken)
        {
            m.failure = InvalidValue;
            m.message = m.place() + ": takes no dynamic shared memory, the launch gives " + std::to_string(m.dynamicBytes) + " bytes";
        }
    }

    active = nullptr;
    current = nullptr;
    message = m.message;
    return m.failure;
}

void install_fault_handler()
{
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        // First what on_fault goes back to: another thread may fault as soon as it is installed.
        sigaction(SIGSEGV, nullptr, &previousFault);
        sigaction(SIGBUS, nullptr, &previousBus);
        sigaction(SIGSEGV, &action, nullptr);
        sigaction(SIGBUS, &action, nullptr);
    });
}

}  // namespace emulated
