// Batch norm over [rows][channels], rows = N*P*Q. Sums over rows are taken in two stages, both in a fixed order. In the first, a
// block takes 32 channels (or 32 pairs of channels) and one chunk of rows, and each of its 8 strips of threads takes every 8th
// row. In the second, a block takes 8 channels and all chunks, and each of its 64 strips takes every 64th chunk, in double
// precision. There may be thousands of chunks and few channels: with fewer strips the second stage would wait for one load
// after the other.
#include "statistics.cuh"

constexpr int ChannelLanes = 32, Strips = 8, ColumnThreads = ChannelLanes * Strips, ElementThreads = 256;
constexpr int FinishLanes = 8, FinishStrips = 64, FinishThreads = FinishLanes * FinishStrips;

template <class Number>
struct ColumnSumsArguments
{
    long long rows;
    int channels, rowsPerChunk;
    const Number* x;  // [rows][channels]
    float* partials;  // [chunks][2][channels]
};

template <class Number>
struct BackwardSumsArguments
{
    long long rows;
    int channels, rowsPerChunk;
    int reluAfter;
    const Number* x;     // [rows][channels], the batch norm's input
    const Number* y;     // the output after the ReLU, or null: recomputed from x
    const Number* dy;    // [rows][channels]
    const float* mean;   // [channels]
    const float* scale;  // [channels]
    const float* bias;   // [channels]
    float* partials;     // [chunks][2][channels]
};

struct StatisticsFinishArguments
{
    long long rows;
    int channels, chunks, rowsPerChunk;
    float momentum;
    const float* partials;   // [chunks][2][channels]: mean, sum of squared deviations
    const int* counts;       // [chunks]: rows of each chunk; or null: rowsPerChunk rows each, and the rest in the last one
    float* mean;             // [channels]
    float* variance;         // [channels]
    float* runningMean;      // [channels] or null
    float* runningVariance;  // [channels] or null
};

struct BackwardFinishArguments
{
    long long rows;
    int channels, chunks;
    float epsilon;
    const float* partials;  // [chunks][2][channels]: sum of dz, sum of dz * (x - mean)
    const float* variance;  // [channels]
    float* dGamma;          // [channels]
    float* dBeta;           // [channels]
    float* meanError;       // [channels]: dBeta / rows
    float* errorSlope;      // [channels]: dGamma / rows / sqrt(variance + epsilon)
};

struct BackwardMeansArguments
{
    long long rows;
    int channels;
    float epsilon;
    const float *variance, *dGamma, *dBeta;  // [channels]
    float *meanError, *errorSlope;           // [channels], as above
};

struct MergeArguments
{
    long long images;  // of all processes; a process holds images * (p + 1) / parts - images * p / parts of them
    int parts, rowsPerImage, channels;
    float momentum;
    const float* statistics;  // [parts][2][channels]: means, biased variances
    float* mean;              // [channels]
    float* variance;          // [channels]
    float* runningMean;       // [channels] or null
    float* runningVariance;   // [channels] or null
};

struct BiasFinishArguments
{
    int channels, chunks;
    const float* partials;  // [chunks][2][channels]
    float* db;              // [channels]
};

struct FoldArguments
{
    int channels;
    float epsilon;
    const float *gamma, *beta, *mean, *variance;  // [channels]
    float *scale, *bias;                          // [channels]
};

template <class Number>
struct ChannelAffineArguments
{
    long long rows;
    int channels, rowsPerBlock;
    int activation;
    const Number* x;         // [rows][channels]
    const float* scale;      // [channels]
    const float* bias;       // [channels]
    const Number* residual;  // [rows][channels] or null
    Number* y;               // may be x or residual
};

template <class Number>
struct BackwardApplyArguments
{
    long long rows;
    int channels, rowsPerBlock;
    int reluAfter, reluBefore;
    const Number *x, *y, *dy;                                   // as in the sums
    const float *mean, *scale, *bias, *meanError, *errorSlope;  // [channels]
    Number* dx;         // may be x or dy
    Number* dResidual;  // or null; may be dy
};

