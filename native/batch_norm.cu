// Batch norm over [rows][channels], rows = N*P*Q. Sums over rows take two stages in a fixed order: blocks of 32 channels by
// 8 strips of a chunk of rows, then one thread a channel and strip over the chunks, in double precision.
#include "numbers.cuh"

constexpr int ChannelLanes = 32, Strips = 8, ColumnThreads = ChannelLanes * Strips, ElementThreads = 256;

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
    const int* counts;       // [chunks]: rows of each; or null, where a chunk has rowsPerChunk and the last one what is left
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

struct ColumnShared
{
    float first[Strips][ChannelLanes];
    float second[Strips][ChannelLanes];
};

struct ColumnSharedDouble
{
    double first[Strips][ChannelLanes];
    double second[Strips][ChannelLanes];
};

// A thread's place in a block of channels by strips, and the rows of its chunk.
struct Column
{
    int lane, strip, channel;
    long long firstRow, endRow;
};

__device__ __forceinline__ Column column_of(long long rows, int rowsPerChunk)
{
    Column column;
    column.lane = threadIdx.x % ChannelLanes;
    column.strip = threadIdx.x / ChannelLanes;
    column.channel = blockIdx.x * ChannelLanes + column.lane;
    column.firstRow = static_cast<long long>(blockIdx.y) * rowsPerChunk;
    column.endRow = rows - column.firstRow < rowsPerChunk ? rows : column.firstRow + rowsPerChunk;
    return column;
}

// Rows of a chunk that a strip visits: strip, strip + Strips, ...
__device__ __forceinline__ int rows_of_strip(long long chunkRows, int strip)
{
    return strip < chunkRows ? static_cast<int>((chunkRows - strip + Strips - 1) / Strips) : 0;
}

__device__ __forceinline__ float masked_error(float dy, float x, float y, float scale, float bias, bool reluAfter, bool hasY)
{
    if (!reluAfter) return dy;
    const float output = hasY ? y : fmaf(x, scale, bias);
    return output > 0 ? dy : 0;
}

// Adds the strips' two sums in order; true for the one thread of a channel that then has them.
template <class Shared, class Sum>
__device__ __forceinline__ bool add_strips(Shared& shared, const Column& column, Sum& first, Sum& second)
{
    shared.first[column.strip][column.lane] = first;
    shared.second[column.strip][column.lane] = second;
    __syncthreads();
    if (column.strip != 0) return false;
    for (int strip = 1; strip < Strips; strip++)
    {
        first += shared.first[strip][column.lane];
        second += shared.second[strip][column.lane];
    }

    return true;
}

// Mean and sum of squared deviations of each channel over a chunk, by Welford's recurrence on the distance from the chunk's
// first row, so that a mean far from zero costs no accuracy.
template <class Number>
__device__ __forceinline__ void batch_norm_statistics(ColumnShared& shared, const ColumnSumsArguments<Number>& arguments)
{
    const Column column = column_of(arguments.rows, arguments.rowsPerChunk);
    const long long chunkRows = column.endRow - column.firstRow;
    float origin = 0, mean = 0, squares = 0;
    if (column.channel < arguments.channels)
    {
        origin = load_number(arguments.x + column.firstRow * arguments.channels + column.channel);
        float count = 0;
        for (long long row = column.firstRow + column.strip; row < column.endRow; row += Strips)
        {
            const float x = load_number(arguments.x + row * arguments.channels + column.channel) - origin, difference = x - mean;
            count += 1;
            mean += difference / count;
            squares = fmaf(difference, x - mean, squares);
        }
    }

    shared.first[column.strip][column.lane] = mean;
    shared.second[column.strip][column.lane] = squares;
    __syncthreads();
    if (column.strip != 0 || column.channel >= arguments.channels) return;
    int merged = rows_of_strip(chunkRows, 0);
    for (int strip = 1; strip < Strips; strip++)
    {
        const int more = rows_of_strip(chunkRows, strip);
        if (more == 0) break;
        const float difference = shared.first[strip][column.lane] - mean, share = static_cast<float>(more) / (merged + more);
        mean = fmaf(difference, share, mean);
        squares += shared.second[strip][column.lane] + difference * difference * share * merged;
        merged += more;
    }

    float* partial = arguments.partials + static_cast<long long>(blockIdx.y) * 2 * arguments.channels;
    partial[column.channel] = origin + mean;
    partial[arguments.channels + column.channel] = squares;
}

