// y[n,p,q,k] = sum over r,s,c of x[n, p*u-z+r, q*u-z+s, c] * W[r,s,c,k], and in the same pass over the tile
// y = activation(y * scale[k] + bias[k] + residual) and each channel's mean and squared deviations over the tile's rows,
// which batch_norm_finish merges: of y as memory holds it, which is what the batch norm will see. Overwrites y.
#include "gather.cuh"

template <class Number, class Result>
struct ConvForwardArguments
{
    ConvShape shape;
    int activation;
    const Number* x;         // [N][H][W][C]
    const Number* w;         // [R][S][C][K]
    Result* y;               // [N][P][Q][K]
    const float* scale;      // [K] or null
    const float* bias;       // [K] or null
    const Result* residual;  // [N][P][Q][K] or null; may be y
    float* partials;         // [row tiles][2][K] or null: mean and sum of squared deviations
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

template <class Product, int WidthX, int WidthW, class Result>
__device__ __forceinline__ void conv_forward(const ConvForwardArguments<typename Product::Number, Result>& arguments)
{
    using Images = MemoryImages<typename Product::Number>;
    using Left = GatheredPixels<WidthX, Images>;
    using Right = WeightRows<typename Product::Number, WidthW>;
    using Shared = ForwardShared<ProductTile<Product, Left, Right>>;
    constexpr int Width = WidthW < Product::Neighbours ? WidthW : Product::Neighbours;
    SHARED(Shared, shared);
    const ConvShape& shape = arguments.shape;
    const Gather gather = forward_gather(shape);
    const int K = shape.K, pixels = gather.pixels();
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    const Images images = {arguments.x, static_cast<long long>(shape.H) * shape.W * shape.C};
    Left left(images, gather, firstRow);
    Right right(arguments.w, gather, K, firstColumn);
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
                value = to_float(rounded_to<Result>(activate(arguments.activation, value + residual.at[l])));
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

using FloatArguments = ConvForwardArguments<float, float>;
using Bf16Arguments = ConvForwardArguments<bf16, bf16>;
using Bf16ToFloatArguments = ConvForwardArguments<bf16, float>;

}  // namespace

// Names say how products are formed, and end in the numbers a load of x and of W; _to_fp32_ stores y as float.
KERNEL(TileThreads, conv_forward_fp32_4_4, FloatArguments) { conv_forward<FloatProduct, 4, 4>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_4_1, FloatArguments) { conv_forward<FloatProduct, 4, 1>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_1_4, FloatArguments) { conv_forward<FloatProduct, 1, 4>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_1_1, FloatArguments) { conv_forward<FloatProduct, 1, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_8_8, Bf16Arguments) { conv_forward<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_8_1, Bf16Arguments) { conv_forward<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_1_8, Bf16Arguments) { conv_forward<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_1_1, Bf16Arguments) { conv_forward<TensorProduct, 1, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_8_8, Bf16ToFloatArguments) { conv_forward<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_8_1, Bf16ToFloatArguments) { conv_forward<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_1_8, Bf16ToFloatArguments) { conv_forward<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_1_1, Bf16ToFloatArguments) { conv_forward<TensorProduct, 1, 1>(arguments); }