namespace {

// A thread's place in a block of LaneCount lanes by some strips; a lane has Width neighbouring channels.
template <int LaneCount, int Width = 1>
struct Column
{
    int lane = static_cast<int>(threadIdx.x) % LaneCount, strip = static_cast<int>(threadIdx.x) / LaneCount;
    int channel = (static_cast<int>(blockIdx.x) * LaneCount + lane) * Width;
};

// The rows of the calling block's chunk.
struct ChunkRows
{
    long long first;
    int count;

    __device__ __forceinline__ ChunkRows(long long rows, int rowsPerChunk)
        : first(static_cast<long long>(blockIdx.y) * rowsPerChunk),
          count(rows - first < rowsPerChunk ? static_cast<int>(rows - first) : rowsPerChunk)
    {
    }
};

// Two sums for every channel of a block, one pair for each strip.
template <class Sum, int StripCount, int Channels>
struct StripSums
{
    Sum first[StripCount][Channels], second[StripCount][Channels];

    // Adds the upper half of the strips to the lower half until one strip is left; the threads of strip 0 then have the sums.
    __device__ __forceinline__ void add(int strip, int channel, Sum& one, Sum& other)
    {
        first[strip][channel] = one;
        second[strip][channel] = other;
#pragma unroll
        for (int half = StripCount / 2; half > 0; half /= 2)
        {
            __syncthreads();
            if (strip >= half) continue;
            first[strip][channel] = one += first[strip + half][channel];
            second[strip][channel] = other += second[strip + half][channel];
        }
    }
};

template <int Width = 1>
using ColumnShared = StripSums<float, Strips, ChannelLanes * Width>;
using FinishShared = StripSums<double, FinishStrips, FinishLanes>;

// How many rows of a chunk a strip visits: strip, strip + Strips, ...
__device__ __forceinline__ int rows_of_strip(int chunkRows, int strip)
{
    return strip < chunkRows ? divide_up(chunkRows - strip, Strips) : 0;
}

__device__ __forceinline__ float masked_error(float dy, float x, float y, float scale, float bias, bool reluAfter, bool hasY)
{
    if (!reluAfter) return dy;
    const float output = hasY ? y : fmaf(x, scale, bias);
    return output > 0 ? dy : 0;
}

// Mean and sum of squared deviations of each channel over a chunk, by Welford's recurrence on the difference from the chunk's
// first row, so that a mean far from zero costs no accuracy.
template <class Number>
__device__ __forceinline__ void batch_norm_statistics(ColumnShared<>& shared, const ColumnSumsArguments<Number>& arguments)
{
    const Column<ChannelLanes> column;
    const ChunkRows rows(arguments.rows, arguments.rowsPerChunk);
    float origin = 0, mean = 0, squares = 0;
    if (column.channel < arguments.channels)
    {
        const Number* x = arguments.x + rows.first * arguments.channels + column.channel;
        origin = load_number(x);
        float count = 0;
        for (int row = column.strip; row < rows.count; row += Strips)
        {
            const float distance = load_number(x + static_cast<long long>(row) * arguments.channels) - origin, difference = distance - mean;
            count += 1;
            mean += difference / count;
            squares = fmaf(difference, distance - mean, squares);
        }
    }

    shared.first[column.strip][column.lane] = mean;
    shared.second[column.strip][column.lane] = squares;
    __syncthreads();
    if (column.strip != 0 || column.channel >= arguments.channels) return;
    Moments chunk = {rows_of_strip(rows.count, 0), mean, squares};
    for (int strip = 1; strip < Strips; strip++)
        chunk.merge(rows_of_strip(rows.count, strip), shared.first[strip][column.lane], shared.second[strip][column.lane]);

    float* partial = arguments.partials + static_cast<long long>(blockIdx.y) * 2 * arguments.channels;
    partial[column.channel] = origin + chunk.mean;
    partial[arguments.channels + column.channel] = chunk.squares;
}

// Sum over a chunk of rows of each channel.
template <class Number>
__device__ __forceinline__ void column_sums(ColumnShared<>& shared, const ColumnSumsArguments<Number>& arguments)
{
    const Column<ChannelLanes> column;
    const ChunkRows rows(arguments.rows, arguments.rowsPerChunk);
    float sum = 0, unused = 0;
    if (column.channel < arguments.channels)
    {
        const Number* x = arguments.x + rows.first * arguments.channels + column.channel;
#pragma unroll 4
        for (int row = column.strip; row < rows.count; row += Strips) sum += load_number(x + static_cast<long long>(row) * arguments.channels);
    }

    shared.add(column.strip, column.lane, sum, unused);
    if (column.strip != 0 || column.channel >= arguments.channels) return;
    arguments.partials[static_cast<long long>(blockIdx.y) * 2 * arguments.channels + column.channel] = sum;
}

// Sums of dz and of dz * (x - mean) over a chunk, where dz is dy, or 0 where the ReLU after the batch norm gave 0.
template <int Width, class Number>
__device__ __forceinline__ void batch_norm_backward_sums(ColumnShared<Width>& shared, const BackwardSumsArguments<Number>& arguments)
{
    const Column<ChannelLanes, Width> column;
    const ChunkRows rows(arguments.rows, arguments.rowsPerChunk);
    const int channels = arguments.channels, k = column.channel;
    Lanes<Width> sum = {}, slope = {};
    if (k < channels)
    {
        const Lanes<Width> mean = load_lanes<Width>(arguments.mean + k), scale = load_lanes<Width>(arguments.scale + k);
        const Lanes<Width> bias = load_lanes<Width>(arguments.bias + k);
        // Read whether it is needed or not: a load under a condition would keep the loads of the next rows from being issued early.
        const Number* output = arguments.y ? arguments.y : arguments.x;
#pragma unroll 4
        for (int row = column.strip; row < rows.count; row += Strips)
        {
            const long long i = (rows.first + row) * channels + k;
            const Lanes<Width> x = load_lanes<Width>(arguments.x + i), y = load_lanes<Width>(output + i), dy = load_lanes<Width>(arguments.dy + i);
#pragma unroll
            for (int l = 0; l < Width; l++)
            {
                const float dz = masked_error(dy.at[l], x.at[l], y.at[l], scale.at[l], bias.at[l], arguments.reluAfter, arguments.y);
                sum.at[l] += dz;
                slope.at[l] = fmaf(dz, x.at[l] - mean.at[l], slope.at[l]);
            }
        }
    }

    float* partial = arguments.partials + static_cast<long long>(blockIdx.y) * 2 * channels;
#pragma unroll
    for (int l = 0; l < Width; l++)
    {
        // First channels of all lanes, then second ones: neighbouring lanes use neighbouring banks.
        shared.add(column.strip, l * ChannelLanes + column.lane, sum.at[l], slope.at[l]);
        if (column.strip != 0 || k >= channels) continue;
        partial[k + l] = sum.at[l];
        partial[channels + k + l] = slope.at[l];
    }
}

// y = activation(x * scale + bias + residual). A block takes some rows, so that indices within it fit 32 bits.
template <int Width, class Number>
__device__ __forceinline__ void channel_affine(const ChannelAffineArguments<Number>& arguments)
{
    const unsigned channels = arguments.channels;
    const long long firstRow = static_cast<long long>(blockIdx.x) * arguments.rowsPerBlock, offset = firstRow * channels;
    const long long left = arguments.rows - firstRow;
    const unsigned length = static_cast<unsigned>(left < arguments.rowsPerBlock ? left : arguments.rowsPerBlock) * channels;
    for (unsigned i = threadIdx.x * Width; i < length; i += ElementThreads * Width)
    {
        const unsigned k = i % channels;
        Lanes<Width> x = load_lanes<Width>(arguments.x + offset + i), residual = {};
        const Lanes<Width> scale = load_lanes<Width>(arguments.scale + k), bias = load_lanes<Width>(arguments.bias + k);
        if (arguments.residual) residual = load_lanes<Width>(arguments.residual + offset + i);
#pragma unroll
        for (int l = 0; l < Width; l++) x.at[l] = activate(arguments.activation, fmaf(x.at[l], scale.at[l], bias.at[l]) + residual.at[l]);
        store_lanes<Width>(arguments.y + offset + i, x);
    }
}

// dx = scale * (dz - meanError - (x - mean) * errorSlope), or 0 where the ReLU before the batch norm gave 0; dResidual = dz.
template <int Width, class Number>
__device__ __forceinline__ void backward_apply(const BackwardApplyArguments<Number>& arguments)
{
    const unsigned channels = arguments.channels;
    const long long firstRow = static_cast<long long>(blockIdx.x) * arguments.rowsPerBlock, offset = firstRow * channels;
    const long long left = arguments.rows - firstRow;
    const unsigned length = static_cast<unsigned>(left < arguments.rowsPerBlock ? left : arguments.rowsPerBlock) * channels;
    for (unsigned i = threadIdx.x * Width; i < length; i += ElementThreads * Width)
    {
        const unsigned k = i % channels;
        const Lanes<Width> x = load_lanes<Width>(arguments.x + offset + i), dy = load_lanes<Width>(arguments.dy + offset + i);
        const Lanes<Width> mean = load_lanes<Width>(arguments.mean + k), scale = load_lanes<Width>(arguments.scale + k);
        const Lanes<Width> bias = load_lanes<Width>(arguments.bias + k), meanError = load_lanes<Width>(arguments.meanError + k);
        const Lanes<Width> errorSlope = load_lanes<Width>(arguments.errorSlope + k);
        Lanes<Width> y = {}, dx, dResidual;
        if (arguments.y) y = load_lanes<Width>(arguments.y + offset + i);
#pragma unroll
        for (int l = 0; l < Width; l++)
        {
            const float dz = masked_error(dy.at[l], x.at[l], y.at[l], scale.at[l], bias.at[l], arguments.reluAfter, arguments.y);
            const float error = scale.at[l] * fmaf(-(x.at[l] - mean.at[l]), errorSlope.at[l], dz - meanError.at[l]);
            dx.at[l] = arguments.reluBefore && !(x.at[l] > 0) ? 0 : error;
            dResidual.at[l] = dz;
        }

        if (arguments.dResidual) store_lanes<Width>(arguments.dResidual + offset + i, dResidual);
        store_lanes<Width>(arguments.dx + offset + i, dx);
    }
}

// Stores the statistics of a channel, and moves the running ones.
template <class Arguments>
__device__ __forceinline__ void store_statistics(const Arguments& arguments, int k, double rows, double mean, double squares)
{
    const double variance = squares / rows, momentum = arguments.momentum;
    arguments.mean[k] = static_cast<float>(mean);
    arguments.variance[k] = static_cast<float>(variance);
    if (arguments.runningMean)
        arguments.runningMean[k] = static_cast<float>((1 - momentum) * arguments.runningMean[k] + momentum * mean);
    if (arguments.runningVariance)
    {
        // One row has no unbiased variance: the biased one, 0, is stored.
        const double unbiased = rows > 1 ? squares / (rows - 1) : variance;
        arguments.runningVariance[k] = static_cast<float>((1 - momentum) * arguments.runningVariance[k] + momentum * unbiased);
    }
}

// Rows that a process holds.
__device__ __forceinline__ double rows_of_part(const MergeArguments& arguments, int part)
{
    const long long first = arguments.images * part / arguments.parts, end = arguments.images * (part + 1) / arguments.parts;
    return static_cast<double>((end - first) * arguments.rowsPerImage);
}

}  // namespace

