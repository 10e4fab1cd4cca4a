// Forward and feedback convolution on Hopper as an implicit GEMM (gather.cuh) by TMA and wgmma (hopper_product.cuh), in bf16.
//
// The tile of a block has up to 128 output pixels, which form a box: boxImages images by boxRows rows by boxColumns columns.
// Under one tap, the inputs of the box are a box of the input tensor, which the TMA copies 64 channels at a time. Padding lies
// outside the tensor, where the TMA fills in zeros. A 1x1 convolution of stride 1 is a plain matrix product: the host describes
// it as one image of one row.
//
// The epilogue is that of the other convolutions, with the addend as the residual, or as the dx that is added to. Where partials
// are wanted, the statistics of each column over the rows of the tile are taken of y as it is stored. Overwrites y.
#include "convolution_epilogue.cuh"
#include "hopper_product.cuh"

// One residue class of a feedback convolution (residue_class.cuh), as the host computes it; a forward convolution is one class.
struct GatherClass
{
    Gather gather;
    int tiles;
    int placeRow, placeColumn;  // the first pixel of the class in the output tensor
};

constexpr int MostClasses = 4;

struct ConvGatherArguments
{
    TensorMap inputs[InputPlanes];  // [images][inputRows][inputColumns][channels], or planes of it; boxes of 64 channels
    TensorMap weights;              // [taps][channels][columns], boxes of 64x64; or [taps][columns][channels], boxes of a tile's columns by 64
    GatherClass classes[MostClasses];
    int boxImages, boxRows, boxColumns;
    int placeRows, placeColumns, placeStep;  // size of the output tensor, and the distance between neighbouring pixels of a class
    int columns, columnTiles;
    int activation;
    int planes;          // 4, or 1 where inputs[0] is the whole tensor
    bf16* y;             // [images][placeRows][placeColumns][columns]
    const bf16* addend;  // of y's shape, or null; may be y
    const float* scale;  // [columns] or null
    const float* bias;   // [columns] or null
    float* partials;     // [tiles][2][columns] or null: mean and sum of squared deviations
    int* counts;         // [tiles]: rows of the tile that are pixels
};

namespace {

// A thread takes the statistics of two columns over the rows of one group.
template <int Columns>
struct StatisticsGroups
{
    static constexpr int Pairs = Columns / 2, Count = ProductThreads / Pairs, Rows = HopperRows / Count;

    TileStatistics<Count, Columns> statistics;
    int rows[Count];

    __device__ __forceinline__ int operator()(int group) const { return rows[group]; }
};

template <int Columns>
struct alignas(1024) GatherShared
{
    // The results before they are stored, in the place of the ring. Rows are 16 bytes longer than their columns, so that the
    // words of eight rows lie in different banks.
    struct Outputs
    {
        alignas(16) bf16 at[HopperRows][Columns + 8];
        StatisticsGroups<Columns> groups;
    };

    union
    {
        ProductRing<Columns> ring;
        Outputs outputs;
    };

