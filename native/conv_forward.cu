// y[n,p,q,k] = sum over r,s,c of x[n, p*u-z+r, q*u-z+s, c] * W[r,s,c,k], and in the same pass over the tile
// y = activation(y * scale[k] + bias[k] + residual) and each channel's mean and squared deviations over the tile's rows,
// which batch_norm_finish merges. Overwrites y.
#include "gather.cuh"

struct ConvForwardArguments
{
    ConvShape shape;
    int activation;
    const float* x;         // [N][H][W][C]
    const float* w;         // [R][S][C][K]
    float* y;               // [N][P][Q][K]
    const float* scale;     // [K] or null
    const float* bias;      // [K] or null
    const float* residual;  // [N][P][Q][K] or null; may be y
    float* partials;        // [row tiles][2][K] or null: mean and sum of squared deviations
};

namespace {

// One column's statistics over the rows of eight of a thread's results, and then of a tile.
struct TileStatistics
{
    float mean[TileThreads / 8][TileColumns];
    float squares[TileThreads / 8][TileColumns];
};

template <class Tile>
union ForwardShared
{
    Tile product;
    TileStatistics statistics;
};

template <class Product>
__device__ void store_statistics(TileStatistics& shared, const float (&y)[8][8], int rows, int firstColumn, int K, float* partial)
{
    const int group = Product::group(), count = Product::rows_of_group(group, rows);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 8; j++)
    {
        float sum = 0, squares = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) sum += Product::row(i) < rows ? y[i][j] : 0;
        const float mean = count > 0 ? sum / count : 0;
#pragma unroll
        for (int i = 0; i < 8; i++)
        {
            const float deviation = Product::row(i) < rows ? y[i][j] - mean : 0;
            squares = fmaf(deviation, deviation, squares);
        }

        shared.mean[group][Product::column(j)] = mean;
        shared.squares[group][Product::column(j)] = squares;
    }

    __syncthreads();
    const int column = threadIdx.x;
    if (column >= TileColumns || firstColumn + column >= K) return;
    // Chan's merge, groups in order.
    float mean = 0, squares = 0;
    int merged = 0;
    for (int g = 0; g < TileThreads / 8; g++)
    {
        const int more = Product::rows_of_group(g, rows);
        if (more == 0) continue;
        const float difference = shared.mean[g][column] - mean, share = static_cast<float>(more) / (merged + more);
        mean = fmaf(difference, share, mean);
        squares += shared.squares[g][column] + difference * difference * share * merged;
        merged += more;
    }

    partial[firstColumn + column] = mean;
    partial[K + firstColumn + column] = squares;
}

template <class Product, int WidthX, int WidthW>
__device__ __forceinline__ void conv_forward(const ConvForwardArguments& arguments)
{
    using Shared = ForwardShared<ProductTile<Product, GatheredPixels<WidthX, MemoryImages>, WeightRows<WidthW>>>;
    constexpr int Width = WidthW < Product::Neighbours ? WidthW : Product::Neighbours;
    SHARED(Shared, shared);
    const ConvShape& shape = arguments.shape;
    const Gather gather = forward_gather(shape);
    const int K = shape.K, pixels = gather.pixels();
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    const MemoryImages images = {arguments.x, static_cast<long long>(shape.H) * shape.W * shape.C};
    GatheredPixels<WidthX, MemoryImages> left(images, gather, firstRow);
    WeightRows<WidthW> right(arguments.w, gather, K, firstColumn);
    float sums[8][8];
    multiply_tile(shared.product, left, right, 0, gather.depth(), sums);

#pragma unroll
    for (int i = 0; i < 8; i++)
    {
        const int row = firstRow + Product::row(i);
#pragma unroll
        for (int j = 0; j < 8; j += Width)
        {
            const int k = firstColumn + Product::column(j);
            if (row >= pixels || k >= K) continue;
            const long long place = static_cast<long long>(row) * K + k;
            Lanes<Width> lanes, residual = {};
            if (arguments.residual) residual = load_lanes<Width>(arguments.residual + place);
#pragma unroll
            for (int l = 0; l < Width; l++)
            {
                float value = sums[i][j + l];
                if (arguments.scale) value *= arguments.scale[k + l];
                if (arguments.bias) value += arguments.bias[k + l];
                value = activate(arguments.activation, value + residual.at[l]);
                sums[i][j + l] = value;
                lanes.at[l] = value;
            }

            store_lanes<Width>(arguments.y + place, lanes);
        }
    }

    if (arguments.partials)
    {
        const int rows = pixels - firstRow < TileRows ? pixels - firstRow : TileRows;
        store_statistics<Product>(shared.statistics, sums, rows, firstColumn, K, arguments.partials + static_cast<long long>(blockIdx.x) * 2 * K);
    }
}

}  // namespace

// Names say how products are formed, and end in the floats a load of x and of W.
KERNEL(TileThreads, conv_forward_fp32_4_4, ConvForwardArguments) { conv_forward<FloatProduct, 4, 4>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_4_1, ConvForwardArguments) { conv_forward<FloatProduct, 4, 1>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_1_4, ConvForwardArguments) { conv_forward<FloatProduct, 1, 4>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_1_1, ConvForwardArguments) { conv_forward<FloatProduct, 1, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_4_4, ConvForwardArguments) { conv_forward<TensorProduct, 4, 4>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_4_1, ConvForwardArguments) { conv_forward<TensorProduct, 4, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_1_4, ConvForwardArguments) { conv_forward<TensorProduct, 1, 4>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_1_1, ConvForwardArguments) { conv_forward<TensorProduct, 1, 1>(arguments); }
