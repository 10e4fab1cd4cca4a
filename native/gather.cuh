// A forward convolution and one residue class of a feedback convolution are the same operation, a gather: each output pixel sums
// over the input pixels under its taps. Gather describes both. The classes below load the operands of the tile products of
// product_tile.cuh: pixels, weights and errors from global memory, or mirror noise that is made in registers.
#pragma once

#include "random.cuh"
#include "tensor_product.cuh"

struct Gather
{
    int images, outputRows, outputColumns;             // the pixels that are computed
    int inputRows, inputColumns, channels;             // the tensor that is gathered from
    int step, originRow, originColumn, direction;      // input row = output row * step + originRow + direction * tap row
    int tapRows, tapColumns;                           // the taps of the gather
    int firstTap, tapRowStep, tapColumnStep;           // where they are in the filter: r*S + s of the first, and the steps

    __device__ __forceinline__ int depth() const { return tapRows * tapColumns * channels; }
    __device__ __forceinline__ int pixels() const { return images * outputRows * outputColumns; }
};

__device__ __forceinline__ Gather forward_gather(const ConvShape& s)
{
    return {s.N, s.P, s.Q, s.H, s.W, s.C, s.stride, -s.padding, -s.padding, 1, s.R, s.S, 0, s.S, 1};
}

// A position in the reduction: tap and channel, channels innermost.
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

// A position in the pixels of all images, in row-major order.
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

// Images in global memory.
template <class Element>
struct MemoryImages
{
    using Number = Element;

    const Number* data;
    long long length;  // elements of an image

    struct Image
    {
        const Number* data;
    };

    __device__ __forceinline__ Image open(int n) const { return {data + n * length}; }

    template <int Width>
    __device__ __forceinline__ void load(Staged<Number>& to, int at, const Image& image, int offset) const
    {
        to.template load<Width>(at, image.data + offset);
    }
};

// Images of mirror noise: image n is a sample of noise, made in registers.
template <class Element>
struct NoiseImages
{
    using Number = Element;

    MirrorNoise noise;
    long long firstSample;

    using Image = MirrorNoise::Sample;

    __device__ __forceinline__ Image open(int n) const { return noise.start(firstSample + n); }

    template <int Width>
    __device__ __forceinline__ void load(Staged<Number>& to, int at, const Image& image, int offset) const
    {
        to.round(at, noise.numbers<Width>(image, offset));
    }
};

// How the threads of a block divide the loads of an operand, which is Rows rows of Length contiguous elements: each thread loads 16
// bytes of every Step-th row.
template <class Number, int Length, int Rows>
struct ThreadLoads
{
    static constexpr int Count = WideOf<Number>, Threads = Length / Count, Step = TileThreads / Threads, Each = Rows / Step;

    // The calling thread's first element in a row, and its i-th row.
    __device__ static __forceinline__ int first() { return static_cast<int>(threadIdx.x) % Threads * Count; }
    __device__ static __forceinline__ int row(int i) { return static_cast<int>(threadIdx.x) / Threads + Step * i; }
};

// Left operand of a gather: rows are output pixels, the reduction runs over taps and channels. A thread loads consecutive depths
// of a row. A load takes Width elements; where that is more than one, it divides the number of channels, so that all elements of
// a load belong to one tap.
template <int Width, class Images>
class GatheredPixels
{
    using Number = typename Images::Number;
    using Loads = ThreadLoads<Number, TileDepth, TileRows>;

public:
    static constexpr Runs Order = Runs::AlongDepth;

    __device__ __forceinline__ GatheredPixels(const Images& images, const Gather& gather, int firstPixel) : images(images), gather(gather)
    {
        cursor.start(gather, Loads::first());
#pragma unroll
        for (int i = 0; i < Loads::Each; i++)
        {
            const int index = firstPixel + Loads::row(i);
            PixelCursor pixel;
            pixel.start(index < gather.pixels() ? index : 0, gather.outputRows, gather.outputColumns);
            image[i] = images.open(pixel.image);
            // Rows after the last pixel get an origin so far outside that every tap misses the image.
            originRow[i] = index < gather.pixels() ? pixel.row * gather.step + gather.originRow : -(1 << 30);
            originColumn[i] = pixel.column * gather.step + gather.originColumn;
        }
    }

