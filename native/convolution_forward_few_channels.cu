// The forward convolution for fewer than 8 input channels in bf16: the first layer of a network. A block keeps the weights of its
// output channels in shared memory and computes one box of output pixels after the other (input_patch.cuh). Overwrites y.
//
// The inputs of one output pixel and one filter row are a contiguous run of S*C elements. The reduction takes them in pairs;
// where S*C is odd, the last pair has one element too many. It is masked out: a weight of zero would not be enough, because the
// element belongs to another pixel and may be infinite.
#include "convolution_forward.cuh"
#include "input_patch.cuh"
#include "result_tile.cuh"

struct ConvForwardFewChannelsArguments
{
    ConvForwardArguments<bf16, bf16> forward;
    int* counts;  // [boxes]: pixels of a box; where there are partials, whose tiles are boxes
};

namespace {

// A pair of elements of the reduction: its distance from the start of a pixel's run, and a mask of the elements that count.
struct alignas(8) TapPair
{
    int distance;
    unsigned mask;
};

// The order of the reduction. operator() gives the weights of one of its elements, or null beyond the filter.
struct TapPairs
{
    const bf16* weights;  // [R][run][K], from the first column of the tile on
    const int filterRows, run, pairsOfRun, K;

    __device__ __forceinline__ TapPairs(const ConvForwardArguments<bf16, bf16>& arguments, int firstColumn)
        : weights(arguments.w + firstColumn), filterRows(arguments.shape.R), run(arguments.shape.S * arguments.shape.C),
          pairsOfRun(divide_up(run, 2)), K(arguments.shape.K)
    {
    }

    // Steps of 8 pairs.
    __device__ __forceinline__ int steps() const { return divide_up(filterRows * pairsOfRun, 8); }

    __device__ __forceinline__ TapPair pair(int number, int pitch) const
    {
        const int row = number / pairsOfRun, place = number % pairsOfRun * 2;
        if (row >= filterRows) return {0, 0};
        return {row * pitch + place, place + 1 < run ? 0xFFFFFFFFu : 0x0000FFFFu};
    }

    __device__ __forceinline__ const bf16* operator()(int number) const
    {
        const int row = number / 2 / pairsOfRun, place = number / 2 % pairsOfRun * 2 + number % 2;
        return row < filterRows && place < run ? weights + static_cast<long long>(row * run + place) * K : nullptr;
    }

    __device__ __forceinline__ const bf16* any() const { return weights; }
};

// Stores the results of a box, some of whose pixels may lie outside the output.
template <int Width>
struct BoxResults
{
    ResultsWithStatistics<bf16, Width> inside;
    const OutputBox& box;

    __device__ __forceinline__ long long place(int pixel) const { return box.has(pixel) ? inside.place(box.number(pixel)) : -1; }

    __device__ __forceinline__ void store(long long place, int k, const Lanes<Width>& sums)
    {
        if (place >= 0) inside.store(place, k, sums);
    }
};

// How many rows of a group (every Groups-th pixel of the box) lie inside the output.
template <int Groups>
struct RowsInside
{
    const OutputBox& box;

