// The weight gradient of conv_weight_gradient.cu for few channels, no multiple of 8, and bf16: a net's first. A block reduces
// over the boxes of output pixels (input_patch.cuh) of a slice; the next box is copied while one is multiplied. Overwrites a
// slice of partial sums, which sum_slices adds, or dW.
//
// Rows are the numbers of the filter's runs, columns are channels of dy. Pixels of a box beyond the output are masked, not left
// to a dy of zero: the inputs under them may be infinite.
#include "input_patch.cuh"

struct ConvWeightGradientFewChannelsArguments
{
    ConvShape shape;
    const bf16* x;   // [N][H][W][C]
    const bf16* dy;  // [N][P][Q][K]
    float* dw;       // [slices][R][S][C][K]
    int boxesPerSlice;
};

namespace {

constexpr int ErrorColumns = 64, ColumnMatrices = ErrorColumns / 8;
using Errors = ReductionRows<ErrorColumns>;

// Where the errors of a box's pixels start, or null.
struct BoxErrors
{
    const OutputBox& box;
    const bf16* dy;
    int K;

    __device__ __forceinline__ const bf16* operator()(int pixel) const
    {
        return box.has(pixel) ? dy + static_cast<long long>(box.number(pixel)) * K : nullptr;
    }

    __device__ __forceinline__ const bf16* any() const { return dy; }
};

// Every fourth 16 rows of a block's, from its own on, belong to a warp: Matrices times.
template <int Matrices>
struct FilterRows
{
    const int first, end;
    int distances[Matrices][2];  // of rows lane / 4 and lane / 4 + 8 from the start of a pixel's run
    float sums[Matrices][ColumnMatrices][4];

    __device__ __forceinline__ FilterRows(const ConvShape& shape, const InputPatch& layout, int firstRow)
        : first(firstRow + static_cast<int>(threadIdx.x) / 32 * 16), end(shape.R * shape.S * shape.C)
    {
        const int run = shape.S * shape.C;
#pragma unroll
        for (int i = 0; i < Matrices; i++)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                const int number = row(i, half);
                distances[i][half] = number < end ? number / run * layout.pitch + number % run : 0;
            }

#pragma unroll
            for (int j = 0; j < ColumnMatrices; j++)
            {
#pragma unroll
                for (int l = 0; l < 4; l++) sums[i][j][l] = 0;
            }
        }
    }

    __device__ __forceinline__ bool has(int i) const { return first + 16 * BoxWarps * i < end; }

    __device__ __forceinline__ int row(int i, int half) const
    {
        return first + 16 * BoxWarps * i + 8 * half + static_cast<int>(threadIdx.x) % 32 / 4;
    }

    // Reduces over a box, 16 pixels of a row at a time.
    __device__ __forceinline__ void multiply(const bf16* patch, const InputPatch& layout, const bf16* errors, const OutputBox& box)
    {
        const int pixel = static_cast<int>(threadIdx.x) % 4 * 2, left = box.shape.Q - box.column - pixel;
        const unsigned masks[2] = {mask(left), mask(left - 8)};
        const int rows = box.rows();
#pragma unroll 1
        for (int row = 0; row < rows; row++)
        {
            unsigned right[ColumnMatrices / 2][4];
#pragma unroll
            for (int j = 0; j < ColumnMatrices / 2; j++) Errors::load(right[j], errors, row * BoxColumns, 16 * j);
            const bf16* runs = patch + layout.run(row, pixel);
#pragma unroll
            for (int i = 0; i < Matrices; i++)
            {
                if (!has(i)) continue;
                unsigned left[4];
#pragma unroll
                for (int part = 0; part < 4; part++)
                {
                    const bf16* number = runs + part / 2 * 8 * layout.step + distances[i][part % 2];
                    left[part] = (number[0].bits | static_cast<unsigned>(number[layout.step].bits) << 16) & masks[part / 2];
                }

#pragma unroll
                for (int j = 0; j < ColumnMatrices; j++)
                {
                    float (&c)[4] = sums[i][j];
                    mma_bf16(c[0], c[1], c[2], c[3], left, right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
                }
            }
        }
    }

    __device__ __forceinline__ void store(float* dw, int firstColumn, int K) const
    {
#pragma unroll
        for (int i = 0; i < Matrices; i++)
        {
#pragma unroll
            for (int half = 0; half < 2; half++)
            {
                if (row(i, half) >= end) continue;
                float* line = dw + static_cast<long long>(row(i, half)) * K;
#pragma unroll
                for (int j = 0; j < ColumnMatrices; j++)
                {
                    const int k = firstColumn + 8 * j + static_cast<int>(threadIdx.x) % 4 * 2;
                    if (k < K) store_lanes<2>(line + k, Lanes<2>{{sums[i][j][2 * half], sums[i][j][2 * half + 1]}});
                }
            }
        }
    }

private:
    // Of two pixels those that exist.
    __device__ static __forceinline__ unsigned mask(int left) { return left > 1 ? 0xFFFFFFFFu : left > 0 ? 0x0000FFFFu : 0; }
};

template <int Matrices>
__device__ __forceinline__ void conv_weight_gradient_few_channels(const ConvWeightGradientFewChannelsArguments& arguments)
{
    const ConvShape& shape = arguments.shape;
    const int K = shape.K, columnTiles = (K + ErrorColumns - 1) / ErrorColumns, firstColumn = blockIdx.x % columnTiles * ErrorColumns;
    const InputPatch layout(shape, false);
    const int errorBytes = BoxPixels * Errors::Pitch * static_cast<int>(sizeof(bf16)), stageBytes = errorBytes + layout.bytes();
    DYNAMIC_SHARED_BYTES(shared, 2 * stageBytes);
    const auto errors = [=](int stage) { return reinterpret_cast<bf16*>(shared + stage % 2 * stageBytes); };
    const auto patch = [=](int stage) { return reinterpret_cast<bf16*>(shared + stage % 2 * stageBytes + errorBytes); };
    const auto copy = [&](int number, int stage)
    {
        const OutputBox box(shape, number);
        Errors::copy(errors(stage), BoxErrors{box, arguments.dy + firstColumn, K}, BoxPixels, K - firstColumn);
        cp_async_commit_group();
        layout.fill(patch(stage), arguments.x, box);
    };

    FilterRows<Matrices> rows(shape, layout, blockIdx.x / columnTiles * Matrices * 16 * BoxWarps);
    const int first = blockIdx.z * arguments.boxesPerSlice, boxes = boxes_of(shape) - first;
    const int count = boxes < arguments.boxesPerSlice ? boxes : arguments.boxesPerSlice;
    copy(first, 0);
#pragma unroll 1
    for (int i = 0; i < count; i++)
    {
        // This box has arrived, and all threads are done with the one before, whose place the next one takes.
        cp_async_wait_group<0>();
        __syncthreads();
        if (i + 1 < count) copy(first + i + 1, i + 1);
        rows.multiply(patch(i), layout, errors(i), OutputBox(shape, first + i));
    }

    rows.store(arguments.dw + static_cast<long long>(blockIdx.z) * rows.end * K, firstColumn, K);
}

}  // namespace

// Names end in the rows of a tile.
KERNEL(BoxThreads, conv_weight_gradient_few_channels_64, ConvWeightGradientFewChannelsArguments) { conv_weight_gradient_few_channels<1>(arguments); }
KERNEL(BoxThreads, conv_weight_gradient_few_channels_192, ConvWeightGradientFewChannelsArguments) { conv_weight_gradient_few_channels<3>(arguments); }