    __device__ __forceinline__ void fetch()
    {
        TapCursor tap = cursor;
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) values[i] = {};
#pragma unroll
        for (int d = 0; d < Loads::Count; d += Width)
        {
            const int rowMove = gather.direction * tap.row, columnMove = gather.direction * tap.column;
#pragma unroll
            for (int i = 0; i < Loads::Each; i++)
            {
                const int h = originRow[i] + rowMove, w = originColumn[i] + columnMove;
                if (tap.inside(gather) && static_cast<unsigned>(h) < static_cast<unsigned>(gather.inputRows)
                    && static_cast<unsigned>(w) < static_cast<unsigned>(gather.inputColumns))
                    images.template load<Width>(values[i], d, image[i], (h * gather.inputColumns + w) * gather.channels + tap.channel);
            }

            if (Width < Loads::Count) tap.advance(gather, Width);
        }

        cursor.advance(gather, TileDepth);
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) operand.put_depths(Loads::row(i), Loads::first(), values[i]);
    }

private:
    const Images images;
    const Gather& gather;
    TapCursor cursor;
    typename Images::Image image[Loads::Each];
    int originRow[Loads::Each], originColumn[Loads::Each];
    Staged<Number> values[Loads::Each];
};

// Right operand of a gather: weights [tap][channel][columns], whose columns are contiguous. A thread loads consecutive columns of
// one depth.
template <class Number, int Width>
class WeightRows
{
    using Loads = ThreadLoads<Number, TileColumns, TileDepth>;

public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ WeightRows(const Number* weights, const Gather& gather, int columns, int firstColumn)
        : weights(weights), gather(gather), columns(columns), column(firstColumn + Loads::first())
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) cursor[i].start(gather, Loads::row(i));
    }

    __device__ __forceinline__ void fetch()
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++)
        {
            const Number* row = weights + (static_cast<long long>(cursor[i].filter_tap(gather)) * gather.channels + cursor[i].channel) * columns;
            values[i] = {};
#pragma unroll
            for (int j = 0; j < Loads::Count; j += Width)
            {
                if (cursor[i].inside(gather) && column + j < columns) values[i].template load<Width>(j, row + column + j);
            }

            cursor[i].advance(gather, TileDepth);
        }
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) operand.put_lines(Loads::first(), Loads::row(i), values[i]);
    }

private:
    const Number* weights;
    const Gather& gather;
    const int columns, column;
    TapCursor cursor[Loads::Each];
    Staged<Number> values[Loads::Each];
};

// The same operand from weights [tap][columns][channel], whose channels are contiguous: forward weights, read transposed. A thread
// loads consecutive depths of one column.
template <class Number, int Width>
class WeightColumns
{
    using Loads = ThreadLoads<Number, TileDepth, TileColumns>;

public:
    static constexpr Runs Order = Runs::AlongDepth;

    __device__ __forceinline__ WeightColumns(const Number* weights, const Gather& gather, int columns, int firstColumn)
        : weights(weights), gather(gather), columns(columns), firstColumn(firstColumn)
    {
        cursor.start(gather, Loads::first());
    }

    __device__ __forceinline__ void fetch()
    {
        TapCursor tap = cursor;
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) values[i] = {};
#pragma unroll
        for (int d = 0; d < Loads::Count; d += Width)
        {
            const Number* filter = weights + static_cast<long long>(tap.filter_tap(gather)) * columns * gather.channels + tap.channel;
#pragma unroll
            for (int i = 0; i < Loads::Each; i++)
            {
                const int column = firstColumn + Loads::row(i);
                if (tap.inside(gather) && column < columns)
                    values[i].template load<Width>(d, filter + static_cast<long long>(column) * gather.channels);
            }

            if (Width < Loads::Count) tap.advance(gather, Width);
        }

