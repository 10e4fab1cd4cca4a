using System.CommandLine;
using System.Globalization;
using System.Numerics.Tensors;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary><c>calls</c>: measures what callers with their own arrays pay besides the kernels. Lines are
/// <c>call,feedback-kernels,way,pass,ns_median,ns_best,ns_median_over_the_kernel</c>, for 1x1 convolutions of 1x1 maps, and
/// <c>layout,feedback-kernels,conversion,sizes,gbytes_per_s,gbytes_per_s_of_a_copy,ratio</c>, medians of rounds in turn, where a byte that is
/// read and written counts twice.</summary>
internal static unsafe class CallsCommand
{
    private const int CallsInASample = 2000, Rounds = 9;
    private static readonly ConvShape One = new(1, 1, 1, 1, 1, 1, 1, 1, 0);

    private delegate void Conversion(ReadOnlySpan<float> source, Span<float> destination);

    public static Command Create()
    {
        var budget = new Option<double>("--budget") { Description = "Seconds to measure for each figure. More give steadier figures.", DefaultValueFactory = _ => 0.3 };
        var command = new Command("calls", "Measures the overhead of calls on the caller's own arrays, and the layout conversions.") { budget };
        command.SetAction(parsed =>
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(budget), "--budget");
            MeasureCalls(parsed.InvocationConfiguration.Output, parsed.GetValue(budget));
            MeasureLayouts(parsed.InvocationConfiguration.Output, parsed.GetValue(budget));
        });
        return command;
    }

    private static void MeasureCalls(TextWriter output, double budget)
    {
        using var kernels = new HostKernels(HostKernels.WorkspaceBytes(One));
        float[] x = [2], w = [3], y = new float[1];
        nint[] sizes = [1, 1, 1, 1];
        fixed (float* xs = x, ws = w, ys = y)
        {
            (nint px, nint pw, nint py) = ((nint)xs, (nint)ws, (nint)ys);
            BufferView viewX = BufferView.FromPointer(px, 1), viewW = BufferView.FromPointer(pw, 1), viewY = BufferView.FromPointer(py, 1);
            CpuBackend backend = kernels.Backend;
            (string Way, string Pass, Action Run)[] calls =
            [
                ("kernel", "fwd", () => backend.ConvForwardCore(One, viewX, viewW, viewY, default)),
                ("spans", "fwd", () => kernels.Forward(One, x.AsSpan(), w.AsSpan(), y.AsSpan())),
                ("pointers", "fwd", () => kernels.Forward(One, (float*)px, (float*)pw, (float*)py)),
                ("tensors", "fwd", () => kernels.Forward(One, new ReadOnlyTensorSpan<float>(x, sizes), new ReadOnlyTensorSpan<float>(w, sizes), new TensorSpan<float>(y, sizes))),
                ("kernel", "bwd_data", () => backend.ConvFeedbackCore(One, viewY, viewW, FeedbackLayout.Feedback, viewX, accumulate: false)),
                ("spans", "bwd_data", () => kernels.Feedback(One, y.AsSpan(), w.AsSpan(), FeedbackLayout.Feedback, x.AsSpan())),
                ("kernel", "bwd_weights", () => backend.ConvWeightGradientCore(One, viewX, viewY, viewW)),
                ("spans", "bwd_weights", () => kernels.WeightGradient(One, x.AsSpan(), y.AsSpan(), w.AsSpan())),
            ];
            // The scratch memory of the cores begins anew only in an operation, so the kernels measured alone take blocks that are there.
            double kernel = 0;
            foreach ((string way, string pass, Action run) in calls)
            {
                Timing time = Timing.Of(backend, () => Repeat(run), budget);
                (double median, double best) = (time.Median / CallsInASample * 1e9, time.Best / CallsInASample * 1e9);
                if (way == "kernel") kernel = median;
                output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture, $"call,feedback-kernels,{way},{pass},{median:F0},{best:F0},{median - kernel:F0}"));
            }
        }
    }

    private static void Repeat(Action call)
    {
        for (int i = 0; i < CallsInASample; i++) call();
    }

    private static void MeasureLayouts(TextWriter output, double budget)
    {
        (string Name, string Sizes, int Length, Conversion Run)[] conversions =
        [
            ("NCHW-NHWC", "32x64x56x56", 32 * 64 * 56 * 56, (s, d) => TensorLayouts.NchwToNhwc(s, d, 32, 64, 56, 56)),
            ("NHWC-NCHW", "32x64x56x56", 32 * 64 * 56 * 56, (s, d) => TensorLayouts.NhwcToNchw(s, d, 32, 64, 56, 56)),
            ("NCHW-NHWC", "32x3x224x224", 32 * 3 * 224 * 224, (s, d) => TensorLayouts.NchwToNhwc(s, d, 32, 3, 224, 224)),
            ("NHWC-NCHW", "32x3x224x224", 32 * 3 * 224 * 224, (s, d) => TensorLayouts.NhwcToNchw(s, d, 32, 3, 224, 224)),
            ("NCHW-NHWC", "1x64x56x56", 64 * 56 * 56, (s, d) => TensorLayouts.NchwToNhwc(s, d, 1, 64, 56, 56)),
            ("NHWC-NCHW", "1x64x56x56", 64 * 56 * 56, (s, d) => TensorLayouts.NhwcToNchw(s, d, 1, 64, 56, 56)),
            ("OIHW-forward", "512x512x3x3", 512 * 512 * 9, (s, d) => TensorLayouts.OihwToForward(s, d, 512, 512, 3, 3)),
            ("forward-OIHW", "512x512x3x3", 512 * 512 * 9, (s, d) => TensorLayouts.ForwardToOihw(s, d, 512, 512, 3, 3)),
            ("OIHW-feedback", "512x512x3x3", 512 * 512 * 9, (s, d) => TensorLayouts.OihwToFeedback(s, d, 512, 512, 3, 3)),
            ("feedback-OIHW", "512x512x3x3", 512 * 512 * 9, (s, d) => TensorLayouts.FeedbackToOihw(s, d, 512, 512, 3, 3)),
        ];
        using var backend = new CpuBackend(1);
        foreach ((string name, string sizes, int length, Conversion run) in conversions)
        {
            Memory<float> source = FromStartOfLine(length), destination = FromStartOfLine(length);
            List<double> conversion = [], copy = [];
            for (int round = 0; round < Rounds; round++)
            {
                conversion.Add(Timing.Of(backend, () => run(source.Span, destination.Span), budget / Rounds / 2).Median);
                copy.Add(Timing.Of(backend, () => source.Span.CopyTo(destination.Span), budget / Rounds / 2).Median);
            }

            double bytes = 2.0 * sizeof(float) * length, converted = bytes / Timing.OfSamples(conversion).Median / 1e9, copied = bytes / Timing.OfSamples(copy).Median / 1e9;
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"layout,feedback-kernels,{name},{sizes},{converted:F1},{copied:F1},{converted / copied:F2}"));
        }
    }

    /// <summary>As native tensors lie in memory; the conversions of large ones depend on it.</summary>
    private static Memory<float> FromStartOfLine(int length)
    {
        const int line = 64;
        float[] array = GC.AllocateArray<float>(length + line / sizeof(float), pinned: true);
        fixed (float* start = array) return array.AsMemory((int)(-(nint)start & (line - 1)) / sizeof(float), length);
    }
}
