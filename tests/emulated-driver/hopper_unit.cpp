#include "hopper_unit.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "results.h"
#include "scheduler.h"
#include "tensor_core.h"
#include "tensor_map.h"

namespace emulated {

namespace {

constexpr unsigned GroupThreads = 128, GroupRows = 64, StepDepth = InstructionDepth, ChunkBytes = 16, ChunkElements = 8;

// The 64 bits of an mbarrier. One that was not initialised has another mark.
struct BarrierBits
{
    static constexpr std::uint64_t Mark = 1;

    std::uint64_t expected : 20;
    std::uint64_t pending : 20;
    std::int64_t bytes : 21;
    std::uint64_t phase : 1;
    std::uint64_t mark : 2;
};

static_assert(sizeof(BarrierBits) == 8, "a barrier has 64 bits");

struct Copy
{
    unsigned shared, barrier, bytes;
    TensorMap map;
    int place[TensorMap::MostDimensions];
};

// A copy whose bytes have arrived and are held back until the phase ends.
struct Arrival
{
    unsigned shared;
    std::vector<unsigned char> content;
};

// An operand at the time when its product was issued: lines of 16 bf16.
using Lines = std::vector<unsigned short>;

struct Product
{
    float* key;
    int columns;
    TileOperand left, right;
    Lines leftLines, rightLines;
    unsigned group;
};

// Sums of products in flight. The threads' registers are NaN meanwhile.
struct Sums
{
    int columns;
    float* registers[GroupThreads];
    std::vector<float> values;  // [64][columns]
};

enum class Instruction
{
    None,
    Begin,
    Multiply,
    Commit,
    Wait
};

// One thread's part of an instruction of its warpgroup.
struct Request
{
    Instruction instruction;
    float* sums;
    int columns;
    TileOperand left, right;
    unsigned leave;