// Sum over a chunk of rows of each channel.
template <class Number>
__device__ __forceinline__ void column_sums(ColumnShared& shared, const ColumnSumsArguments<Number>& arguments)
{
    const Column column = column_of(arguments.rows, arguments.rowsPerChunk);
    float sum = 0, unused = 0;
    if (column.channel < arguments.channels)
    {
        for (long long row = column.firstRow + column.strip; row < column.endRow; row += Strips)
            sum += load_number(arguments.x + row * arguments.channels + column.channel);
    }

    if (!add_strips(shared, column, sum, unused) || column.channel >= arguments.channels) return;
    arguments.partials[static_cast<long long>(blockIdx.y) * 2 * arguments.channels + column.channel] = sum;
}

// With dz = dy, masked where the ReLU after was off: sums of dz and of dz * (x - mean) over a chunk.
template <class Number>
__device__ __forceinline__ void batch_norm_backward_sums(ColumnShared& shared, const BackwardSumsArguments<Number>& arguments)
{
    const Column column = column_of(arguments.rows, arguments.rowsPerChunk);
    const int channels = arguments.channels, k = column.channel;
    float sum = 0, slope = 0;
    if (k < channels)
    {
        const float mean = arguments.mean[k], scale = arguments.scale[k], bias = arguments.bias[k];
        for (long long row = column.firstRow + column.strip; row < column.endRow; row += Strips)
        {
            const long long i = row * channels + k;
            const float x = load_number(arguments.x + i), y = arguments.y ? load_number(arguments.y + i) : 0;
            const float dz = masked_error(load_number(arguments.dy + i), x, y, scale, bias, arguments.reluAfter, arguments.y);
            sum += dz;
            slope = fmaf(dz, x - mean, slope);
        }
    }

    if (!add_strips(shared, column, sum, slope) || k >= channels) return;
    float* partial = arguments.partials + static_cast<long long>(blockIdx.y) * 2 * channels;
    partial[k] = sum;
    partial[channels + k] = slope;
}

// y = activation(x * scale + bias + residual). A block takes a run of rows, so that indices inside it fit 32 bits.
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

// dx = scale * (dz - meanError - (x - mean) * errorSlope), masked where the ReLU before was off; dResidual = dz.
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

}  // namespace

