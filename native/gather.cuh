// Forward and feedback convolution as one operation: an output pixel gathers the input pixels under its taps. They differ
// in how far an output step moves the taps, in the direction of the taps, and in which taps of the filter take part.
#pragma once

#include "random.cuh"
#include "tensor_product.cuh"

struct Gather
{
    int images, outputRows, outputColumns;             // of the pixels that are computed
    int inputRows, inputColumns, channels;             // of what is gathered
    int step, originRow, originColumn, direction;      // input row = output row * step + originRow + direction * tap row
    int tapRows, tapColumns;                           // taps that take part
    int firstTap, tapRowStep, tapColumnStep;           // and which taps of the filter they are

    __device__ __forceinline__ int depth() const { return tapRows * tapColumns * channels; }
    __device__ __forceinline__ int pixels() const { return images * outputRows * outputColumns; }
};

__device__ __forceinline__ Gather forward_gather(const ConvShape& s)
{
    return {s.N, s.P, s.Q, s.H, s.W, s.C, s.stride, -s.padding, -s.padding, 1, s.R, s.S, 0, s.S, 1};
}

// A place in the reduction: tap and channel, channels innermost.
struct TapCursor
{
    int row, column, channel;

    __device__ __forceinline__ void start(const Gather& gather, int depth)
    {
        row = column = 0;
        channel = depth;
        carry(gather);
    }

    __device__ __forceinline__ void advance(const Gather& gather, int by)
    {
        channel += by;
        if (channel >= gather.channels) carry(gather);
    }

    __device__ __forceinline__ bool inside(const Gather& gather) const { return row < gather.tapRows; }

    __device__ __forceinline__ int filter_tap(const Gather& gather) const
    {
        return gather.firstTap + row * gather.tapRowStep + column * gather.tapColumnStep;
    }

private:
    __device__ __forceinline__ void carry(const Gather& gather)
    {
        const int taps = channel / gather.channels;
        channel -= taps * gather.channels;
        column += taps;
        if (column >= gather.tapColumns)
        {
            const int rows = column / gather.tapColumns;
            column -= rows * gather.tapColumns;
            row += rows;
        }
    }
};

// A pixel of a row-major run of them over all images.
struct PixelCursor
{
    int image, row, column;

    __device__ __forceinline__ void start(int index, int rows, int columns)
    {
        image = row = 0;
        column = index;
        carry(rows, columns);
    }

    __device__ __forceinline__ void advance(int by, int rows, int columns)
    {
        column += by;
        if (column >= columns) carry(rows, columns);
    }

private:
    __device__ __forceinline__ void carry(int rows, int columns)
    {
        const int more = column / columns;
        column -= more * columns;
        row += more;
        if (row >= rows)
        {
            const int images = row / rows;
            row -= images * rows;
            image += images;
        }
    }
};

// Images in memory.
struct MemoryImages
{
    const float* data;
    long long length;  // floats in an image

    struct Image
    {
        const float* data;
    };

    __device__ __forceinline__ Image open(int n) const { return {data + n * length}; }

    template <int Width>
    __device__ __forceinline__ Lanes<Width> load(const Image& image, int offset) const
    {
        return load_lanes<Width>(image.data + offset);
    }
};

// Images of mirror noise, one sample each, made on the way.
struct NoiseImages
{
    MirrorNoise noise;
    long long firstSample;

    using Image = MirrorNoise::Sample;

    __device__ __forceinline__ Image open(int n) const { return noise.start(firstSample + n); }

    template <int Width>
    __device__ __forceinline__ Lanes<Width> load(const Image& image, int offset) const
    {
        return noise.numbers<Width>(image, offset);
    }
};

// Left operand of a gather: rows are output pixels, the reduction runs over taps and channels. Each thread fetches 4
// consecutive reduction indices of rows t/4, t/4 + 32, ... With Width 4 the channels come in fours, so the 4 lie in a tap.
template <int Width, class Images>
class GatheredPixels
{
public:
    static constexpr Runs Order = Runs::AlongDepth;

