// The portable tile product, an implicit GEMM: a block of 128 threads computes 128 rows by 64 columns of a matrix product, 16 depths
// of the reduction at a time. Loaders (gather.cuh) provide the operands. The order of the reduction is fixed.
//
// Shared memory is double-buffered: operands of the next 16 depths are loaded into registers while these are multiplied, and there
// is one barrier for every 16 depths. A Product defines the layout in shared memory, the multiplication, and which results a
// thread holds: FloatProduct is below, TensorProduct in tensor_product.cuh.
#pragma once

#include "shapes.cuh"

constexpr int TileRows = 128, TileColumns = 64, TileDepth = 16, TileThreads = 128;

// Which elements of an operand are contiguous: depths of one line (a row or column of the tile), or lines of one depth.
enum class Runs
{
    AlongDepth,
    AlongLines
};

// 16 bytes of an operand between global and shared memory, kept as raw bits.
template <class Number>
struct Staged
{
    static constexpr int Count = WideOf<Number>;

    Vector<unsigned, 4> words;

    // Loads all 16 bytes, or element i alone, which has to be zero before.
    template <int Width>
    __device__ __forceinline__ void load(int i, const Number* address)
    {
        static_assert(Width == Count || Width == 1, "a load is of 16 bytes or of one number");
        if constexpr (Width == Count) words = load_vector<4>(reinterpret_cast<const unsigned*>(address));
        else put(i, *address);
    }

    template <int Width>
    __device__ __forceinline__ void round(int i, const Lanes<Width>& lanes)
    {
        if constexpr (Width == 1 || sizeof(Number) == sizeof(float))
        {
#pragma unroll
            for (int l = 0; l < Width; l++) put(i + l, rounded_to<Number>(lanes.at[l]));
        }
        else
        {
#pragma unroll
            for (int l = 0; l < Width; l += 2) words.at[(i + l) / 2] = pack_bf16(lanes.at[l], lanes.at[l + 1]);
        }
    }

    __device__ __forceinline__ void store(Number* address) const { store_vector(reinterpret_cast<unsigned*>(address), words); }

private:
    __device__ __forceinline__ void put(int i, float number) { words.at[i] = bits_as<unsigned>(number); }
    __device__ __forceinline__ void put(int i, bf16 number) { words.at[i / 2] |= static_cast<unsigned>(number.bits) << i % 2 * 16; }
};

// Multiplies in binary32. A thread has 4 neighbouring rows in either half of the tile and 4 neighbouring columns in either half, so
// that the lanes of a warp read 4 and 8 contiguous 16-byte words, without bank conflicts.
struct FloatProduct
{
    using Number = float;

    // Neighbouring columns that a thread holds.
    static constexpr int Neighbours = 4;

    template <int Lines, Runs>
    struct Operand
    {
        // Rows are padded by four floats: stores of a transposing loader then have 2-way bank conflicts instead of 4-way ones.
        alignas(16) float at[TileDepth][Lines + 4];

        __device__ __forceinline__ void put_depths(int line, int depth, const Staged<float>& values)
        {
#pragma unroll
            for (int d = 0; d < 4; d++) at[depth + d][line] = bits_as<float>(values.words.at[d]);
        }

        __device__ __forceinline__ void put_lines(int line, int depth, const Staged<float>& values) { values.store(&at[depth][line]); }
    };

    // Row and column of the calling thread's results in the tile.
    __device__ static __forceinline__ int row(int i) { return static_cast<int>(threadIdx.x) / 8 * 4 + i % 4 + i / 4 * (TileRows / 2); }
    __device__ static __forceinline__ int column(int j) { return static_cast<int>(threadIdx.x) % 8 * 4 + j % 4 + j / 4 * (TileColumns / 2); }

    // Each column is held by 16 groups of threads, one for each 8 rows. rows_of_group says how many rows of a group are less than
    // a bound.
    __device__ static __forceinline__ int group() { return static_cast<int>(threadIdx.x) / 8; }

