using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

/// <summary>Every conversion against its index formula, in plain loops.</summary>
public sealed class TensorLayoutsTests
{
    // Sizes on both sides of vectors and squares: one, odd, whole, and more than the 64 of a square and the 1024 of a part.
    public static TheoryData<int, int, int, int> Sizes() => new()
    {
        { 1, 1, 1, 1 }, { 2, 3, 5, 7 }, { 3, 3, 32, 32 }, { 1, 64, 7, 7 }, { 65, 17, 3, 3 }, { 16, 16, 1, 1 }, { 130, 66, 1, 1 },
        { 64, 3, 7, 7 }, { 5, 129, 5, 5 }, { 3, 4, 5, 5 }, { 2, 2, 3, 3 }, { 4, 1, 3, 5 }, { 1, 3, 1, 1 }, { 1, 8, 33, 40 }, { 2, 1030, 1, 3 }, { 1, 2, 1031, 2 },
    };

    [Theory, MemberData(nameof(Sizes))]
    public void Images_move_to_channels_last(int n, int c, int h, int w) => Check(
        n * c * h * w, (s, d) => TensorLayouts.NchwToNhwc(s, d, n, c, h, w), (s, d) => TensorLayouts.NhwcToNchw(s, d, n, c, h, w),
        Each(n, c, h, w, (i, channel, row, column) => ((i * h + row) * w + column) * c + channel));

    [Theory, MemberData(nameof(Sizes))]
    public void Weights_move_to_the_forward_layout(int k, int c, int r, int s) => Check(
        k * c * r * s, (a, b) => TensorLayouts.OihwToForward(a, b, k, c, r, s), (a, b) => TensorLayouts.ForwardToOihw(a, b, k, c, r, s),
        Each(k, c, r, s, (output, input, row, column) => ((row * s + column) * c + input) * k + output));

    [Theory, MemberData(nameof(Sizes))]
    public void Weights_move_to_the_feedback_layout(int k, int c, int r, int s) => Check(
        k * c * r * s, (a, b) => TensorLayouts.OihwToFeedback(a, b, k, c, r, s), (a, b) => TensorLayouts.FeedbackToOihw(a, b, k, c, r, s),
        Each(k, c, r, s, (output, input, row, column) => ((row * s + column) * k + output) * c + input));

    // Of 8 MB on results are written past the caches if they are in whole lines: from the start of a line, and with 48 channels, or 176 x 256
    // pixels, in each row; 49 channels are not. The offset puts an array of any address on both sides of that.
    [Theory]
    [InlineData(48, true)]
    [InlineData(48, false)]
    [InlineData(49, true)]
    public unsafe void Large_images_move_to_channels_last_and_back(int c, bool startsLine)
    {
        const int h = 176, w = 256, slack = 32;
        int length = c * h * w;
        float[] foreign = Numbers(length), own = new float[length + slack], returned = new float[length + slack];
        fixed (float* to = own, back = returned)
        {
            Span<float> nhwc = Placed(to, length, startsLine), nchw = Placed(back, length, startsLine);
            TensorLayouts.NchwToNhwc(foreign, nhwc, 1, c, h, w);
            for (int channel = 0; channel < c; channel++)
            {
                for (int pixel = 0; pixel < h * w; pixel++)
                {
                    if (nhwc[pixel * c + channel] != foreign[channel * h * w + pixel]) Assert.Fail($"pixel {pixel}, channel {channel}");
                }
            }

            TensorLayouts.NhwcToNchw(nhwc, nchw, 1, c, h, w);
            Assert.True(nchw.SequenceEqual(foreign));
        }

        // Elements before and behind the tensors.
        Assert.Equal(slack, own.Count(number => number == 0));
        Assert.Equal(slack, returned.Count(number => number == 0));
    }

    private static unsafe Span<float> Placed(float* memory, int length, bool startsLine)
    {
        const int line = 16;
        int first = (int)(((nint)memory + 63 & ~63) - (nint)memory) / sizeof(float);
        return new Span<float>(memory + first + (startsLine ? 0 : line / 4), length);
    }

