using System.Runtime.InteropServices;
using FeedbackKernels.Interop;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>Addresses and memory formats of tensors.</summary>
internal static partial class TensorMemory
{
    /// <summary>The elements of a dense Float32 tensor. The caller keeps the tensor alive while they are used.</summary>
    public static BufferView View(this Tensor tensor) => BufferView.FromPointer(Address(tensor), tensor.numel());

    /// <summary>Address of the first element, the storage offset included.</summary>
    public static nint Address(this Tensor tensor)
    {
        nint address = Data(tensor.Handle);
        CheckForErrors();
        return address;
    }

    /// <summary>Whether the elements lie in the order NHWC, without gaps. Sizes of 1 may have any stride.</summary>
    public static bool IsDenseNhwc(this Tensor map)
    {
        long[] sizes = map.shape, strides = map.stride();
        long wanted = 1;
        foreach (int dimension in (ReadOnlySpan<int>)[1, 3, 2, 0])
        {
            if (sizes[dimension] != 1 && strides[dimension] != wanted) return false;
            wanted *= sizes[dimension];
        }

        return true;
    }

    /// <summary>
    /// Whether PyTorch takes a 4D tensor for channels_last, which decides the format of results: the strides are in this order, with gaps
    /// or without. A tensor whose strides fit both formats counts as contiguous (c10::is_channels_last_strides_2d).
    /// </summary>
    public static bool SuggestsChannelsLast(this Tensor map)
    {
        if (map.dim() != 4) return false;
        long[] sizes = map.shape, strides = map.stride();
        if (strides[1] == 0) return false;
        long least = 0;
        foreach (int dimension in (ReadOnlySpan<int>)[1, 3, 2, 0])
        {
            if (sizes[dimension] == 0 || strides[dimension] < least || (dimension == 0 && least == strides[1])) return false;
            least = strides[dimension] * Math.Max(sizes[dimension], 1);
        }

        return true;
    }

    /// <summary>A new tensor, not a view: results of a function that are views cannot be changed in place, as ReLU(inplace: true) does.</summary>
    public static Tensor NewMap(ReadOnlySpan<long> sizes, bool channelsLast, Device device)
    {
        if (!channelsLast) return empty([.. sizes], dtype: ScalarType.Float32, device: device);
        long c = sizes[1], h = sizes[2], w = sizes[3];
        return empty_strided([.. sizes], [h * w * c, 1, w * c, c], dtype: ScalarType.Float32, device: device);
    }

    /// <summary>Checks what the kernels cannot do without.</summary>
    /// <exception cref="ArgumentException">The tensor is not Float32, or not on the wanted device.</exception>
    public static void RequireFloat32(this Tensor tensor, string what, Device? device = null)
    {
        if (tensor.dtype != ScalarType.Float32)
            throw new ArgumentException($"{what} has the type {tensor.dtype}; feedback layers compute in Float32 only");
        if (device is not null && (tensor.device_type != device.type || tensor.device_index != device.index))
            throw new ArgumentException($"{what} is on {tensor.device}, the input on {device}");
    }

    // The same entry point that TorchSharp's own accessors call, which are for CPU tensors and contiguous ones only.
    [LibraryImport("LibTorchSharp", EntryPoint = "THSTensor_data")]
    private static partial nint Data(nint tensor);
}