    bool agrees(const Request& other) const
    {
        return instruction == other.instruction && columns == other.columns && left.descriptor == other.left.descriptor
               && left.mnMajor == other.left.mnMajor && right.descriptor == other.right.descriptor && right.mnMajor == other.right.mnMajor
               && leave == other.leave;
    }
};

struct Warpgroup
{
    Request requests[GroupThreads];
    unsigned arrived = 0;
    bool begun = false;
    unsigned group = 0;
    std::vector<Product> products;
    std::map<float*, Sums> sums;
};

struct Unit
{
    bool used = false;
    std::vector<Copy> copies;
    std::map<unsigned, std::vector<Arrival>> arrivals;
    std::map<unsigned, std::vector<unsigned>> waiting;  // threads, by barrier
    std::map<unsigned, unsigned> unpublished;           // barriers, and the threads that set them up
    std::map<unsigned, Warpgroup> warpgroups;
};

Unit& unit()
{
    static thread_local Unit instance;
    return instance;
}

BarrierBits read_barrier(unsigned barrier)
{
    BarrierBits bits;
    std::memcpy(&bits, shared_pointer(barrier, sizeof bits), sizeof bits);
    if (bits.mark != BarrierBits::Mark) fail(LaunchFailed, "uses a barrier in shared memory that has not been set up");
    return bits;
}

void write_barrier(unsigned barrier, BarrierBits bits) { std::memcpy(shared_pointer(barrier, sizeof bits), &bits, sizeof bits); }

// Ends the phase if nothing is left to wait for; the bytes that arrived become visible.
void settle(unsigned barrier, BarrierBits bits)
{
    const bool ends = bits.pending == 0 && bits.bytes == 0;
    if (ends)
    {
        bits.pending = bits.expected;
        bits.phase ^= 1;
    }

    write_barrier(barrier, bits);
    if (!ends) return;
    for (const Arrival& arrival : unit().arrivals[barrier])
    {
        for (std::size_t i = 0; i < arrival.content.size(); i += ChunkBytes)
            std::memcpy(shared_pointer(arrival.shared + static_cast<unsigned>(i), ChunkBytes), &arrival.content[i], ChunkBytes);
    }

    unit().arrivals[barrier].clear();
    std::vector<unsigned> threads;
    threads.swap(unit().waiting[barrier]);
    for (unsigned thread : threads) wake(thread);
}

// The swizzled address of a 16-byte part: bits 4 to 6 are XORed with bits 7 to 9; a narrower swizzle uses fewer of them.
unsigned swizzled(unsigned address, unsigned bits) { return address ^ (address >> 7 & ((1u << bits) - 1)) << 4; }

// The content of a box in the order of shared memory, innermost dimension first.
std::vector<unsigned char> content_of(const Copy& copy)
{
    const TensorMap& map = copy.map;
    unsigned counts[TensorMap::MostDimensions];
    std::size_t elements = 1;
    for (unsigned d = 0; d < map.rank; d++)
    {
        counts[d] = d == 0 ? map.box[0] : (map.box[d] + map.elementStrides[d] - 1u) / map.elementStrides[d];
        elements *= counts[d];
    }

    std::vector<unsigned char> content(elements * map.elementBytes, 0);
    for (std::size_t row = 0; row < elements / counts[0]; row++)
    {
        std::size_t rest = row;
        const unsigned char* line = reinterpret_cast<const unsigned char*>(map.address);
        bool inside = true;
        for (unsigned d = 1; d < map.rank; d++)
        {
            const long long index = copy.place[d] + static_cast<long long>(rest % counts[d]) * map.elementStrides[d];
            rest /= counts[d];
            inside = inside && index >= 0 && index < static_cast<long long>(map.sizes[d]);
            if (inside) line += index * static_cast<long long>(map.strides[d - 1]);
        }

        for (unsigned i = 0; inside && i < counts[0]; i++)
        {
            const long long index = copy.place[0] + static_cast<long long>(i);
            if (index >= 0 && index < static_cast<long long>(map.sizes[0]))
                std::memcpy(&content[(row * counts[0] + i) * map.elementBytes], line + index * map.elementBytes, map.elementBytes);
        }
    }

    return content;
}

// Reads the lines of an operand, 16 depths of the reduction each, as its descriptor says.
Lines read_lines(TileOperand operand, unsigned lines)
{
    const unsigned long long d = operand.descriptor;
    const unsigned start = static_cast<unsigned>(d & 0x3FFF) << 4, leading = static_cast<unsigned>(d >> 16 & 0x3FFF) << 4,
                   stride = static_cast<unsigned>(d >> 32 & 0x3FFF) << 4, kind = static_cast<unsigned>(d >> 62);
    if (d >> 49 & 7) fail(LaunchFailed, "a tile's descriptor with a base offset, which is not emulated");
    // Layouts 1, 2 and 3 are swizzles of 128, 64 and 32 bytes, which is the size of a row; without a swizzle a row has 16 bytes.
    const unsigned swizzle = kind == 0 ? 0 : 4 - kind, parts = 1u << swizzle, rowBytes = parts * ChunkBytes;
    // Elsewhere in the pattern of 8 rows a base offset would be needed.
    if (start >> 7 & (parts - 1)) fail(LaunchFailed, "a tile at " + std::to_string(start) + " in shared memory, not at the start of its swizzle's pattern");
    Lines result(lines * StepDepth);
    if (!operand.mnMajor)
    {
        for (unsigned line = 0; line < lines; line++)
        {
            for (unsigned part = 0; part < 2; part++)
            {
                const unsigned at = start + line % 8 * rowBytes + line / 8 * stride + part * (kind == 0 ? leading : ChunkBytes);
                std::memcpy(&result[line * StepDepth + part * ChunkElements], shared_pointer(swizzled(at, swizzle), ChunkBytes), ChunkBytes);
            }
        }

        return result;
    }

    const unsigned groupLines = parts * ChunkElements;
    const unsigned groupStride = kind == 0 ? stride : leading, depthStride = kind == 0 ? leading : stride;
    for (unsigned step = 0; step < StepDepth; step++)
    {
        for (unsigned line = 0; line < lines; line += ChunkElements)
        {
            const unsigned at = start + line % groupLines * 2 + line / groupLines * groupStride + step % 8 * rowBytes + step / 8 * depthStride;
            unsigned short part[ChunkElements];
            std::memcpy(part, shared_pointer(swizzled(at, swizzle), ChunkBytes), ChunkBytes);
            for (unsigned e = 0; e < ChunkElements; e++) result[(line + e) * StepDepth + step] = part[e];
        }
    }

    return result;
}

float widen(unsigned short bits)
{
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof value);
    return value;
}

// The index of a thread's sum in the matrix of the warpgroup.
std::size_t place_of(unsigned thread, int sum, int columns)
{
    const unsigned row = thread / 32 * 16 + thread % 32 / 4 + static_cast<unsigned>(sum) / 2 % 2 * 8;
    const unsigned column = static_cast<unsigned>(sum) / 4 * 8 + thread % 4 * 2 + static_cast<unsigned>(sum) % 2;
    return row * static_cast<std::size_t>(columns) + column;
}

void start_product(Warpgroup& warpgroup)
{
    const Request& request = warpgroup.requests[0];
    auto found = warpgroup.sums.find(request.sums);
    if (found == warpgroup.sums.end())
    {
        if (!warpgroup.begun) fail(LaunchFailed, "multiplies into sums that the threads have used, without a fence since");
        Sums sums = {request.columns, {}, std::vector<float>(GroupRows * static_cast<std::size_t>(request.columns))};
        for (unsigned t = 0; t < GroupThreads; t++)
        {
            sums.registers[t] = warpgroup.requests[t].sums;
            for (int i = 0; i < request.columns / 2; i++) sums.values[place_of(t, i, request.columns)] = sums.registers[t][i];
            std::memset(sums.registers[t], 0xFF, sizeof(float) * static_cast<std::size_t>(request.columns) / 2);
        }

        warpgroup.sums.emplace(request.sums, std::move(sums));
    }
    else if (found->second.columns != request.columns)
    {
        fail(LaunchFailed, "products of different shapes in the same sums, without a wait between");
    }

    warpgroup.products.push_back(
        {request.sums, request.columns, request.left, request.right, read_lines(request.left, GroupRows),
         read_lines(request.right, static_cast<unsigned>(request.columns)), warpgroup.group});
}

void compute(const Product& product, Sums& sums)
{
    if (read_lines(product.left, GroupRows) != product.leftLines
        || read_lines(product.right, static_cast<unsigned>(product.columns)) != product.rightLines)
        fail(LaunchFailed, "an operand in shared memory changed while its product was under way");
    const std::size_t columns = static_cast<std::size_t>(product.columns);
    std::vector<float> left(GroupRows * StepDepth), right(StepDepth * columns);
    for (std::size_t i = 0; i < left.size(); i++) left[i] = widen(product.leftLines[i]);
    for (std::size_t n = 0; n < columns; n++)
    {
        for (std::size_t k = 0; k < StepDepth; k++) right[k * columns + n] = widen(product.rightLines[n * StepDepth + k]);
    }

    multiply_accumulate(sumRule, sums.values.data(), left.data(), right.data(), GroupRows, columns);
}

void end_products(Warpgroup& warpgroup, unsigned leave)
{
    std::size_t ended = 0;
    for (; ended < warpgroup.products.size() && warpgroup.products[ended].group + leave < warpgroup.group; ended++)
        compute(warpgroup.products[ended], warpgroup.sums.at(warpgroup.products[ended].key));
    warpgroup.products.erase(warpgroup.products.begin(), warpgroup.products.begin() + static_cast<std::ptrdiff_t>(ended));
    std::set<float*> underWay;
    for (const Product& product : warpgroup.products) underWay.insert(product.key);
    for (auto each = warpgroup.sums.begin(); each != warpgroup.sums.end();)
    {
        const Sums& sums = each->second;
        if (underWay.count(each->first) != 0)
        {
            ++each;
            continue;
        }

        for (unsigned t = 0; t < GroupThreads; t++)
        {
            for (int i = 0; i < sums.columns / 2; i++) sums.registers[t][i] = sums.values[place_of(t, i, sums.columns)];
        }

        each = warpgroup.sums.erase(each);
        warpgroup.begun = false;
    }
}

// Called by all threads of a warpgroup with the same request; the last one carries it out.
void together(const Request& request)
{
    const unsigned number = thread_number(), first = number / GroupThreads * GroupThreads;
    Unit& u = unit();
    u.used = true;
    if (first + GroupThreads > threads_of_block()) fail(LaunchFailed, "an operation of a warpgroup in part of one");
    Warpgroup& warpgroup = u.warpgroups[first];
    warpgroup.requests[number - first] = request;
    if (++warpgroup.arrived < GroupThreads)
    {
        suspend();
        return;
    }

    warpgroup.arrived = 0;
    for (const Request& other : warpgroup.requests)
    {
        if (!other.agrees(request)) fail(LaunchFailed, "the threads of a warpgroup do not agree on what it multiplies");
    }

    switch (request.instruction)
    {
        case Instruction::Begin: warpgroup.begun = true; break;
        case Instruction::Multiply: start_product(warpgroup); break;
        case Instruction::Commit: warpgroup.group++; break;
        case Instruction::Wait: end_products(warpgroup, request.leave); break;
        case Instruction::None: break;
    }

    for (unsigned t = 0; t < GroupThreads; t++)
    {
        if (first + t != number) wake(first + t);
    }
}

Request plain(Instruction instruction, unsigned leave = 0) { return {instruction, nullptr, 0, {0, false}, {0, false}, leave}; }

}  // namespace

