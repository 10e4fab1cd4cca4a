using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Test inputs and the comparisons that go with them.</summary>
public static class Values
{
    /// <summary>
    /// Integers of few bits: every product and every partial sum of a test-sized reduction is exact in binary32, in any
    /// order, so a kernel equals the reference bit for bit or is wrong. About one in six is zero.
    /// </summary>
    public static float[] Integers(long length, uint stream, int bound = 3)
    {
        var numbers = new RandomSequence(new RandomKey(20190, RandomPurpose.User, stream));
        return [.. Enumerable.Range(0, checked((int)length)).Select(_ => (float)(numbers.NextInt(2 * bound + 1) - bound))];
    }

    /// <summary>Normal numbers.</summary>
    public static float[] Normal(long length, uint stream, float standardDeviation = 1)
    {
        var values = new float[length];
        new RandomKey(20191, RandomPurpose.User, stream).FillGaussian(values, standardDeviation);
        return values;
    }

    /// <summary>Equal as numbers; and not trusted where nearly everything is zero, because then little was computed.</summary>
    public static void AssertExact(float[] expected, float[] actual, double mostZeros = 0.9)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (expected[i] != actual[i])
                Assert.Fail($"element {i} of {expected.Length}: expected {expected[i]}, found {actual[i]}");
        }

        double zeros = expected.Count(v => v == 0) / (double)expected.Length;
        if (expected.Length >= 64) Assert.True(zeros <= mostZeros, $"{zeros:P0} of the results are zero: the test proves little");
    }

    /// <summary>
    /// Within the error of binary32 sums of <paramref name="terms"/> terms: eps * sqrt(terms), times a safety factor, times
    /// the largest result (rounding errors are random, so they grow with the root; a wrong term is far larger). Results that
    /// are stored as bf16 may besides fall on either side of the middle of two numbers, which few of them lie near.
    /// <para>The bound has room for tensor cores that truncate (tests/emulated-driver/tensor_core.h), on Ampere twice as much as on Hopper.
    /// What is cut off a product is less than eps of the largest number of its block of 8 and has the product's sign: at random
    /// sqrt(terms / 3) eps. The sum of a block is cut off towards zero by up to 2 eps of itself, and these errors add up: to terms / 4 eps at
    /// most, which the bound exceeds up to 1024 terms, and to about terms / 16 eps where a sum grows evenly from zero, which it exceeds
    /// up to 16,000 terms. The tests of tensor cores use about a tenth of it.</para>
    /// </summary>
    public static void AssertClose(
        float[] expected, float[] actual, double terms, double factor = 8, ElementType stored = ElementType.Float32)
    {
        Assert.Equal(expected.Length, actual.Length);
        double largest = expected.Max(v => Math.Abs((double)v));
        double bound = factor * Math.Pow(2, -24) * Math.Sqrt(terms) * Math.Max(largest, 1e-30);
        if (stored == ElementType.Float32) NoteMargin(expected, actual, bound);
        int besides = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double error = Math.Abs((double)expected[i] - actual[i]);
            if (error <= bound) continue;
            double step = stored == ElementType.BFloat16 ? Math.Pow(2, -7) * Math.Abs((double)expected[i]) : 0;
            if (!(error <= bound + step))
                Assert.Fail($"element {i} of {expected.Length}: expected {expected[i]:R}, found {actual[i]:R}, bound {bound + step:G3}");
            besides++;
        }

        if (stored == ElementType.BFloat16) NoteMargin("rounded the other way", besides / (2 + expected.Length / 16d));
        Assert.True(besides <= 2 + expected.Length / 16, $"{besides} of {expected.Length} results are rounded the other way: too many for chance");
    }

    /// <summary>
    /// Within the error of sums of products whose factors were rounded to bf16, 8 bits: each product is off by up to 2^-8 of
    /// itself, at random, so a sum by a fraction of that of the largest. A result that is stored as bf16 is off by up to 2^-8 of
    /// itself besides. Truncating tensor cores add less than 2^-24 for each 4 terms (see <see cref="AssertClose"/>): nothing beside this.
    /// </summary>
    public static void AssertCloseInBf16(float[] expected, float[] actual, ElementType stored = ElementType.Float32)
    {
        Assert.Equal(expected.Length, actual.Length);
        double sums = Math.Pow(2, -8) * expected.Max(v => Math.Abs((double)v));
        if (stored == ElementType.Float32) NoteMargin(expected, actual, sums);
        for (int i = 0; i < expected.Length; i++)
        {
            double error = Math.Abs((double)expected[i] - actual[i]);
            double bound = stored == ElementType.BFloat16 ? sums + Math.Pow(2, -8) * Math.Abs((double)expected[i]) : sums;
            if (!(error <= bound)) Assert.Fail($"element {i} of {expected.Length}: expected {expected[i]:R}, found {actual[i]:R}, bound {bound:G3}");
        }
    }

    /// <summary>At most so many representable numbers apart.</summary>
    public static void AssertNeighbours(float[] expected, float[] actual, int steps)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            long apart = Math.Abs((long)BitConverter.SingleToInt32Bits(expected[i]) - BitConverter.SingleToInt32Bits(actual[i]));
            if (apart > steps) Assert.Fail($"element {i} of {expected.Length}: expected {expected[i]:R}, found {actual[i]:R}, {apart} steps apart");
        }
    }

    public static void AssertSameBits(float[] expected, float[] actual) =>
        Assert.Equal(expected.Select(BitConverter.SingleToUInt32Bits), actual.Select(BitConverter.SingleToUInt32Bits));

    private static readonly Lock MarginLock = new();

    /// <summary>Appends to the file that the environment variable <c>FEEDBACK_MARGINS</c> names which part of a tolerance a test has
    /// used.</summary>
    internal static void NoteMargin(string what, double used)
    {
        if (Environment.GetEnvironmentVariable("FEEDBACK_MARGINS") is not { Length: > 0 } file) return;
        lock (MarginLock) File.AppendAllText(file, $"{used:F4} {what}, {TestContext.Current.Test?.TestDisplayName}\n");
    }

    private static void NoteMargin(float[] expected, float[] actual, double bound) =>
        NoteMargin("error", expected.Zip(actual, (e, a) => Math.Abs((double)e - a)).Max() / bound);
}