    __device__ __forceinline__ GatheredPixels(const Images& images, const Gather& gather, int firstPixel) : images(images), gather(gather)
    {
        cursor.start(gather, threadIdx.x % 4 * 4);
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            const int index = firstPixel + threadIdx.x / 4 + 32 * i;
            PixelCursor pixel;
            pixel.start(index < gather.pixels() ? index : 0, gather.outputRows, gather.outputColumns);
            image[i] = images.open(pixel.image);
            // A row beyond the last pixel gets an origin that no tap brings back into the image.
            originRow[i] = index < gather.pixels() ? pixel.row * gather.step + gather.originRow : -(1 << 30);
            originColumn[i] = pixel.column * gather.step + gather.originColumn;
        }
    }

    __device__ __forceinline__ void fetch()
    {
        TapCursor tap = cursor;
#pragma unroll
        for (int d = 0; d < 4; d += Width)
        {
            const int rowMove = gather.direction * tap.row, columnMove = gather.direction * tap.column;
#pragma unroll
            for (int i = 0; i < 4; i++)
            {
                const int h = originRow[i] + rowMove, w = originColumn[i] + columnMove;
                Lanes<Width> lanes = {};
                if (tap.inside(gather) && static_cast<unsigned>(h) < static_cast<unsigned>(gather.inputRows)
                    && static_cast<unsigned>(w) < static_cast<unsigned>(gather.inputColumns))
                    lanes = images.template load<Width>(image[i], (h * gather.inputColumns + w) * gather.channels + tap.channel);
#pragma unroll
                for (int j = 0; j < Width; j++) values[i][d + j] = lanes.at[j];
            }

            if (Width < 4) tap.advance(gather, Width);
        }

        cursor.advance(gather, TileDepth);
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < 4; i++) operand.put_depths(threadIdx.x / 4 + 32 * i, threadIdx.x % 4 * 4, values[i]);
    }

private:
    const Images images;
    const Gather& gather;
    TapCursor cursor;
    typename Images::Image image[4];
    int originRow[4], originColumn[4];
    float values[4][4];
};

// Right operand of a gather: weights whose columns lie side by side in memory, [tap][channel][columns]. Each thread fetches
// 4 columns of reduction indices t/16 and t/16 + 8.
template <int Width>
class WeightRows
{
public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ WeightRows(const float* weights, const Gather& gather, int columns, int firstColumn)
        : weights(weights), gather(gather), columns(columns), column(firstColumn + threadIdx.x % 16 * 4)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) cursor[i].start(gather, threadIdx.x / 16 + 8 * i);
    }

    __device__ __forceinline__ void fetch()
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
        {
            const float* row = weights + (static_cast<long long>(cursor[i].filter_tap(gather)) * gather.channels + cursor[i].channel) * columns;
#pragma unroll
            for (int j = 0; j < 4; j += Width)
            {
                Lanes<Width> lanes = {};
                if (cursor[i].inside(gather) && column + j < columns) lanes = load_lanes<Width>(row + column + j);
#pragma unroll
                for (int l = 0; l < Width; l++) values[i][j + l] = lanes.at[l];
            }

            cursor[i].advance(gather, TileDepth);
        }
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < 2; i++) operand.put_lines(threadIdx.x % 16 * 4, threadIdx.x / 16 + 8 * i, values[i]);
    }

private:
    const float* weights;
    const Gather& gather;
    const int columns, column;
    TapCursor cursor[2];
    float values[2][4];
};

// The same operand from weights whose reduction channels lie side by side, [tap][columns][channel]: the forward weights read
// transposed. Each thread fetches 4 reduction indices of columns t/4 and t/4 + 32.
template <int Width>
class WeightColumns
{
public:
    static constexpr Runs Order = Runs::AlongDepth;

    __device__ __forceinline__ WeightColumns(const float* weights, const Gather& gather, int columns, int firstColumn)
        : weights(weights), gather(gather), columns(columns), column(firstColumn + threadIdx.x / 4)
    {
        cursor.start(gather, threadIdx.x % 4 * 4);
    }

