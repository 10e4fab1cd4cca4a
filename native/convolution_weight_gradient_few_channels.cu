// The weight gradient for fewer than 8 input channels in bf16: the first layer of a network. A block reduces over the boxes of
// output pixels (input_patch.cuh) of its split; the next box is copied while one is multiplied. Overwrites dW, or the partial
// sums of its split.
//
// Rows of the tile are elements (r,s,c) of the filter, columns are channels of dy. The inputs under pixels outside the output are
// masked out: a dy of zero would not be enough, because they may be infinite.
#include "input_patch.cuh"

struct ConvWeightGradientFewChannelsArguments
{
    ConvShape shape;
    const bf16* x;   // [N][H][W][C]
    const bf16* dy;  // [N][P][Q][K]
    float* dw;       // [splits][R][S][C][K]
    int boxesPerSplit;
};

namespace {

constexpr int ErrorColumns = 64, ColumnMatrices = ErrorColumns / 8;
using Errors = ReductionRows<ErrorColumns>;

// Where the errors of a pixel of the box start, or null outside the output.
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

// The rows of the tile that a warp computes: Matrices times 16 rows, each 64 rows after the one before.
template <int Matrices>
struct FilterRows
{
    const int first, end;
    int distances[Matrices][2];  // from the start of a pixel's run to the elements of rows lane / 4 and lane / 4 + 8
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

    // Reduces over a box, one of its rows of 16 pixels at a time.
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
    // Masks those of two pixels that lie outside.
    __device__ static __forceinline__ unsigned mask(int left) { return left > 1 ? 0xFFFFFFFFu : left > 0 ? 0x0000FFFFu : 0; }
};

template <int Matrices>
__device__ __forceinline__ void conv_weight_gradient_few_channels(const ConvWeightGradientFewChannelsArguments& arguments)
{
    const ConvShape& shape = arguments.shape;
    const int K = shape.K, columnTiles = divide_up(K, ErrorColumns), firstColumn = blockIdx.x % columnTiles * ErrorColumns;
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
    const int first = blockIdx.z * arguments.boxesPerSplit, boxes = boxes_of(shape) - first;
    const int count = boxes < arguments.boxesPerSplit ? boxes : arguments.boxesPerSplit;
    copy(first, 0);
#pragma unroll 1
    for (int i = 0; i < count; i++)
    {
        // The box has arrived, and all threads have finished with the one before, whose place the next box takes.
        cp_async_wait_group<0>();
        __syncthreads();
        if (i + 1 < count) copy(first + i + 1, i + 1);
        rows.multiply(patch(i), layout, errors(i), OutputBox(shape, first + i));
    }

    rows.store(arguments.dw + static_cast<long long>(blockIdx.z) * rows.end * K, firstColumn, K);
}

}  // namespace

// Names end in the rows of the tile.
KERNEL(BoxThreads, conv_weight_gradient_few_channels_64, ConvWeightGradientFewChannelsArguments) { conv_weight_gradient_few_channels<1>(arguments); }
KERNEL(BoxThreads, conv_weight_gradient_few_channels_192, ConvWeightGradientFewChannelsArguments) { conv_weight_gradient_few_channels<3>(arguments); }