    [Theory]
    [InlineData(0, 1, 1, 1, "N*C*H*W")]
    [InlineData(1, -1, 1, 1, "N*C*H*W")]
    [InlineData(1, 1, 0, 1, "N*C*H*W")]
    [InlineData(1 << 15, 1 << 15, 1 << 15, 1, "N*C*H*W")]
    public void A_size_out_of_range_is_refused(int n, int c, int h, int w, string name) => Assert.Equal(
        name, Assert.Throws<ArgumentOutOfRangeException>(() => TensorLayouts.NchwToNhwc(new float[1], new float[1], n, c, h, w)).ParamName);

    [Theory]
    [InlineData(23, 24, "source", "has 23 elements, wanted R*S*C*K = 24")]
    [InlineData(24, 23, "destination", "has 23 elements, wanted R*S*C*K = 24")]
    public void A_short_span_is_refused(int source, int destination, string name, string message)
    {
        ArgumentException e = Assert.Throws<ArgumentException>(
            () => TensorLayouts.ForwardToOihw(new float[source], new float[destination], 2, 3, 2, 2));
        Assert.Equal(name, e.ParamName);
        Assert.Contains(message, e.Message);
    }

    [Fact]
    public void Spans_that_overlap_are_refused()
    {
        var numbers = new float[47];
        Assert.Equal("destination", Assert.Throws<ArgumentException>(
            () => TensorLayouts.OihwToFeedback(numbers.AsSpan(0, 24), numbers.AsSpan(23), 2, 3, 2, 2)).ParamName);
        Assert.All(numbers, number => Assert.Equal(0, number));
    }

    [Fact]
    public void Nothing_is_allocated()
    {
        float[] source = Numbers(65 * 17 * 9), destination = new float[source.Length];
        TensorLayouts.OihwToForward(source, destination, 65, 17, 3, 3);
        TensorLayouts.OihwToFeedback(source, destination, 65, 17, 3, 3);
        TensorLayouts.NchwToNhwc(source, destination, 1, 65, 17, 9);
        long before = GC.GetAllocatedBytesForCurrentThread();
        TensorLayouts.OihwToForward(source, destination, 65, 17, 3, 3);
        TensorLayouts.ForwardToOihw(source, destination, 65, 17, 3, 3);
        TensorLayouts.OihwToFeedback(source, destination, 65, 17, 3, 3);
        TensorLayouts.FeedbackToOihw(source, destination, 65, 17, 3, 3);
        TensorLayouts.NchwToNhwc(source, destination, 1, 65, 17, 9);
        TensorLayouts.NhwcToNchw(source, destination, 1, 65, 17, 9);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    private delegate void Conversion(ReadOnlySpan<float> source, Span<float> destination);

    /// <param name="length">Elements.</param>
    /// <param name="there">From the foreign layout.</param>
    /// <param name="back">To the foreign layout.</param>
    /// <param name="places">Place in the layout of this library of each element of the foreign one.</param>
    private static void Check(int length, Conversion there, Conversion back, int[] places)
    {
        // Elements behind the tensor must stay as they are.
        const int more = 3;
        float[] foreign = Numbers(length + more), own = Enumerable.Repeat(-1f, length + more).ToArray();
        there(foreign, own);
        for (int i = 0; i < length; i++) Assert.Equal(foreign[i], own[places[i]]);
        Assert.Equal([-1f, -1f, -1f], own[length..]);

        float[] returned = Enumerable.Repeat(-1f, length + more).ToArray();
        back(own, returned);
        Assert.Equal(foreign[..length], returned[..length]);
        Assert.Equal([-1f, -1f, -1f], returned[length..]);
    }

    private static float[] Numbers(int count) => [.. Enumerable.Range(1, count).Select(i => (float)i)];

    private static int[] Each(int a, int b, int c, int d, Func<int, int, int, int, int> place)
    {
        var places = new List<int>();
        for (int i = 0; i < a; i++)
        {
            for (int j = 0; j < b; j++)
            {
                for (int k = 0; k < c; k++)
                {
                    for (int l = 0; l < d; l++) places.Add(place(i, j, k, l));
                }
            }
        }

        return [.. places];
    }
}