    __device__ static __forceinline__ int rows_of_group(int group, int bound)
    {
        const int lower = bound - group * 4, upper = lower - TileRows / 2;
        return (lower < 0 ? 0 : lower > 4 ? 4 : lower) + (upper < 0 ? 0 : upper > 4 ? 4 : upper);
    }

    template <class Left, class Right>
    __device__ static __forceinline__ void multiply(const Left& left, const Right& right, float (&sums)[8][8])
    {
#pragma unroll
        for (int kk = 0; kk < TileDepth; kk++)
        {
            const Vector<float, 4> a0 = load_vector<4>(&left.at[kk][row(0)]), a1 = load_vector<4>(&left.at[kk][row(4)]);
            const Vector<float, 4> b0 = load_vector<4>(&right.at[kk][column(0)]), b1 = load_vector<4>(&right.at[kk][column(4)]);
#pragma unroll
            for (int i = 0; i < 8; i++)
            {
                const float a = i < 4 ? a0.at[i] : a1.at[i - 4];
#pragma unroll
                for (int j = 0; j < 8; j++) sums[i][j] = fmaf(a, j < 4 ? b0.at[j] : b1.at[j - 4], sums[i][j]);
            }
        }
    }
};

template <class Product, class Left, class Right>
struct ProductTile
{
    typename Product::template Operand<TileRows, Left::Order> left[2];
    typename Product::template Operand<TileColumns, Right::Order> right[2];
};

// sums = left * right over the depths first to end - 1. A loader has fetch(), which loads the calling thread's part of the next 16
// depths into registers, with zeros after the end, and store(operand), which puts it into shared memory.
template <class Product, class Left, class Right>
__device__ __forceinline__ void multiply_tile(
    ProductTile<Product, Left, Right>& tile, Left& left, Right& right, int first, int end, float (&sums)[8][8])
{
#pragma unroll
    for (int i = 0; i < 8; i++)
    {
#pragma unroll
        for (int j = 0; j < 8; j++) sums[i][j] = 0;
    }

    if (first >= end) return;
    left.fetch();
    right.fetch();
    left.store(tile.left[0]);
    right.store(tile.right[0]);
    __syncthreads();
    int stage = 0;
    for (int depth = first; depth < end; depth += TileDepth)
    {
        const bool more = depth + TileDepth < end;
        if (more)
        {
            left.fetch();
            right.fetch();
        }

        Product::multiply(tile.left[stage], tile.right[stage], sums);
        if (!more) break;
        stage ^= 1;
        left.store(tile.left[stage]);
        right.store(tile.right[stage]);
        __syncthreads();
    }
}

// Stores Width sums, or adds them to the values at the address. Returns the stored values before they are rounded.
template <int Width, class Number>
__device__ __forceinline__ Lanes<Width> store_sums(Number* address, bool accumulate, const Lanes<Width>& sums)
{
    Lanes<Width> lanes = {};
    if (accumulate) lanes = load_lanes<Width>(address);
#pragma unroll
    for (int l = 0; l < Width; l++) lanes.at[l] += sums.at[l];
    store_lanes<Width>(address, lanes);
    return lanes;
}

// Passes the calling thread's results to `results`, Width columns at a time, and keeps what it returns. Results has place(row), the
// offset of a row of the matrix in memory, called in ascending order, and store(place, column, lanes), which returns the values
// that it stored.
template <class Product, int Width, class Results>
__device__ __forceinline__ void store_results(
    float (&sums)[8][8], Results& results, int firstRow, int rows, int firstColumn, int columns)
{
#pragma unroll
    for (int i = 0; i < 8; i++)
    {
        const int row = firstRow + Product::row(i);
        if (row >= rows) continue;
        const long long place = results.place(row);
#pragma unroll
        for (int j = 0; j < 8; j += Width)
        {
            const int column = firstColumn + Product::column(j);
            if (column >= columns) continue;
            Lanes<Width> lanes;
#pragma unroll
            for (int l = 0; l < Width; l++) lanes.at[l] = sums[i][j + l];
            lanes = results.store(place, column, lanes);
#pragma unroll
            for (int l = 0; l < Width; l++) sums[i][j + l] = lanes.at[l];
        }
    }
}
