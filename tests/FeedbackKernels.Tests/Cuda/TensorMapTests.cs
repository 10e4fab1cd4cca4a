using System.Runtime.InteropServices;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>Descriptions of tensors for the TMA: what the driver takes, what it refuses, and what is said then.</summary>
public class TensorMapTests
{
    private static readonly nint Address = unchecked((nint)0x7F00_0000_0040);

    [Fact]
    [EmulatedOnly("reads the tensor map of the emulated driver; that of a real driver is opaque")]
    public void A_description_is_kept_in_128_bytes()
    {
        TensorMap map = OnHopper(() => Encode());
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(new ReadOnlySpan<TensorMap>(in map));
        Assert.Equal(128, bytes.Length);
        // tests/emulated-driver/tensor_map.h: the address, and the sizes after it.
        Assert.Equal(Address, MemoryMarshal.Read<nint>(bytes[16..]));
        Assert.Equal([64UL, 14, 15, 3], MemoryMarshal.Cast<byte, ulong>(bytes[24..])[..4].ToArray());
    }

    [Fact]
    [EmulatedOnly("sets the compute capability of the device")]
    public void Devices_before_Hopper_have_none()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using var context = new CudaContext(0);
        using CudaContext.Scope scope = context.Enter();
        var e = Assert.Throws<CudaException>(() => Encode());
        Assert.Equal((801, "cuTensorMapEncodeTiled"), (e.Result, e.Call));
    }

    [Fact]
    public void What_the_hardware_cannot_do_is_refused_with_the_whole_description()
    {
        (string Expected, Func<TensorMap> Call)[] wrong =
        [
            ("no multiple of 16", () => Encode(address: Address + 8)),
            ("wanted a multiple of 16 below 2^40", () => Encode(strides: [136, 14 * 128, 15 * 14 * 128])),
            ("wanted a multiple of 16 below 2^40", () => Encode(strides: [128, 1UL << 40, 15 * 14 * 128])),
            ("boxDim[1] is 257", () => Encode(box: [64, 257, 1, 1])),
            ("boxDim[2] is 0", () => Encode(box: [64, 8, 0, 1])),
            ("boxDim[0] is 6 bytes, wanted a multiple of 16", () => Encode(box: [3, 8, 8, 1])),
            ("boxDim[0] is 128 bytes, the swizzle is of 64", () => Encode(swizzle: TensorMapSwizzle.Bytes64)),
            ("globalDim[3] is 0", () => Encode(sizes: [64, 14, 15, 0])),
            ("elementStrides[1] is 9", () => Encode(elementStrides: [1, 9, 1, 1])),
        ];
        foreach ((string expected, Func<TensorMap> call) in wrong)
        {
            CudaException e = OnHopper(() => Assert.Throws<CudaException>(() => call()));
            Assert.Equal(1, e.Result);
            // A real driver does not say what it found.
            if (CudaUnderTest.IsEmulated) Assert.Contains(expected, e.Message);
            Assert.Contains("a test: BFloat16 at 0x7f00000000", e.Message);
        }
    }

    [Fact]
    public void Steps_make_a_strided_box()
    {
        OnHopper(() => Encode(elementStrides: [1, 2, 2, 1]));
        Assert.Throws<ArgumentException>(() => Encode(box: [64, 8]));
        Assert.Throws<ArgumentException>(() => Encode(strides: [128]));
        Assert.Throws<ArgumentException>(() => Encode(elementStrides: [1]));
    }

    private static TensorMap Encode(
        nint? address = null, ulong[]? sizes = null, ulong[]? strides = null, uint[]? box = null, uint[]? elementStrides = null,
        TensorMapSwizzle swizzle = TensorMapSwizzle.Bytes128) => TensorMap.Tiled(
        TensorMapType.BFloat16, address ?? Address, sizes ?? [64, 14, 15, 3], strides ?? [128, 14 * 128, 15 * 14 * 128], box ?? [64, 8, 8, 1],
        elementStrides ?? [1, 1, 1, 1], swizzle, TensorMapPromotion.Bytes128, "a test");

    private static T OnHopper<T>(Func<T> call)
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using var context = new CudaContext(0);
        using CudaContext.Scope scope = context.Enter();
        return call();
    }
}
