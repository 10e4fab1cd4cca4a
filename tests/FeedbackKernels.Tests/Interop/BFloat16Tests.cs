using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

public class BFloat16Tests
{
    [Theory]
    [InlineData(0f, 0x0000)]
    [InlineData(-0f, 0x8000)]
    [InlineData(1f, 0x3F80)]
    [InlineData(-3f, 0xC040)]
    [InlineData(1.00390625f, 0x3F80)] // half a step above an even number
    [InlineData(1.01171875f, 0x3F82)] // half a step above an odd one
    [InlineData(1.0039064f, 0x3F81)]
    [InlineData(float.MaxValue, 0x7F80)]
    [InlineData(3.3895314e38f, 0x7F7F)]
    [InlineData(float.NegativeInfinity, 0xFF80)]
    [InlineData(float.Epsilon, 0x0000)]
    [InlineData(9.1835e-41f, 0x0001)]
    public void Floats_go_to_the_nearest_and_ties_to_the_even(float value, int bits)
    {
        Assert.Equal(bits, ((BFloat16)value).Bits);
        Assert.Equal(bits, ((BFloat16)(double)value).Bits);
    }

    [Fact]
    public void Every_number_comes_back_and_every_NaN_stays_one()
    {
        for (int bits = 0; bits <= ushort.MaxValue; bits++)
        {
            BFloat16 number = BFloat16.FromBits((ushort)bits);
            float value = number;
            Assert.Equal((uint)bits << 16, BitConverter.SingleToUInt32Bits(value));
            if (float.IsNaN(value)) Assert.True(float.IsNaN((BFloat16)value));
            else Assert.Equal(bits, ((BFloat16)value).Bits);
        }

        Assert.True(float.IsNaN((BFloat16)BitConverter.UInt32BitsToSingle(0x7F800001)));
        Assert.True(float.IsNaN((BFloat16)double.NaN));
    }

    [Fact]
    public void Doubles_are_rounded_once()
    {
        // Just above the midpoint of two neighbours: rounding to float first would give the midpoint, which then rounds down to even.
        double above = 1 + 1 / 256.0 + 1 / (double)(1L << 40);
        Assert.Equal(0x3F80, ((BFloat16)(float)above).Bits);
        Assert.Equal(0x3F81, ((BFloat16)above).Bits);
        Assert.Equal(0xBF81, ((BFloat16)(-above)).Bits);
        Assert.Equal(0x3F81, ((BFloat16)(1 + 3 / 256.0 - 1 / (double)(1L << 40))).Bits);
        Assert.Equal(0x7F80, ((BFloat16)1e300).Bits);
        Assert.Equal(0x8000, ((BFloat16)(-1e-300)).Bits);
    }

    [Fact]
    public void A_buffer_holds_them()
    {
        using var backend = new ReferenceBackend();
        using DeviceBuffer buffer = backend.Allocate(5, "numbers", ElementType.BFloat16);
        BFloat16[] values = [(BFloat16)1f, (BFloat16)(-2.5f), (BFloat16)0.1f];
        backend.Upload<BFloat16>(values, buffer.Slice(1, 3));
        var result = new BFloat16[5];
        backend.Download<BFloat16>(buffer, result);
        Assert.Equal([default, .. values, default], result);
        Assert.Equal(buffer.Address + 2, buffer.Slice(1, 3).Address);
        Assert.Contains("BFloat16", Assert.Throws<ArgumentException>(() => backend.Upload<float>([1f], buffer)).Message);
    }
}