    RingBarriers<StagesOf<Columns>> barriers;
    long long places[HopperRows];  // where the outputs of a row start in y, or -1 where the row is no pixel
};

struct BoxPlace
{
    int image, row, column;
};

__device__ __forceinline__ BoxPlace box_of(const ConvGatherArguments& arguments, const GatherClass& part, int tile)
{
    const int across = divide_up(part.gather.outputColumns, arguments.boxColumns);
    const int down = divide_up(part.gather.outputRows, arguments.boxRows);
    const int above = tile / across;
    return {above / down * arguments.boxImages, above % down * arguments.boxRows, tile % across * arguments.boxColumns};
}

template <int Columns, bool WeightsMnMajor>
__device__ __forceinline__ void produce(
    GatherShared<Columns>& shared, const Gather& gather, const BoxPlace& box, const TensorMap* maps, int planes, int boxPixels, int firstColumn)
{
    const int bytes = (boxPixels + Columns) * BoxWidth * static_cast<int>(sizeof(bf16));
    const TensorMap* const weightMap = &maps[InputPlanes];
    for (int i = 0; i < planes; i++) tensor_map_prefetch(&maps[i]);
    tensor_map_prefetch(weightMap);
    RingCursor<StagesOf<Columns>> cursor;
    for (int tapRow = 0; tapRow < gather.tapRows; tapRow++)
    {
        const int inputRow = box.row * gather.step + gather.originRow + gather.direction * tapRow;
        for (int tapColumn = 0; tapColumn < gather.tapColumns; tapColumn++)
        {
            const int inputColumn = box.column * gather.step + gather.originColumn + gather.direction * tapColumn;
            const PlanePlace place = plane_of(planes, inputRow, inputColumn);
            const int tap = gather.firstTap + tapRow * gather.tapRowStep + tapColumn * gather.tapColumnStep;
            for (int channel = 0; channel < gather.channels; channel += BoxWidth)
            {
                const int stage = claim_stage(shared.barriers, cursor, bytes);
                SharedBarrier* full = &shared.barriers.full[stage];
                tma_load_box(&shared.ring.left[stage], &maps[place.map], full, channel, place.column, place.row, box.image);
                auto& weights = shared.ring.right[stage];
                if constexpr (WeightsMnMajor)
                {
#pragma unroll
                    for (int column = 0; column < Columns; column += BoxWidth)
                        tma_load_box(&weights.at[column], weightMap, full, firstColumn + column, channel, tap);
                }
                else
                {
                    tma_load_box(&weights, weightMap, full, channel, firstColumn, tap);
                }
            }
        }
    }
}

// Finds where the rows of the tile are stored; each multiplying thread finds one.
template <class Shared>
__device__ __forceinline__ void find_places(
    Shared& shared, const GatherClass& part, const BoxPlace& box, const ConvGatherArguments& arguments)
{
    const int row = threadIdx.x;
    if (row >= HopperRows) return;
    const int line = row / arguments.boxColumns, inImage = line / arguments.boxRows;
    const int image = box.image + inImage, y = box.row + line % arguments.boxRows, x = box.column + row % arguments.boxColumns;
    const Gather& gather = part.gather;
    const bool pixel = inImage < arguments.boxImages && image < gather.images && y < gather.outputRows && x < gather.outputColumns;
    const long long place =
        (static_cast<long long>(image) * arguments.placeRows + part.placeRow + y * arguments.placeStep) * arguments.placeColumns
        + part.placeColumn + x * arguments.placeStep;
    shared.places[row] = pixel ? place * arguments.columns : -1;
}

// Calls use(place, row, column) for each run of 8 columns of the tile that the calling thread stores: where the run lies in y, and
// where in the tile.
template <int Columns, class Shared, class Use>
__device__ __forceinline__ void for_each_output_run(const Shared& shared, const ConvGatherArguments& arguments, int firstColumn, const Use& use)
{
    constexpr int parts = Columns / 8, runs = HopperRows * parts / ProductThreads;
#pragma unroll
    for (int i = 0; i < runs; i++)
    {
        const int run = i * ProductThreads + static_cast<int>(threadIdx.x), row = run / parts, column = run % parts * 8;
        const long long place = shared.places[row];
        if (place >= 0 && firstColumn + column < arguments.columns) use(place + firstColumn + column, row, column);
    }
}

// Copies the addends to where the results will be, all at once: sum by sum, a thread would load 4 bytes and wait for them 64
// times.
template <int Columns, class Shared>
__device__ __forceinline__ void load_addends(Shared& shared, const ConvGatherArguments& arguments, int firstColumn)
{
    for_each_output_run<Columns>(shared, arguments, firstColumn, [&](long long place, int row, int column) {
        cp_async(shared_address(&shared.outputs.at[row][column]), arguments.addend + place, true);
    });
    cp_async_commit_group();
    cp_async_wait_group<0>();
}

// Puts the results into shared memory, in the place of the addends.
template <int Columns, class Shared>
__device__ __forceinline__ void finish_sums(
    Shared& shared, const float (&sums)[Columns / 2], const ConvGatherArguments& arguments, int firstColumn)
{
    const Epilogue epilogue = {arguments.activation, arguments.scale, arguments.bias};
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        const int row = hopper_row(half);
        const long long place = shared.places[row];
#pragma unroll
        for (int j = 0; j < Columns / 8; j++)
        {
            const int column = firstColumn + hopper_column(j);
            if (column >= arguments.columns) continue;
            const bool added = arguments.addend && place >= 0;
            Lanes<2> addend = {};
            if (added) addend = load_lanes<2>(&shared.outputs.at[row][hopper_column(j)]);
            const Lanes<2> pair = {{sums[4 * j + 2 * half], sums[4 * j + 2 * half + 1]}};
            store_lanes<2>(&shared.outputs.at[row][hopper_column(j)], epilogue.apply<2>(pair, column, added, addend));
        }
    }
}

template <int Columns, class Shared>
__device__ __forceinline__ void store_outputs(Shared& shared, const ConvGatherArguments& arguments, int firstColumn)
{
    for_each_output_run<Columns>(shared, arguments, firstColumn, [&](long long place, int row, int column) {
        store_vector(arguments.y + place, load_vector<8>(&shared.outputs.at[row][column]));
    });
}