// Merges the statistics of the chunks and updates the running statistics.
KERNEL(FinishThreads, batch_norm_finish, StatisticsFinishArguments)
{
    SHARED(FinishShared, shared);
    const Column<FinishLanes> column;
    const int channels = arguments.channels, k = column.channel;
    // Deviations are taken from the mean of the first chunk, which is close to that of the others.
    double first = 0, second = 0, origin = 0;
    if (k < channels)
    {
        origin = arguments.partials[k];
#pragma unroll 4
        for (int chunk = column.strip; chunk < arguments.chunks; chunk += FinishStrips)
        {
            const float* partial = arguments.partials + static_cast<long long>(chunk) * 2 * channels;
            const long long left = arguments.rows - static_cast<long long>(chunk) * arguments.rowsPerChunk;
            const double count = static_cast<double>(
                arguments.counts ? arguments.counts[chunk] : left < arguments.rowsPerChunk ? left : arguments.rowsPerChunk);
            const double difference = partial[k] - origin;
            first += count * difference;
            second += partial[channels + k] + count * difference * difference;
        }
    }

    shared.add(column.strip, column.lane, first, second);
    if (column.strip != 0 || k >= channels) return;
    const double rows = static_cast<double>(arguments.rows), mean = origin + first / rows;
    double squares = second - first * first / rows;
    if (squares < 0) squares = 0;
    store_statistics(arguments, k, rows, mean, squares);
}

