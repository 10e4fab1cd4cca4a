using System.Globalization;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>What the tensors of a checked convolution contain.</summary>
internal enum Operands
{
    /// <summary>Integers from -2 to 2: every sum is exact in binary32, in any order and by tensor cores that truncate, so that all kernels
    /// give the same number.</summary>
    Integers,

    /// <summary>Normal numbers, which use all bits of a significand; sums differ by their rounding.</summary>
    Normal,
}

/// <summary>What is computed, each with all kernels that can.</summary>
internal enum CheckedPass
{
    /// <summary>y, and its mean and variance for a batch norm.</summary>
    Forward,

    /// <summary>dx by B.</summary>
    Feedback,

    /// <summary>dx by W, read transposed, added to what dx contains.</summary>
    FeedbackByW,

    /// <summary>dW.</summary>
    WeightGradient,
}

/// <summary>Two kernels that compute the same.</summary>
/// <param name="Kernel">The one that comes first in the list.</param>
/// <param name="Other">The one that it is compared with.</param>
/// <param name="LargestError">The largest difference of two elements.</param>
/// <param name="Bound">How far the largest elements may be apart by rounding.</param>
/// <param name="FirstWrong">The first element that differs by more than rounding; null where there is none.</param>
internal sealed record CheckedPair(string Kernel, string Other, double LargestError, double Bound, string? FirstWrong);

/// <summary>The tensors of one convolution on the device and on the CPU, and the comparison of the kernels that compute it.</summary>
internal sealed class CheckedConvolution : IDisposable
{
    private const string OnCpu = "cpu";

    private readonly CudaBackend _cuda;
    private readonly CpuBackend _cpu;
    private readonly ConvShape _shape;
    private readonly Operands _operands;
    private readonly ElementType _type;
    private readonly Both _x, _w, _b, _dy, _sum;

    public CheckedConvolution(CudaBackend cuda, CpuBackend cpu, in ConvShape shape, Operands operands)
    {
        (_cuda, _cpu, _shape, _operands, _type) = (cuda, cpu, shape, operands, cuda.ActivationType);
        _x = Put(shape.InputLength, 1);
        _w = Put(shape.WeightLength, 2);
        _b = Put(shape.WeightLength, 3);
        _dy = Put(shape.OutputLength, 4);
        _sum = Put(shape.InputLength, 5);
    }

    /// <summary>Compares each kernel that serves a pass with the next one, and the last with the CPU.</summary>
    public IEnumerable<CheckedPair> Compare(CheckedPass pass)
    {
        ConvPass asked = pass switch
        {
            CheckedPass.Forward => ConvPass.Forward,
            CheckedPass.WeightGradient => ConvPass.WeightGradient,
            _ => ConvPass.Feedback,
        };
        ConvRequest request = ConvRequest.Of(_shape, asked, _type);
        CudaConvKernel[] kernels = [.. CudaConvKernels.List.Where(kernel => kernel.Refusal(_cuda, request) is null)];
        (string Name, float[][] Results) before = default;
        foreach (CudaConvKernel kernel in kernels)
        {
            float[][] results = RunOnDevice(pass, kernel.Prepare(_cuda, request));
            if (before.Name is not null) yield return Compare(pass, before, (kernel.Name, results));
            before = (kernel.Name, results);
        }

        yield return Compare(pass, before, (OnCpu, RunOnCpu(pass)));
    }

    public void Dispose()
    {
        foreach (Both both in (Both[])[_x, _w, _b, _dy, _sum])
        {
            both.Device.Dispose();
            both.Host.Dispose();
        }
    }