// Takes the statistics of each column: of the groups of rows, and then of the tile.
template <int Columns, class Shared>
__device__ __forceinline__ void store_column_statistics(Shared& shared, const ConvGatherArguments& arguments, int tile, int firstColumn)
{
    using Groups = StatisticsGroups<Columns>;
    Groups& groups = shared.outputs.groups;
    const int group = static_cast<int>(threadIdx.x) / Groups::Pairs, pair = static_cast<int>(threadIdx.x) % Groups::Pairs * 2;
    float mean[2] = {}, squares[2] = {};
    int count = 0;
    for (int row = group * Groups::Rows; row < (group + 1) * Groups::Rows; row++)
    {
        if (shared.places[row] < 0) continue;
        const Lanes<2> y = load_lanes<2>(&shared.outputs.at[row][pair]);
        mean[0] += y.at[0];
        mean[1] += y.at[1];
        count++;
    }

    mean[0] = count > 0 ? mean[0] / count : 0;
    mean[1] = count > 0 ? mean[1] / count : 0;
    for (int row = group * Groups::Rows; row < (group + 1) * Groups::Rows; row++)
    {
        if (shared.places[row] < 0) continue;
        const Lanes<2> y = load_lanes<2>(&shared.outputs.at[row][pair]);
        squares[0] = fmaf(y.at[0] - mean[0], y.at[0] - mean[0], squares[0]);
        squares[1] = fmaf(y.at[1] - mean[1], y.at[1] - mean[1], squares[1]);
    }

    store_lanes<2>(&groups.statistics.mean[group][pair], Lanes<2>{{mean[0], mean[1]}});
    store_lanes<2>(&groups.statistics.squares[group][pair], Lanes<2>{{squares[0], squares[1]}});
    if (pair == 0) groups.rows[group] = count;
    named_barrier_sync<ProductThreads>();
    const int column = threadIdx.x;
    if (column >= Columns || firstColumn + column >= arguments.columns) return;
    const Moments moments = groups.statistics.merge(groups, column);
    float* partial = arguments.partials + static_cast<long long>(tile) * 2 * arguments.columns + firstColumn + column;
    partial[0] = moments.mean;
    partial[arguments.columns] = moments.squares;
    if (column == 0 && firstColumn == 0) arguments.counts[tile] = moments.count;
}

template <int Columns, bool WeightsMnMajor>
__device__ __forceinline__ void conv_gather(const ConvGatherArguments& arguments, const TensorMap* maps)
{
    using Shared = GatherShared<Columns>;
    DYNAMIC_SHARED(Shared, shared);
    const GatherClass& part = arguments.classes[blockIdx.z];
    // Neighbouring blocks share their box of pixels, which is then read from memory once.
    const int tile = blockIdx.x / arguments.columnTiles, firstColumn = blockIdx.x % arguments.columnTiles * Columns;
    if (tile >= part.tiles) return;
    const BoxPlace box = box_of(arguments, part, tile);
    if (threadIdx.x == 0) shared.barriers.start();
    __syncthreads();
    if (threadIdx.x >= ProductThreads)
    {
        const int boxPixels = arguments.boxImages * arguments.boxRows * arguments.boxColumns;
        if (threadIdx.x == ProductThreads)
            produce<Columns, WeightsMnMajor>(shared, part.gather, box, maps, arguments.planes, boxPixels, firstColumn);
        return;
    }

    find_places(shared, part, box, arguments);
    const Gather& gather = part.gather;
    const int stages = gather.tapRows * gather.tapColumns * divide_up(gather.channels, BoxWidth);
    float sums[Columns / 2];
    multiply_stages<Columns, false, WeightsMnMajor, BoxWidth / StepDepth>(shared.ring, shared.barriers, stages, sums);

    // Both warpgroups have read the operands that the outputs overwrite.
    named_barrier_sync<ProductThreads>();
    if (arguments.addend)
    {
        load_addends<Columns>(shared, arguments, firstColumn);
        named_barrier_sync<ProductThreads>();
    }

    finish_sums<Columns>(shared, sums, arguments, firstColumn);
    named_barrier_sync<ProductThreads>();
    store_outputs<Columns>(shared, arguments, firstColumn);
    if (arguments.partials) store_column_statistics<Columns>(shared, arguments, tile, firstColumn);
}

}  // namespace

// Names end in the columns of the tile; with _transposed_ the weights are [tap][columns][channel].
HOPPER_KERNEL(HopperThreads, 2, conv_gather_sm90_64, ConvGatherArguments) { conv_gather<64, true>(arguments, maps); }
HOPPER_KERNEL(HopperThreads, 2, conv_gather_sm90_128, ConvGatherArguments) { conv_gather<128, true>(arguments, maps); }
HOPPER_KERNEL(HopperThreads, 1, conv_gather_sm90_256, ConvGatherArguments) { conv_gather<256, true>(arguments, maps); }
HOPPER_KERNEL(HopperThreads, 2, conv_gather_sm90_transposed_64, ConvGatherArguments) { conv_gather<64, false>(arguments, maps); }
HOPPER_KERNEL(HopperThreads, 2, conv_gather_sm90_transposed_128, ConvGatherArguments) { conv_gather<128, false>(arguments, maps); }
HOPPER_KERNEL(HopperThreads, 1, conv_gather_sm90_transposed_256, ConvGatherArguments) { conv_gather<256, false>(arguments, maps); }