// Merges the chunks' statistics; moves the running ones.
KERNEL(ColumnThreads, batch_norm_finish, StatisticsFinishArguments)
{
    SHARED(ColumnSharedDouble, shared);
    const Column column = column_of(1, 1);
    const int channels = arguments.channels, k = column.channel;
    // Sums of deviations from the first chunk's mean, which is near every other's.
    double first = 0, second = 0, origin = 0;
    if (k < channels)
    {
        origin = arguments.partials[k];
        for (int chunk = column.strip; chunk < arguments.chunks; chunk += Strips)
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

    if (!add_strips(shared, column, first, second) || k >= channels) return;
    const double rows = static_cast<double>(arguments.rows), mean = origin + first / rows;
    double squares = second - first * first / rows;
    if (squares < 0) squares = 0;
    const double variance = squares / rows, momentum = arguments.momentum;
    arguments.mean[k] = static_cast<float>(mean);
    arguments.variance[k] = static_cast<float>(variance);
    if (arguments.runningMean)
        arguments.runningMean[k] = static_cast<float>((1 - momentum) * arguments.runningMean[k] + momentum * mean);
    if (arguments.runningVariance)
    {
        // One row has no unbiased variance; its biased one, 0, is the best there is.
        const double unbiased = arguments.rows > 1 ? squares / (rows - 1) : variance;
        arguments.runningVariance[k] = static_cast<float>((1 - momentum) * arguments.runningVariance[k] + momentum * unbiased);
    }
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
KERNEL(ColumnThreads, bias_finish, BiasFinishArguments)
{
    SHARED(ColumnSharedDouble, shared);
    const Column column = column_of(1, 1);
    double sum = 0, unused = 0;
    if (column.channel < arguments.channels)
    {
        for (int chunk = column.strip; chunk < arguments.chunks; chunk += Strips)
            sum += arguments.partials[static_cast<long long>(chunk) * 2 * arguments.channels + column.channel];
    }

    if (add_strips(shared, column, sum, unused) && column.channel < arguments.channels) arguments.db[column.channel] = static_cast<float>(sum);
}

KERNEL(ColumnThreads, batch_norm_backward_finish, BackwardFinishArguments)
{
    SHARED(ColumnSharedDouble, shared);
    const Column column = column_of(1, 1);
    const int channels = arguments.channels, k = column.channel;
    double sum = 0, slope = 0;
    if (k < channels)
    {
        for (int chunk = column.strip; chunk < arguments.chunks; chunk += Strips)
        {
            const float* partial = arguments.partials + static_cast<long long>(chunk) * 2 * channels;
            sum += partial[k];
            slope += partial[channels + k];
        }
    }

    if (!add_strips(shared, column, sum, slope) || k >= channels) return;
    const double rows = static_cast<double>(arguments.rows);
    const double inverse = 1 / sqrt(static_cast<double>(arguments.variance[k]) + arguments.epsilon);
    arguments.dBeta[k] = static_cast<float>(sum);
    arguments.dGamma[k] = static_cast<float>(slope * inverse);
    arguments.meanError[k] = static_cast<float>(sum / rows);
    arguments.errorSlope[k] = static_cast<float>(slope * inverse * inverse / rows);
}

// Names end in what activations and errors are stored in, and in the numbers that a load takes.
KERNEL(ColumnThreads, batch_norm_statistics_fp32, ColumnSumsArguments<float>)
{
    SHARED(ColumnShared, shared);
    batch_norm_statistics(shared, arguments);
}

KERNEL(ColumnThreads, batch_norm_statistics_bf16, ColumnSumsArguments<bf16>)
{
    SHARED(ColumnShared, shared);
    batch_norm_statistics(shared, arguments);
}

KERNEL(ColumnThreads, column_sums_fp32, ColumnSumsArguments<float>)
{
    SHARED(ColumnShared, shared);
    column_sums(shared, arguments);
}

KERNEL(ColumnThreads, column_sums_bf16, ColumnSumsArguments<bf16>)
{
    SHARED(ColumnShared, shared);
    column_sums(shared, arguments);
}

KERNEL(ColumnThreads, batch_norm_backward_sums_fp32, BackwardSumsArguments<float>)
{
    SHARED(ColumnShared, shared);
    batch_norm_backward_sums(shared, arguments);
}

KERNEL(ColumnThreads, batch_norm_backward_sums_bf16, BackwardSumsArguments<bf16>)
{
    SHARED(ColumnShared, shared);
    batch_norm_backward_sums(shared, arguments);
}

KERNEL(ElementThreads, channel_affine_fp32_4, ChannelAffineArguments<float>) { channel_affine<4>(arguments); }
KERNEL(ElementThreads, channel_affine_fp32_1, ChannelAffineArguments<float>) { channel_affine<1>(arguments); }
KERNEL(ElementThreads, channel_affine_bf16_8, ChannelAffineArguments<bf16>) { channel_affine<8>(arguments); }
KERNEL(ElementThreads, channel_affine_bf16_1, ChannelAffineArguments<bf16>) { channel_affine<1>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_fp32_4, BackwardApplyArguments<float>) { backward_apply<4>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_fp32_1, BackwardApplyArguments<float>) { backward_apply<1>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_bf16_8, BackwardApplyArguments<bf16>) { backward_apply<8>(arguments); }
KERNEL(ElementThreads, batch_norm_backward_apply_bf16_1, BackwardApplyArguments<bf16>) { backward_apply<1>(arguments); }