    // What a pass gives: the result, and for a forward convolution mean and variance.
    private float[][] RunOnDevice(CheckedPass pass, CudaConvolution convolution)
    {
        switch (pass)
        {
            case CheckedPass.Forward:
                {
                    using DeviceBuffer y = Output(_cuda, _shape.OutputLength, _type), mean = Output(_cuda, _shape.K), variance = Output(_cuda, _shape.K);
                    convolution.Forward(_x.Device, _w.Device, y, new ConvEpilogue(Statistics: new BatchStatistics(mean, variance)));
                    return [_cuda.Download(y), _cuda.Download(mean), _cuda.Download(variance)];
                }

            case CheckedPass.Feedback:
                {
                    using DeviceBuffer dx = Output(_cuda, _shape.InputLength, _type);
                    convolution.Feedback(_dy.Device, _b.Device, FeedbackLayout.Feedback, dx, accumulate: false);
                    return [_cuda.Download(dx)];
                }

            case CheckedPass.FeedbackByW:
                {
                    using DeviceBuffer dx = _cuda.Allocate(_shape.InputLength, "dx", _type);
                    _cuda.UploadFloats(_sum.Values, dx);
                    convolution.Feedback(_dy.Device, _w.Device, FeedbackLayout.Forward, dx, accumulate: true);
                    return [_cuda.Download(dx)];
                }

            default:
                {
                    using DeviceBuffer dw = Output(_cuda, _shape.WeightLength);
                    convolution.WeightGradient(_x.Device, _dy.Device, dw);
                    return [_cuda.Download(dw)];
                }
        }
    }

    private float[][] RunOnCpu(CheckedPass pass)
    {
        switch (pass)
        {
            case CheckedPass.Forward:
                {
                    using DeviceBuffer y = Output(_cpu, _shape.OutputLength), mean = Output(_cpu, _shape.K), variance = Output(_cpu, _shape.K);
                    _cpu.ConvForward(_shape, _x.Host, _w.Host, y);
                    // Statistics are those of the stored result.
                    float[] stored = Stored(_cpu.Download(y));
                    _cpu.UploadFloats(stored, y);
                    _cpu.BatchNormStatistics(_shape.OutputLength / _shape.K, _shape.K, y, new BatchStatistics(mean, variance));
                    return [stored, _cpu.Download(mean), _cpu.Download(variance)];
                }

            case CheckedPass.Feedback:
                {
                    using DeviceBuffer dx = Output(_cpu, _shape.InputLength);
                    _cpu.ConvFeedback(_shape, _dy.Host, _b.Host, FeedbackLayout.Feedback, dx);
                    return [Stored(_cpu.Download(dx))];
                }

            case CheckedPass.FeedbackByW:
                {
                    using DeviceBuffer dx = _cpu.Allocate(_shape.InputLength, "dx");
                    _cpu.UploadFloats(_sum.Values, dx);
                    _cpu.ConvFeedback(_shape, _dy.Host, _w.Host, FeedbackLayout.Forward, dx, accumulate: true);
                    return [Stored(_cpu.Download(dx))];
                }

            default:
                {
                    using DeviceBuffer dw = Output(_cpu, _shape.WeightLength);
                    _cpu.ConvWeightGradient(_shape, _x.Host, _dy.Host, dw);
                    return [_cpu.Download(dw)];
                }
        }
    }

    private CheckedPair Compare(CheckedPass pass, (string Name, float[][] Results) one, (string Name, float[][] Results) other)
    {
        double largest = 0, widest = 0;
        string? first = null;
        string[] names = pass switch
        {
            CheckedPass.Forward => ["y", "mean", "variance"],
            CheckedPass.WeightGradient => ["dW"],
            _ => ["dx"],
        };
        int[][] sizes = pass switch
        {
            CheckedPass.Forward => [[_shape.N, _shape.P, _shape.Q, _shape.K], [_shape.K], [_shape.K]],
            CheckedPass.WeightGradient => [[_shape.R, _shape.S, _shape.C, _shape.K]],
            _ => [[_shape.N, _shape.H, _shape.W, _shape.C]],
        };
        for (int i = 0; i < names.Length; i++)
        {
            float[] a = one.Results[i], b = other.Results[i];
            Tolerance tolerance = i == 0 ? OfSums(pass) : OfStatistics(one.Results[0], isVariance: i == 2);
            for (int k = 0; k < a.Length; k++)
            {
                double error = Math.Abs((double)a[k] - b[k]), bound = tolerance.Of(a[k], b[k]);
                largest = Math.Max(largest, error);
                widest = Math.Max(widest, bound);
                // Also where one is not a number.
                if (error <= bound || first is not null) continue;
                first = string.Create(
                    CultureInfo.InvariantCulture,
                    $"{names[i]}[{string.Join(',', Place(k, sizes[i]))}] (element {k} of {a.Length}) is {a[k]:R} by {one.Name} and {b[k]:R} by {other.Name}, {error:G3} apart, the bound is {bound:G3}");
            }
        }

        return new CheckedPair(one.Name, other.Name, largest, widest, first);
    }