        cursor.advance(gather, TileDepth);
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) operand.put_depths(Loads::row(i), Loads::first(), values[i]);
    }

private:
    const Number* weights;
    const Gather& gather;
    const int columns, firstColumn;
    TapCursor cursor;
    Staged<Number> values[Loads::Each];
};

// Left operand of a weight gradient: rows are the inputs (tap, c) of a filter, the reduction runs over output pixels. A thread
// loads consecutive rows of one pixel.
template <int Width, class Images>
class InputPatches
{
    using Number = typename Images::Number;
    using Loads = ThreadLoads<Number, TileRows, TileDepth>;

public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ InputPatches(const Images& images, const ConvShape& shape, int firstRow, int firstPixel, int endPixel)
        : images(images), shape(shape), pixelIndex(firstPixel + Loads::row(0)), endPixel(endPixel)
    {
        const Gather gather = forward_gather(shape);
        TapCursor tap;
        tap.start(gather, firstRow + Loads::first());
#pragma unroll
        for (int j = 0; j < Loads::Count / Width; j++)
        {
            // Rows after the last input get a tap so far outside that it misses every image.
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
        for (int i = 0; i < Loads::Each; i++)
        {
            const bool inside = pixelIndex < endPixel;
            typename Images::Image image = images.open(inside ? pixel.image : 0);
            values[i] = {};
#pragma unroll
            for (int j = 0; j < Loads::Count; j += Width)
            {
                const int h = pixel.row * shape.stride + tapRow[j / Width], w = pixel.column * shape.stride + tapColumn[j / Width];
                if (inside && static_cast<unsigned>(h) < static_cast<unsigned>(shape.H) && static_cast<unsigned>(w) < static_cast<unsigned>(shape.W))
                    images.template load<Width>(values[i], j, image, (h * shape.W + w) * shape.C + channel[j / Width]);
            }

            pixelIndex += Loads::Step;
            pixel.advance(Loads::Step, shape.P, shape.Q);
        }
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) operand.put_lines(Loads::first(), Loads::row(i), values[i]);
    }

private:
    const Images images;
    const ConvShape& shape;
    PixelCursor pixel;
    int pixelIndex, endPixel;
    int tapRow[Loads::Count / Width], tapColumn[Loads::Count / Width], channel[Loads::Count / Width];
    Staged<Number> values[Loads::Each];
};

// Right operand of a weight gradient: the errors [pixel][K]. A thread loads consecutive columns of one pixel.
template <class Number, int Width>
class PixelErrors
{
    using Loads = ThreadLoads<Number, TileColumns, TileDepth>;

public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ PixelErrors(const Number* dy, int columns, int firstColumn, int firstPixel, int endPixel)
        : dy(dy), columns(columns), column(firstColumn + Loads::first()), pixel(firstPixel), endPixel(endPixel)
    {
    }

    __device__ __forceinline__ void fetch()
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++)
        {
            const int row = pixel + Loads::row(i);
            values[i] = {};
#pragma unroll
            for (int j = 0; j < Loads::Count; j += Width)
            {
                if (row < endPixel && column + j < columns) values[i].template load<Width>(j, dy + static_cast<long long>(row) * columns + column + j);
            }
        }

        pixel += TileDepth;
    }

    template <class Operand>
    __device__ __forceinline__ void store(Operand& operand) const
    {
#pragma unroll
        for (int i = 0; i < Loads::Each; i++) operand.put_lines(Loads::first(), Loads::row(i), values[i]);
    }

private:
    const Number* dy;
    const int columns, column;
    int pixel;
    const int endPixel;
    Staged<Number> values[Loads::Each];
};