void barrier_init(unsigned barrier, int arrivals)
{
    if (arrivals <= 0 || arrivals >= 1 << 20) fail(LaunchFailed, "a barrier of " + std::to_string(arrivals) + " arrivals");
    BarrierBits bits = {};
    bits.expected = bits.pending = static_cast<std::uint64_t>(arrivals);
    bits.mark = BarrierBits::Mark;
    write_barrier(barrier, bits);
    unit().used = true;
    unit().unpublished[barrier] = thread_number();
}

void fence_barrier_init()
{
    auto& unpublished = unit().unpublished;
    for (auto each = unpublished.begin(); each != unpublished.end();)
        each = each->second == thread_number() ? unpublished.erase(each) : std::next(each);
}

void barrier_arrive(unsigned barrier, int bytes)
{
    BarrierBits bits = read_barrier(barrier);
    if (bytes < 0 || bytes >= 1 << 20) fail(LaunchFailed, "a barrier that expects " + std::to_string(bytes) + " bytes");
    if (bits.pending == 0) fail(LaunchFailed, "more arrivals at a barrier in shared memory than it expects");
    bits.pending--;
    bits.bytes += bytes;
    settle(barrier, bits);
    // Threads that wait for this may run before the next statement of this one.
    if (draw_number(2) == 0) give_way();
}

