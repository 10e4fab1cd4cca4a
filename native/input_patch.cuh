// The input patch under a box of output pixels, for convolutions of few channels: it is copied into shared memory once, and every
// tap reads it there. In NHWC the inputs of one output pixel and one filter row are a contiguous run of S*C elements, and the run
// of the next pixel starts stride*C elements further on; C need not be a multiple of 8 for that.
#pragma once

#include "instructions.cuh"
#include "shapes.cuh"

// A box has 8 rows of 16 output pixels of one image. One matrix of mma.sync has the pixels of one row.
constexpr int BoxRows = 8, BoxColumns = 16, BoxPixels = BoxRows * BoxColumns;

constexpr int BoxThreads = 128, BoxWarps = BoxThreads / 32;

__device__ __forceinline__ int boxes_of(const ConvShape& shape)
{
    return shape.N * divide_up(shape.P, BoxRows) * divide_up(shape.Q, BoxColumns);
}

// Pixel i of a box is in its row i / 16 and its column i % 16.
struct OutputBox
{
    const ConvShape& shape;
    int image, row, column;

    __device__ __forceinline__ OutputBox(const ConvShape& shape, int number) : shape(shape)
    {
        const int across = divide_up(shape.Q, BoxColumns), down = divide_up(shape.P, BoxRows);
        image = number / across / down;
        row = number / across % down * BoxRows;
        column = number % across * BoxColumns;
    }

    __device__ __forceinline__ bool has(int pixel) const
    {
        return row + pixel / BoxColumns < shape.P && column + pixel % BoxColumns < shape.Q;
    }

    __device__ __forceinline__ int rows() const { return shape.P - row < BoxRows ? shape.P - row : BoxRows; }
    __device__ __forceinline__ int columns() const { return shape.Q - column < BoxColumns ? shape.Q - column : BoxColumns; }
    __device__ __forceinline__ int pixels() const { return rows() * columns(); }

    // The index of a pixel of the box among all output pixels.
    __device__ __forceinline__ int number(int pixel) const
    {
        return (image * shape.P + row + pixel / BoxColumns) * shape.Q + column + pixel % BoxColumns;
    }
};

// The layout of a patch in shared memory. Elements are read in pairs, as aligned 32-bit words. Where stride*C is odd, the runs of
// every other pixel start at odd elements; the patch then has a second copy, shifted left by one element, for those pixels.
struct InputPatch
{
    int rows, pitch, stride, step, copies;

    __device__ __forceinline__ InputPatch(const ConvShape& shape, bool pairs)
        : rows((BoxRows - 1) * shape.stride + shape.R), pitch(divide_up(((BoxColumns - 1) * shape.stride + shape.S) * shape.C, 2) * 2),
          stride(shape.stride), step(shape.stride * shape.C),
          copies(pairs && step % 2 != 0 ? 2 : 1)
    {
    }

    // A multiple of 16.
    __device__ __forceinline__ int bytes() const { return divide_up(copies * rows * pitch * static_cast<int>(sizeof(bf16)), 16) * 16; }

    // Where the run of a pixel starts, and where its pairs do.
    __device__ __forceinline__ int run(int row, int column) const { return row * stride * pitch + column * step; }
    __device__ __forceinline__ int run_of_pairs(int row, int column) const
    {
        const int place = column * step;
        return row * stride * pitch + place - place % 2 + place % 2 * rows * pitch;
    }

    // Each warp copies every fourth row, several rows at once so that their loads are in flight together. The padding becomes
    // zeros here, so that no later read needs a condition.
    __device__ __forceinline__ void fill(bf16* patch, const bf16* x, const OutputBox& box) const
    {
        constexpr int AtOnce = 6;
        const ConvShape& shape = box.shape;
        const int line = shape.W * shape.C, firstLine = box.row * shape.stride - shape.padding;
        const int firstNumber = (box.column * shape.stride - shape.padding) * shape.C, warp = static_cast<int>(threadIdx.x) / 32;
        const bf16* image = x + static_cast<long long>(box.image) * shape.H * line;
#pragma unroll 1
        for (int first = warp; first < rows; first += AtOnce * BoxWarps)
        {
#pragma unroll 1
            for (int i = static_cast<int>(threadIdx.x) % 32 * 2; i < pitch; i += 64)
            {
                bf16 numbers[AtOnce][3];
#pragma unroll
                for (int r = 0; r < AtOnce; r++)
                {
                    const int row = first + r * BoxWarps, h = firstLine + row;
                    const bool inside = row < rows && h >= 0 && h < shape.H;
#pragma unroll
                    for (int j = 0; j < 3; j++)
                    {
                        const int number = firstNumber + i + j;
                        numbers[r][j] = {};
                        if (inside && number >= 0 && number < line && (j < 2 || copies == 2)) numbers[r][j] = image[h * line + number];
                    }
                }

#pragma unroll
                for (int r = 0; r < AtOnce; r++)
                {
                    const int row = first + r * BoxWarps;
                    if (row >= rows) continue;
                    bf16* place = patch + row * pitch + i;
                    store_vector(place, Vector<bf16, 2>{{numbers[r][0], numbers[r][1]}});
                    if (copies == 2) store_vector(place + rows * pitch, Vector<bf16, 2>{{numbers[r][1], numbers[r][2]}});
                }
            }
        }
    }
};

// A tile in shared memory whose rows are indices of the reduction. Rows are 16 bytes longer than their columns, so that the 8 rows
// of a matrix lie in 8 different groups of banks.
template <int Columns>
struct ReductionRows
{
    static constexpr int Pitch = Columns + 8, Pieces = Columns / 8;

    // Starts the 16-byte copies of the calling thread. Rows is a function object that says where a row starts in global memory, or
    // null for a row of zeros; a row has `left` columns.
    template <class Rows>
    __device__ static __forceinline__ void copy(bf16* tile, const Rows& rows, int count, int left)
    {
        for (int i = threadIdx.x; i < count * Pieces; i += BoxThreads)
        {
            const int row = i / Pieces, column = i % Pieces * 8;
            const bf16* source = rows(row);
            const bool inside = source && column < left;
            cp_async(shared_address(tile + row * Pitch + column), inside ? source + column : rows.any(), inside);
        }
    }

    // Loads the fragments of 16 indices of the reduction by 16 columns.
    __device__ static __forceinline__ void load(unsigned (&fragments)[4], const bf16* tile, int row, int column)
    {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        ldmatrix<true>(fragments, shared_address(tile + (row + lane % 16) * Pitch + column + lane / 16 * 8));
    }
};