    __device__ __forceinline__ void fetch()
    {
        TapCursor tap = cursor;
#pragma unroll
        for (int d = 0; d < 4; d += Width)
        {
            const float* filter = weights + static_cast<long long>(tap.filter_tap(gather)) * columns * gather.channels + tap.channel;
#pragma unroll
            for (int i = 0; i < 2; i++)
            {
                Lanes<Width> lanes = {};
                if (tap.inside(gather) && column + 32 * i < columns)
                    lanes = load_lanes<Width>(filter + static_cast<long long>(column + 32 * i) * gather.channels);
#pragma unroll
                for (int j = 0; j < Width; j++) values[i][d + j] = lanes.at[j];
            }

            if (Width < 4) tap.advance(gather, Width);
        }

        cursor.advance(gather, TileDepth);
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < 2; i++) operand.put_depths(threadIdx.x / 4 + 32 * i, threadIdx.x % 4 * 4, values[i]);
    }

private:
    const float* weights;
    const Gather& gather;
    const int columns, column;
    TapCursor cursor;
    float values[2][4];
};

// Left operand of a weight gradient: rows are the inputs (tap, c) of a filter, the reduction runs over output pixels. Each
// thread fetches 4 consecutive rows of pixels t/32, t/32 + 4, ...
template <int Width, class Images>
class InputPatches
{
public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ InputPatches(const Images& images, const ConvShape& shape, int firstRow, int firstPixel, int endPixel)
        : images(images), shape(shape), pixelIndex(firstPixel + threadIdx.x / 32), endPixel(endPixel)
    {
        const Gather gather = forward_gather(shape);
        TapCursor tap;
        tap.start(gather, firstRow + threadIdx.x % 32 * 4);
#pragma unroll
        for (int j = 0; j < 4 / Width; j++)
        {
            // A row beyond the last input gets a tap that lies outside every image.
            tapRow[j] = tap.inside(gather) ? tap.row - shape.padding : -(1 << 30);
            tapColumn[j] = tap.column - shape.padding;
            channel[j] = tap.channel;
            tap.advance(gather, Width);
        }

        pixel.start(pixelIndex, shape.P, shape.Q);
    }

    __device__ __forceinline__ void fetch()
    {
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            const bool inside = pixelIndex < endPixel;
            typename Images::Image image = images.open(inside ? pixel.image : 0);
#pragma unroll
            for (int j = 0; j < 4; j += Width)
            {
                const int h = pixel.row * shape.stride + tapRow[j / Width], w = pixel.column * shape.stride + tapColumn[j / Width];
                Lanes<Width> lanes = {};
                if (inside && static_cast<unsigned>(h) < static_cast<unsigned>(shape.H) && static_cast<unsigned>(w) < static_cast<unsigned>(shape.W))
                    lanes = images.template load<Width>(image, (h * shape.W + w) * shape.C + channel[j / Width]);
#pragma unroll
                for (int l = 0; l < Width; l++) values[i][j + l] = lanes.at[l];
            }

            pixelIndex += 4;
            pixel.advance(4, shape.P, shape.Q);
        }
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < 4; i++) operand.put_lines(threadIdx.x % 32 * 4, threadIdx.x / 32 + 4 * i, values[i]);
    }

private:
    const Images images;
    const ConvShape& shape;
    PixelCursor pixel;
    int pixelIndex, endPixel;
    int tapRow[4 / Width], tapColumn[4 / Width], channel[4 / Width];
    float values[4][4];
};

// Right operand of a weight gradient: the errors [pixel][K]. Each thread fetches 4 columns of pixels t/16 and t/16 + 8.
template <int Width>
class PixelErrors
{
public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ PixelErrors(const float* dy, int columns, int firstColumn, int firstPixel, int endPixel)
        : dy(dy), columns(columns), column(firstColumn + threadIdx.x % 16 * 4), pixel(firstPixel + threadIdx.x / 16), endPixel(endPixel)
    {
    }

    __device__ __forceinline__ void fetch()
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
        {
            const float* row = dy + static_cast<long long>(pixel + 8 * i) * columns + column;
#pragma unroll
            for (int j = 0; j < 4; j += Width)
            {
                Lanes<Width> lanes = {};
                if (pixel + 8 * i < endPixel && column + j < columns) lanes = load_lanes<Width>(row + j);
#pragma unroll
                for (int l = 0; l < Width; l++) values[i][j + l] = lanes.at[l];
            }
        }

        pixel += TileDepth;
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < 2; i++) operand.put_lines(threadIdx.x % 16 * 4, threadIdx.x / 16 + 8 * i, values[i]);
    }

private:
    const float* dy;
    const int columns, column;
    int pixel;
    const int endPixel;
    float values[2][4];
};