    __device__ __forceinline__ int operator()(int group) const
    {
        int rows = 0;
#pragma unroll 1
        for (int pixel = group; pixel < BoxPixels; pixel += Groups) rows += box.has(pixel);
        return rows;
    }
};

// sums = pixels of the box by columns of the tile. One matrix of mma.sync is one row of the box: a lane has its pixels lane / 4
// and lane / 4 + 8.
template <int Columns>
__device__ __forceinline__ void multiply(
    const bf16* patch, const InputPatch& layout, const TapPair* pairs, const bf16* weights, int steps,
    typename ResultTile<BoxPixels, Columns>::Sums& sums)
{
    using Tile = ResultTile<BoxPixels, Columns>;
    const int lane = static_cast<int>(threadIdx.x) % 32, row = Tile::warp_row() / BoxColumns, nextRow = layout.run(1, 0);
    const bf16* runs[2] = {patch + layout.run_of_pairs(row, lane / 4), patch + layout.run_of_pairs(row, lane / 4 + 8)};
    sums.clear();
#pragma unroll 1
    for (int step = 0; step < steps; step++)
    {
        typename Tile::Fragments fragments;
#pragma unroll
        for (int j = 0; j < Tile::ColumnMatrices / 2; j++)
            ReductionRows<Columns>::load(fragments.right[j], weights, 16 * step, Tile::warp_column() + 16 * j);
#pragma unroll
        for (int half = 0; half < 2; half++)
        {
            const TapPair pair = pairs[8 * step + 4 * half + lane % 4];
#pragma unroll
            for (int i = 0; i < Tile::RowMatrices; i++)
            {
#pragma unroll
                for (int pixel = 0; pixel < 2; pixel++)
                {
                    const bf16* numbers = runs[pixel] + i * nextRow + pair.distance;
                    fragments.left[i][2 * half + pixel] = load_vector<1>(reinterpret_cast<const unsigned*>(numbers)).at[0] & pair.mask;
                }
            }
        }

        fragments.multiply(sums);
    }
}

template <int Columns>
__device__ __forceinline__ void conv_forward_few_channels(const ConvForwardFewChannelsArguments& arguments)
{
    using Tile = ResultTile<BoxPixels, Columns>;
    using Results = typename Tile::template Results<WideOf<bf16>>;
    union Output
    {
        float results[BoxPixels * Columns];
        TileStatistics<Results::Groups, Columns> statistics;
    };
    const ConvForwardArguments<bf16, bf16>& forward = arguments.forward;
    const ConvShape& shape = forward.shape;
    const int K = shape.K, columnTiles = divide_up(K, Columns), firstColumn = blockIdx.x % columnTiles * Columns;
    const TapPairs taps(forward, firstColumn);
    const InputPatch layout(shape, true);
    const int steps = taps.steps(), weightBytes = steps * 16 * ReductionRows<Columns>::Pitch * static_cast<int>(sizeof(bf16));
    const int pairBytes = steps * 8 * static_cast<int>(sizeof(TapPair)), outputBytes = sizeof(Output);
    DYNAMIC_SHARED_BYTES(shared, weightBytes + pairBytes + (layout.bytes() > outputBytes ? layout.bytes() : outputBytes));
    bf16* weights = reinterpret_cast<bf16*>(shared);
    TapPair* pairs = reinterpret_cast<TapPair*>(shared + weightBytes);
    // The inputs of a box, and after them in the same place its outputs.
    bf16* patch = reinterpret_cast<bf16*>(shared + weightBytes + pairBytes);
    Output& output = *reinterpret_cast<Output*>(shared + weightBytes + pairBytes);

    ReductionRows<Columns>::copy(weights, taps, steps * 16, K - firstColumn);
    cp_async_commit_group();
    for (int i = threadIdx.x; i < steps * 8; i += BoxThreads) pairs[i] = taps.pair(i, layout.pitch);
    cp_async_wait_group<0>();
    const int boxes = boxes_of(shape), together = gridDim.x / columnTiles;
    for (int number = blockIdx.x / columnTiles; number < boxes; number += together)
    {
        const OutputBox box(shape, number);
        layout.fill(patch, forward.x, box);
        __syncthreads();
        typename Tile::Sums sums;
        multiply<Columns>(patch, layout, pairs, weights, steps, sums);
        __syncthreads();
        BoxResults<WideOf<bf16>> results = {{{forward}}, box};
        Results::store(output.results, sums, results, 0, BoxPixels, firstColumn, K);
        __syncthreads();
        if (!forward.partials) continue;
        put_statistics(output.statistics, results.inside, Results::group(), Results::first_column());
        __syncthreads();
        const int column = threadIdx.x;
        if (column < Columns && firstColumn + column < K)
        {
            float* partial = forward.partials + static_cast<long long>(number) * 2 * K + firstColumn + column;
            const Moments moments = output.statistics.merge(RowsInside<Results::Groups>{box}, column);
            partial[0] = moments.mean;
            partial[K] = moments.squares;
        }

        if (column == 0 && firstColumn == 0) arguments.counts[number] = box.pixels();
        __syncthreads();
    }
}

}  // namespace

// Names end in the columns of the tile.
KERNEL(BoxThreads, conv_forward_few_channels_32, ConvForwardFewChannelsArguments) { conv_forward_few_channels<32>(arguments); }
KERNEL(BoxThreads, conv_forward_few_channels_64, ConvForwardFewChannelsArguments) { conv_forward_few_channels<64>(arguments); }