// The statistics of a batch that several processes hold. Their number is small, so one thread adds them up.
KERNEL(ElementThreads, batch_norm_merge, MergeArguments)
{
    const int k = blockIdx.x * ElementThreads + threadIdx.x;
    if (k >= arguments.channels) return;
    const double all = static_cast<double>(arguments.images) * arguments.rowsPerImage;
    double sum = 0, squares = 0;
    for (int part = 0; part < arguments.parts; part++)
        sum += rows_of_part(arguments, part) * arguments.statistics[2ll * part * arguments.channels + k];
    const double mean = sum / all;
    for (int part = 0; part < arguments.parts; part++)
    {
        const float* of = arguments.statistics + 2ll * part * arguments.channels + k;
        const double deviation = of[0] - mean;
        squares += rows_of_part(arguments, part) * (of[arguments.channels] + deviation * deviation);
    }

    store_statistics(arguments, k, all, mean, squares);
}

// scale = gamma / sqrt(variance + epsilon), bias = beta - mean * scale.
KERNEL(ElementThreads, batch_norm_fold, FoldArguments)
{
    const int k = blockIdx.x * ElementThreads + threadIdx.x;
    if (k >= arguments.channels) return;
    const double factor = arguments.gamma[k] / sqrt(static_cast<double>(arguments.variance[k]) + arguments.epsilon);
    const float shift = static_cast<float>(arguments.beta[k] - arguments.mean[k] * factor);
    arguments.scale[k] = static_cast<float>(factor);
    arguments.bias[k] = shift;
}