    /// <summary>
    /// How far two sums of the same products may be apart. A kernel adds them to a partial sum in binary32, whose size is that of a random
    /// walk, at most four standard deviations of the whole sum; tensor cores truncate, by up to 2^-23 of it and all in one direction. A tensor
    /// core adds 4 products or more at once, so that there are at most a quarter as many additions; the errors of additions one by one
    /// (FMA, which rounds) grow with the root of their number only. There are two such sums. Where a result is stored as bf16, it can besides
    /// fall on either side of the middle of two numbers, which are 2^-7 of them apart at most. Sums of integers are exact.
    /// </summary>
    private Tolerance OfSums(CheckedPass pass)
    {
        if (_operands == Operands.Integers) return default;
        double terms = pass switch
        {
            CheckedPass.Forward => (double)_shape.R * _shape.S * _shape.C,
            CheckedPass.WeightGradient => (double)_shape.N * _shape.P * _shape.Q,
            _ => (double)_shape.R * _shape.S * _shape.K,
        };
        double additions = Math.Max(4, Math.Max(terms / 4, Math.Sqrt(terms)));
        bool stored = pass != CheckedPass.WeightGradient && _type == ElementType.BFloat16;
        return new Tolerance(2 * Math.Pow(2, -23) * additions * 4 * Math.Sqrt(terms), stored ? Math.Pow(2, -7) : 0);
    }

    /// <summary>Means and variances of stored results: of merged parts, each rounded by 2^-24 of what it has, at random, in two kernels; with a
    /// factor of four for chance. Where two results are stored differently, their statistics differ by that.</summary>
    private Tolerance OfStatistics(float[] y, bool isVariance)
    {
        double largest = 0;
        foreach (float value in y) largest = Math.Max(largest, Math.Abs((double)value));
        double rows = y.Length / (double)_shape.K;
        double other = _operands == Operands.Normal && _type == ElementType.BFloat16 ? Math.Pow(2, -8) / Math.Sqrt(rows) : 0;
        double share = 8 * Math.Pow(2, -24) * Math.Sqrt(Math.Max(16, rows)) + other;
        // With one row the variance is exactly zero.
        return new Tolerance(share * (isVariance ? 2 * largest * largest : largest), 0);
    }

    private Both Put(long length, uint stream)
    {
        DeviceBuffer device = _cuda.Allocate(length, "operand", _type), host = _cpu.Allocate(length, "operand");
        // On the CPU by all its threads.
        _cpu.FillGaussian(host, new RandomKey(1, RandomPurpose.User, stream), 1);
        float[] values = _cpu.Download(host);
        if (_operands == Operands.Integers)
        {
            for (int i = 0; i < values.Length; i++) values[i] = Math.Clamp(MathF.Round(values[i]), -2, 2);
        }

        values = Stored(values);
        _cuda.UploadFloats(values, device);
        _cpu.UploadFloats(values, host);
        return new Both(device, host, values);
    }

    // Full of what no kernel may leave there.
    private static DeviceBuffer Output(Backend backend, long length, ElementType type = ElementType.Float32)
    {
        DeviceBuffer buffer = backend.Allocate(length, "result", type);
        backend.Fill(buffer, float.NaN);
        return buffer;
    }

    // As the device stores activations.
    private float[] Stored(float[] values)
    {
        if (_type == ElementType.Float32) return values;
        for (int i = 0; i < values.Length; i++) values[i] = (float)(BFloat16)values[i];
        return values;
    }

    private static int[] Place(int element, int[] sizes)
    {
        var place = new int[sizes.Length];
        for (int i = sizes.Length - 1; i >= 0; i--)
        {
            place[i] = element % sizes[i];
            element /= sizes[i];
        }

        return place;
    }

    /// <summary>How far two elements may be apart.</summary>
    /// <param name="Absolute">Whatever they are.</param>
    /// <param name="Relative">Besides, this share of the larger one.</param>
    private readonly record struct Tolerance(double Absolute, double Relative)
    {
        public double Of(double a, double b) => Absolute + Relative * Math.Max(Math.Abs(a), Math.Abs(b));
    }

    private readonly record struct Both(DeviceBuffer Device, DeviceBuffer Host, float[] Values);
}