void barrier_wait(unsigned barrier, unsigned parity)
{
    while (read_barrier(barrier).phase == (parity & 1))
    {
        unit().waiting[barrier].push_back(thread_number());
        suspend();
    }
}

void require_tensor_map(const void* map)
{
    TensorMap encoded;
    std::size_t offset;
    if (!argument_offset(map, offset) || offset % 64 != 0)
        fail(LaunchFailed, "a tensor map that does not lie among the kernel's arguments, on a multiple of 64 bytes");
    std::memcpy(&encoded, map, sizeof encoded);
    if (encoded.mark != TensorMap::Mark) fail(LaunchFailed, "a tensor map that the driver has not encoded");
    if (encoded.interleave != 0 || encoded.fill != 0) fail(LaunchFailed, "interleave and fill by NaN are not emulated");
    if (encoded.swizzle != 0 && encoded.box[0] * encoded.elementBytes != 16u << encoded.swizzle)
        fail(LaunchFailed, "boxes whose rows are shorter than the swizzle are not emulated");
}

void tma_load_box(unsigned shared, const void* map, unsigned barrier, const int* place, std::size_t rank)
{
    require_tensor_map(map);
    Copy copy = {};
    copy.shared = shared;
    copy.barrier = barrier;
    std::memcpy(&copy.map, map, sizeof copy.map);
    if (copy.map.rank != rank)
        fail(LaunchFailed, "a copy by " + std::to_string(rank) + " indices of a tensor of " + std::to_string(copy.map.rank) + " dimensions");
    std::memcpy(copy.place, place, rank * sizeof *place);
    // Swizzled by 128 bytes the pattern repeats every 1024.
    const unsigned alignment = copy.map.swizzle == 0 ? 128 : 128u << copy.map.swizzle;
    if (shared % alignment != 0)
        fail(MisalignedAddress, "a copy to " + std::to_string(shared) + " in shared memory, not a multiple of " + std::to_string(alignment));
    read_barrier(barrier);
    if (unit().unpublished.count(barrier) != 0) fail(LaunchFailed, "a copy that counts at a barrier which the TMA has not been told of");
    copy.bytes = copy.map.elementBytes * copy.map.box[0];
    for (unsigned d = 1; d < rank; d++) copy.bytes *= (copy.map.box[d] + copy.map.elementStrides[d] - 1u) / copy.map.elementStrides[d];
    for (unsigned i = 0; i < copy.bytes; i += ChunkBytes) std::memset(shared_pointer(shared + i, ChunkBytes), 0xFF, ChunkBytes);
    unit().copies.push_back(copy);
}

void wgmma_fence() { together(plain(Instruction::Begin)); }
void wgmma_commit_group() { together(plain(Instruction::Commit)); }
void wgmma_wait_group(unsigned leave) { together(plain(Instruction::Wait, leave)); }

void wgmma_bf16(float* sums, int columns, TileOperand left, TileOperand right)
{
    together({Instruction::Multiply, sums, columns, left, right, 0});
}

void start_hopper_unit()
{
    if (unit().used) unit() = Unit();
}

std::size_t copies_under_way() { return unit().copies.size(); }

void advance_copy(std::size_t which)
{
    Unit& u = unit();
    const Copy copy = u.copies[which];
    u.copies[which] = u.copies.back();
    u.copies.pop_back();
    const std::vector<unsigned char> content = content_of(copy);
    // Part by part to where the swizzle puts it, within each 1024 bytes.
    std::vector<unsigned char> swizzledContent(content.size());
    for (unsigned i = 0; i < content.size(); i += ChunkBytes)
        std::memcpy(&swizzledContent[swizzled(copy.shared + i, copy.map.swizzle) - copy.shared], &content[i], ChunkBytes);
    u.arrivals[copy.barrier].push_back({copy.shared, swizzledContent});
    BarrierBits bits = read_barrier(copy.barrier);
    bits.bytes -= static_cast<std::int64_t>(copy.bytes);
    settle(copy.barrier, bits);
}

std::string unfinished_work()
{
    const Unit& u = unit();
    if (!u.copies.empty()) return "copies into shared memory are under way";
    for (const auto& each : u.warpgroups)
    {
        if (!each.second.products.empty()) return "products are under way";
    }

    return "";
}

}  // namespace emulated