// db = sum of the chunks.
KERNEL(FinishThreads, bias_finish, BiasFinishArguments)
{
    SHARED(FinishShared, shared);
    const Column<FinishLanes> column;
    double sum = 0, unused = 0;
    if (column.channel < arguments.channels)
    {
#pragma unroll 4
        for (int chunk = column.strip; chunk < arguments.chunks; chunk += FinishStrips)
            sum += arguments.partials[static_cast<long long>(chunk) * 2 * arguments.channels + column.channel];
    }

    shared.add(column.strip, column.lane, sum, unused);
    if (column.strip == 0 && column.channel < arguments.channels) arguments.db[column.channel] = static_cast<float>(sum);
}

KERNEL(FinishThreads, batch_norm_backward_finish, BackwardFinishArguments)
{
    SHARED(FinishShared, shared);
    const Column<FinishLanes> column;
    const int channels = arguments.channels, k = column.channel;
    double sum = 0, slope = 0;
    if (k < channels)
    {
#pragma unroll 4
        for (int chunk = column.strip; chunk < arguments.chunks; chunk += FinishStrips)
        {
            const float* partial = arguments.partials + static_cast<long long>(chunk) * 2 * channels;
            sum += partial[k];
            slope += partial[channels + k];
        }
    }

    shared.add(column.strip, column.lane, sum, slope);
    if (column.strip != 0 || k >= channels) return;
    const double rows = static_cast<double>(arguments.rows);
    const double inverse = 1 / sqrt(static_cast<double>(arguments.variance[k]) + arguments.epsilon);
    arguments.dBeta[k] = static_cast<float>(sum);
    arguments.dGamma[k] = static_cast<float>(slope * inverse);
    arguments.meanError[k] = static_cast<float>(sum / rows);
    arguments.errorSlope[k] = static_cast<float>(slope * inverse * inverse / rows);
}

// The two vectors that the error of each element needs, from sums that several processes have added up.
KERNEL(ElementThreads, batch_norm_backward_means, BackwardMeansArguments)
{
    const int k = blockIdx.x * ElementThreads + threadIdx.x;
    if (k >= arguments.channels) return;
    const double rows = static_cast<double>(arguments.rows);
    const double inverse = 1 / sqrt(static_cast<double>(arguments.variance[k]) + arguments.epsilon);
    arguments.meanError[k] = static_cast<float>(arguments.dBeta[k] / rows);
    arguments.errorSlope[k] = static_cast<float>(arguments.dGamma[k] * inverse / rows);
}

// Names end in the type of activations and errors, and in the number of elements that a load takes.
KERNEL(ColumnThreads, batch_norm_statistics_fp32, ColumnSumsArguments<float>)
{
    SHARED(ColumnShared<>, shared);
    batch_norm_statistics(shared, arguments);
}

KERNEL(ColumnThreads, batch_norm_statistics_bf16, ColumnSumsArguments<bf16>)
{
    SHARED(ColumnShared<>, shared);
    batch_norm_statistics(shared, arguments);
}

KERNEL(ColumnThreads, column_sums_fp32, ColumnSumsArguments<float>)
{
    SHARED(ColumnShared<>, shared);
    column_sums(shared, arguments);
}

KERNEL(ColumnThreads, column_sums_bf16, ColumnSumsArguments<bf16>)
{
    SHARED(ColumnShared<>, shared);
    column_sums(shared, arguments);
}

KERNEL(ColumnThreads, batch_norm_backward_sums_fp32_1, BackwardSumsArguments<float>)
{
    SHARED(ColumnShared<>, shared);
    batch_norm_backward_sums<1>(shared, arguments);
}

KERNEL(ColumnThreads, batch_norm_backward_sums_bf16_1, BackwardSumsArguments<bf16>)
{
    SHARED(ColumnShared<>, shared);
    batch_norm_backward_sums<1>(shared, arguments);
}

KERNEL(ColumnThreads, batch_norm_backward_sums_bf16_2, BackwardSumsArguments<bf16>)
{
    SHARED(ColumnShared<2>, shared);
    batch_norm_backward_sums<2>(shared, arguments);
}

KERNEL(ElementThreads, channel_affine_fp32_4, ChannelAffineArguments<float>) { channel_affine<4>(arguments); }
KERNEL(ElementThreads, channel_affine_fp32_1, ChannelAffineArguments<float>) { channel_affine<1>(arguments); }
KERNEL(ElementThreads, channel_affine_bf16_8, ChannelAffineArguments<bf16>) { channel_affine<8>(arguments); }
KERNEL(ElementThreads, channel_affine_bf16_1, ChannelAffineArguments<bf16>) { channel_affine<1>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_fp32_4, BackwardApplyArguments<float>) { backward_apply<4>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_fp32_1, BackwardApplyArguments<float>) { backward_apply<1>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_bf16_8, BackwardApplyArguments<bf16>) { backward_apply<8>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_bf16_1, BackwardApplyArguments<bf16>) { backward_apply<1>(arguments); }
