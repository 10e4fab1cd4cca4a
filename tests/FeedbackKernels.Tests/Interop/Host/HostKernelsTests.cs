using System.Runtime.InteropServices;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Interop.Host;

/// <summary>
/// The kernels on arrays of the caller. Results are compared with <see cref="ReferenceBackend"/> on integers, where both are exact, and
/// bit for bit with <see cref="CpuBackend"/>, whose scratch memory grows; the workspace has exactly the size that was asked for, and
/// numbers around it must stay as they are.
/// </summary>
public sealed unsafe class HostKernelsTests
{
    // Winograd, 1x1, strides with residue classes, a stem, a linear layer; channels that fill vectors and that do not.
    private static readonly ConvShape[] Shapes =
    [
        new(8, 16, 16, 16, 32, 3, 3, 1, 1), new(2, 9, 7, 17, 5, 3, 3, 1, 1), new(3, 8, 8, 64, 33, 1, 1, 1, 0), new(2, 9, 9, 16, 24, 1, 1, 2, 0),
        new(2, 11, 10, 3, 16, 7, 7, 2, 3), new(2, 8, 9, 20, 18, 3, 3, 2, 1), ConvShape.Linear(5, 70, 10), new(1, 1, 1, 1, 1, 1, 1, 1, 0),
        new(4, 14, 14, 32, 32, 3, 3, 1, 1),
    ];

    public static TheoryData<int, int> ShapesAndThreads()
    {
        var data = new TheoryData<int, int>();
        for (int i = 0; i < Shapes.Length; i++)
        {
            foreach (int threads in (int[])[1, 2, 5]) data.Add(i, threads);
        }

        return data;
    }

    public static TheoryData<string> OperationNames() => [.. Operations.Select(operation => operation.Name)];

    [Theory, MemberData(nameof(ShapesAndThreads))]
    public void Convolutions_equal_those_of_the_backends_in_a_workspace_of_the_exact_size(int index, int threads)
    {
        ConvShape shape = Shapes[index];
        float[] x = Values.Integers(shape.InputLength, 1), w = Values.Integers(shape.WeightLength, 2), dy = Values.Integers(shape.OutputLength, 3);
        float[] bias = Values.Integers(shape.K, 4), residual = Values.Integers(shape.OutputLength, 5);
        float[] y = new float[shape.OutputLength], dx = new float[shape.InputLength], dw = new float[shape.WeightLength];
        float[] plain = new float[shape.OutputLength], transposed = new float[shape.InputLength], twice = new float[shape.InputLength];
        using (var workspace = new GuardedWorkspace(HostKernels.WorkspaceBytes(shape, threads)))
        using (var kernels = new HostKernels(workspace.Address, workspace.Bytes, threads))
        {
            kernels.Forward(shape, x, w, y, new HostEpilogue { Bias = bias, Residual = residual, Activation = Activation.Relu });
            kernels.Feedback(shape, dy, w, FeedbackLayout.Feedback, dx);
            dx.CopyTo(twice, 0);
            kernels.Feedback(shape, dy, w, FeedbackLayout.Feedback, twice, accumulate: true);
            kernels.WeightGradient(shape, x, dy, dw);
            fixed (float* xs = x, ws = w, dys = dy, plains = plain, transposeds = transposed)
            {
                kernels.Forward(shape, xs, ws, plains);
                kernels.Feedback(shape, dys, ws, FeedbackLayout.Forward, transposeds);
            }
        }

        using var bench = new Expected(shape, x, w, dy, bias, residual);
        Values.AssertSameBits(bench.Forward(epilogue: true), y);
        Values.AssertSameBits(bench.Forward(epilogue: false), plain);
        Values.AssertSameBits(bench.Feedback(FeedbackLayout.Feedback), dx);
        Values.AssertSameBits(bench.Feedback(FeedbackLayout.Forward), transposed);
        Values.AssertClose([.. dx.Select(error => 2 * error)], twice, shape.FanIn, 64);
        Values.AssertSameBits(bench.WeightGradient(), dw);
        bench.AssertReference(y, dx, dw);
    }

    [Fact]
    public void Random_shapes_stay_in_their_workspace()
    {
        var random = new Random(1);
        for (int i = 0; i < 150; i++)
        {
            int r = random.Next(1, 6), s = random.Next(1, 6), padding = random.Next(0, 3);
            var shape = new ConvShape(
                random.Next(1, 5), random.Next(r, 20), random.Next(s, 20), random.Next(1, 40), random.Next(1, 40), r, s, random.Next(1, 4), padding);
            int threads = random.Next(1, 4);
            float[] x = Values.Normal(shape.InputLength, 1), w = Values.Normal(shape.WeightLength, 2), dy = Values.Normal(shape.OutputLength, 3);
            float[] dx = new float[shape.InputLength], dw = new float[shape.WeightLength], y = new float[shape.OutputLength];
            using (var workspace = new GuardedWorkspace(HostKernels.WorkspaceBytes(shape, threads)))
            using (var kernels = new HostKernels(workspace.Address, workspace.Bytes, threads))
            {
                var (mean, variance) = (new float[shape.K], new float[shape.K]);
                kernels.Forward(shape, x, w, y, new HostEpilogue { Mean = mean, Variance = variance });
                Assert.Equal(y.Where((_, at) => at % shape.K == 0).Average(), mean[0], 1e-4);
                kernels.Feedback(shape, dy, w, FeedbackLayout.Feedback, dx, accumulate: true);
                kernels.WeightGradient(shape, x, dy, dw);
            }

            using var bench = new Expected(shape, x, w, dy, [], []);
            Values.AssertSameBits(bench.Forward(epilogue: false), y);
            Values.AssertSameBits(bench.Feedback(FeedbackLayout.Feedback), dx);
            Values.AssertSameBits(bench.WeightGradient(), dw);
        }
    }

    [Theory, MemberData(nameof(OperationNames))]
    public void A_span_that_is_too_short_is_named_and_nothing_is_written(string name)
    {
        Operation operation = Operations.Single(o => o.Name == name);
        using var kernels = new HostKernels(1 << 20);
        for (int i = 0; i < operation.Lengths.Length; i++)
        {
            foreach (long length in (long[])[operation.Lengths[i] - 1, 0])
            {
                float[][] arrays = Arrays(operation);
                arrays[i] = new float[length];
                float[][] before = [.. arrays.Select(array => (float[])array.Clone())];
                ArgumentException e = Assert.Throws<ArgumentException>(() => operation.Run(kernels, arrays));
                Assert.Equal(operation.Arguments[i], e.ParamName);
                Assert.Contains($"has {length} elements, wanted at least {operation.Lengths[i]}", e.Message);
                Assert.Equal(before, arrays);
            }
        }
    }

    [Theory, MemberData(nameof(OperationNames))]
    public void A_result_that_overlaps_an_operand_is_refused_and_nothing_is_written(string name)
    {
        Operation operation = Operations.Single(o => o.Name == name);
        using var kernels = new HostKernels(1 << 20);
        for (int result = 0; result < operation.Lengths.Length; result++)
        {
            for (int other = 0; other < operation.Lengths.Length; other++)
            {
                if (other == result || !operation.Writes[result]) continue;
                float[][] arrays = Arrays(operation);
                // The same array, so that the two are one.
                arrays[result] = arrays[other] = new float[Math.Max(operation.Lengths[result], operation.Lengths[other])];
                float[][] before = [.. arrays.Select(array => (float[])array.Clone())];
                Assert.Contains("overlaps", Assert.Throws<ArgumentException>(() => operation.Run(kernels, arrays)).Message);
                Assert.Equal(before, arrays);
            }
        }
    }

    [Theory, MemberData(nameof(OperationNames))]
    public void A_call_allocates_nothing(string name)
    {
        Operation operation = Operations.Single(o => o.Name == name);
        using var kernels = new HostKernels(1 << 20, threads: 2);
        float[][] arrays = Arrays(operation);
        for (int i = 0; i < 3; i++) operation.Run(kernels, arrays);
        long before = GC.GetAllocatedBytesForCurrentThread();
        operation.Run(kernels, arrays);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Theory, MemberData(nameof(OperationNames))]
    public void A_workspace_that_is_too_small_is_refused_before_anything_is_written(string name)
    {
        Operation operation = Operations.Single(o => o.Name == name);
        if (operation.WorkspaceBytes == 0) return;
        using var kernels = new HostKernels(64);
        float[][] arrays = Arrays(operation), before = [.. arrays.Select(array => (float[])array.Clone())];
        InvalidOperationException e = Assert.Throws<InvalidOperationException>(() => operation.Run(kernels, arrays));
        Assert.Contains($"the workspace has 64 bytes and this operation needs", e.Message);
        Assert.Equal(before, arrays);
        using var enough = new HostKernels(operation.WorkspaceBytes);
        operation.Run(enough, arrays);
        Assert.NotEqual(before, arrays);
    }

    [Fact]
    public void Each_public_operation_takes_part_in_these_tests()
    {
        string[] own = ["Dispose", "WorkspaceBytes", "ShapeOf"];
        IEnumerable<string> methods = typeof(HostKernels).GetMethods().Where(m => m.DeclaringType == typeof(HostKernels) && !m.IsSpecialName).Select(m => m.Name);
        Assert.Equal([.. Operations.Select(o => o.Name).Order()], methods.Except(own).Distinct().Order());
    }

    [Fact]
    public void Threads_with_an_object_each_do_not_disturb_each_other()
    {
        ConvShape shape = Shapes[0];
        float[] x = Values.Normal(shape.InputLength, 1), w = Values.Normal(shape.WeightLength, 2), dy = Values.Normal(shape.OutputLength, 3);
        using var bench = new Expected(shape, x, w, dy, [], []);
        float[] y = bench.Forward(epilogue: false), dx = bench.Feedback(FeedbackLayout.Feedback), dw = bench.WeightGradient();
        long bytes = HostKernels.WorkspaceBytes(shape);
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, _ =>
        {
            using var kernels = new HostKernels(bytes);
            float[] results = new float[y.Length], errors = new float[dx.Length], gradients = new float[dw.Length];
            for (int i = 0; i < 5; i++)
            {
                kernels.Forward(shape, x, w, results);
                kernels.Feedback(shape, dy, w, FeedbackLayout.Feedback, errors);
                kernels.WeightGradient(shape, x, dy, gradients);
                Values.AssertSameBits(y, results);
                Values.AssertSameBits(dx, errors);
                Values.AssertSameBits(dw, gradients);
            }
        });
    }

    [Theory]
    [InlineData(MirrorForm.Patch)]
    [InlineData(MirrorForm.FullMap)]
    public void A_mirror_step_stays_in_its_workspace(MirrorForm form)
    {
        var layer = new ConvShape(1, 6, 5, 8, 12, 3, 3, 1, 1);
        var noise = new MirrorNoise(NoiseKind.Gaussian, MirrorStep.SampleLength(layer, form), 1, 5, 2);
        var step = new MirrorStep(layer, noise, 7, 33, form);
        float[] w = Values.Normal(layer.WeightLength, 1), correlation = new float[w.Length], b = new float[w.Length];
        using (var workspace = new GuardedWorkspace(HostKernels.WorkspaceBytes(step)))
        using (var kernels = new HostKernels(workspace.Address, workspace.Bytes))
        {
            kernels.MirrorCorrelate(step, w, correlation);
            if (form == MirrorForm.Patch) kernels.MirrorCorrect(step, w, 1, b);
        }

        using var backend = new CpuBackend(2);
        using DeviceBuffer weights = backend.Allocate(w.Length, "w"), expected = backend.Allocate(w.Length, "correlation");
        backend.Upload<float>(w, weights);
        backend.MirrorCorrelate(step, weights, expected);
        Values.AssertSameBits(backend.Download(expected), correlation);
        if (form != MirrorForm.Patch) return;
        backend.Fill(expected, 0);
        backend.MirrorCorrect(step, weights, 1, expected);
        Values.AssertSameBits(backend.Download(expected), b);
    }

    [Fact]
    public void A_cycle_of_balanced_noise_measures_the_weights()
    {
        var layer = new ConvShape(1, 5, 5, 5, 7, 3, 3, 1, 1);
        var noise = new MirrorNoise(NoiseKind.Balanced, layer.FanIn, 2, 5, 2);
        // 45 inputs of an output: a cycle of 48 samples.
        Assert.Equal(48, noise.CycleLength);
        float[] w = Values.Normal(layer.WeightLength, 1), once = new float[w.Length], parts = new float[w.Length], correlation = new float[w.Length];
        var cycle = new MirrorStep(layer, noise, 0, 48);
        using var kernels = new HostKernels(HostKernels.WorkspaceBytes(cycle));
        kernels.MirrorStep(cycle, w, 1, correlation, once);
        for (int first = 0; first < 48; first += 16) kernels.MirrorCorrelate(cycle with { FirstSample = first, Samples = 16 }, w, correlation, first > 0);
        kernels.MirrorMove(cycle, correlation, 1, parts);
        float[] transposed = Transposed(layer, w);
        for (int i = 0; i < w.Length; i++)
        {
            Assert.Equal(transposed[i], once[i], 1e-5f);
            Assert.Equal(transposed[i], parts[i], 1e-5f);
        }

        // A rate of 1/4 moves a quarter of the way.
        float[] b = [.. transposed.Select(_ => 8f)];
        kernels.MirrorStep(cycle, w, 0.25f, correlation, b);
        for (int i = 0; i < w.Length; i++) Assert.Equal(6 + transposed[i] / 4, b[i], 1e-4f);
    }

    [Fact]
    public void Steps_on_weights_equal_their_formulas()
    {
        ConvShape shape = Shapes[1];
        float[] w = Values.Normal(shape.WeightLength, 1), dw = Values.Normal(shape.WeightLength, 2), before = Transposed(shape, w);
        float[] b = Values.Normal(shape.WeightLength, 3), mismatch = [.. b.Zip(before, (feedback, forward) => feedback - forward)];
        float[] velocity = new float[w.Length], bVelocity = new float[w.Length], magnitudes = Values.Normal(w.Length, 4), signs = new float[w.Length];
        using var kernels = new HostKernels(0);
        kernels.KolenPollackStep(shape, w, dw, velocity, b, bVelocity, new SgdStep(0.5f, WeightDecay: 0.25f));
        float[] after = Transposed(shape, w), adjustments = Transposed(shape, dw);
        for (int i = 0; i < w.Length; i++)
        {
            // W - lr (dW + wd W); the mismatch shrinks by 1 - lr wd.
            Assert.Equal(before[i] - 0.5f * (adjustments[i] + 0.25f * before[i]), after[i], 1e-5f);
            Assert.Equal(0.875f * mismatch[i], b[i] - after[i], 1e-5f);
        }

        float[] following = (float[])b.Clone();
        kernels.KolenPollackFollow(shape, dw, 0.125f, following);
        for (int i = 0; i < w.Length; i++) Assert.Equal(0.875f * b[i] + adjustments[i], following[i], 1e-5f);

        w[3] = 0;
        float[] forward = Transposed(shape, w);
        kernels.SignSymmetryStep(shape, w, 0.5f, signs);
        for (int i = 0; i < w.Length; i++) Assert.Equal(0.5f * Math.Sign(forward[i]), signs[i]);
        kernels.SignSymmetryStep(shape, w, 2, signs, magnitudes);
        for (int i = 0; i < w.Length; i++) Assert.Equal(2 * Math.Abs(magnitudes[i]) * Math.Sign(forward[i]), signs[i]);
    }

    [Fact]
    public void Settings_out_of_range_are_refused()
    {
        var step = new MirrorStep(Shapes[7], new MirrorNoise(NoiseKind.Sign, 1, 1, 1, 1), 0, 1);
        using var kernels = new HostKernels(1 << 16);
        foreach (float rate in (float[])[0, -1, 1.5f, float.NaN])
        {
            Assert.Equal("rate", Assert.Throws<ArgumentOutOfRangeException>(() => kernels.MirrorStep(step, [1], rate, new float[1], new float[1])).ParamName);
            Assert.Equal("rate", Assert.Throws<ArgumentOutOfRangeException>(() => kernels.MirrorCorrect(step, [1], rate, new float[1])).ParamName);
            Assert.Equal("rate", Assert.Throws<ArgumentOutOfRangeException>(() => kernels.MirrorMove(step, [1], rate, new float[1])).ParamName);
        }

        Assert.Equal("decay", Assert.Throws<ArgumentOutOfRangeException>(() => kernels.KolenPollackFollow(Shapes[7], [1], float.NaN, new float[1])).ParamName);
        Assert.Equal("epilogue", Assert.Throws<ArgumentException>(
            () => kernels.Forward(Shapes[7], [1], [1], new float[1], new HostEpilogue { Mean = new float[1] })).ParamName);
        Assert.Equal("workspaceBytes", Assert.Throws<ArgumentOutOfRangeException>(() => new HostKernels(-1)).ParamName);
        Assert.Equal("workspace", Assert.Throws<ArgumentOutOfRangeException>(() => new HostKernels(0, 64L)).ParamName);
        Assert.Throws<ArgumentException>(() => HostKernels.WorkspaceBytes(default(ConvShape)));
        Assert.Throws<ArgumentOutOfRangeException>(() => HostKernels.WorkspaceBytes(Shapes[0], threads: -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => HostKernels.WorkspaceBytes(step with { Samples = 0 }));
        Assert.Throws<ArgumentNullException>(() => kernels.WeightGradient(Shapes[7], (float*)null, null, null));
        kernels.Dispose();
        Assert.Throws<ObjectDisposedException>(() => kernels.Forward(Shapes[7], [1], [1], new float[1]));
    }

    private static float[] Transposed(in ConvShape shape, float[] w)
    {
        var b = new float[w.Length];
        for (int tap = 0; tap < shape.R * shape.S; tap++)
        {
            for (int c = 0; c < shape.C; c++)
            {
                for (int k = 0; k < shape.K; k++) b[(tap * shape.K + k) * shape.C + c] = w[(tap * shape.C + c) * shape.K + k];
            }
        }

        return b;
    }

    private static readonly ConvShape Small = new(2, 8, 7, 16, 5, 3, 3, 1, 1);

    private static readonly MirrorStep SmallStep = new(Small, new MirrorNoise(NoiseKind.Balanced, Small.FanIn, 1, 1, 1), 0, 256);

    private static readonly Operation[] Operations =
    [
        new("Forward", ["x", "w", "y"], [Small.InputLength, Small.WeightLength, Small.OutputLength], [false, false, true],
            HostKernels.WorkspaceBytes(Small), (kernels, a) => kernels.Forward(Small, a[0], a[1], a[2])),
        new("Feedback", ["dy", "weights", "dx"], [Small.OutputLength, Small.WeightLength, Small.InputLength], [false, false, true],
            HostKernels.WorkspaceBytes(Small), (kernels, a) => kernels.Feedback(Small, a[0], a[1], FeedbackLayout.Feedback, a[2])),
        new("WeightGradient", ["x", "dy", "dw"], [Small.InputLength, Small.OutputLength, Small.WeightLength], [false, false, true],
            HostKernels.WorkspaceBytes(Small), (kernels, a) => kernels.WeightGradient(Small, a[0], a[1], a[2])),
        new("MirrorStep", ["w", "correlation", "b"], [Small.WeightLength, Small.WeightLength, Small.WeightLength], [false, true, true],
            HostKernels.WorkspaceBytes(SmallStep), (kernels, a) => kernels.MirrorStep(SmallStep, a[0], 0.5f, a[1], a[2])),
        new("MirrorCorrelate", ["w", "correlation"], [Small.WeightLength, Small.WeightLength], [false, true],
            HostKernels.WorkspaceBytes(SmallStep), (kernels, a) => kernels.MirrorCorrelate(SmallStep, a[0], a[1])),
        new("MirrorCorrect", ["w", "b"], [Small.WeightLength, Small.WeightLength], [false, true],
            HostKernels.WorkspaceBytes(SmallStep), (kernels, a) => kernels.MirrorCorrect(SmallStep, a[0], 0.5f, a[1])),
        new("MirrorMove", ["correlation", "b"], [Small.WeightLength, Small.WeightLength], [false, true],
            0, (kernels, a) => kernels.MirrorMove(SmallStep, a[0], 0.5f, a[1])),
        new("KolenPollackStep", ["w", "dw", "velocity", "b", "bVelocity"], [.. Enumerable.Repeat(Small.WeightLength, 5)], [true, false, true, true, true],
            0, (kernels, a) => kernels.KolenPollackStep(Small, a[0], a[1], a[2], a[3], a[4], new SgdStep(0.1f, 0.9f))),
        new("KolenPollackFollow", ["adjustment", "b"], [Small.WeightLength, Small.WeightLength], [false, true],
            0, (kernels, a) => kernels.KolenPollackFollow(Small, a[0], 0.1f, a[1])),
        new("SignSymmetryStep", ["w", "b"], [Small.WeightLength, Small.WeightLength], [false, true],
            0, (kernels, a) => kernels.SignSymmetryStep(Small, a[0], 2, a[1])),
    ];

    private static float[][] Arrays(Operation operation) => [.. operation.Lengths.Select((length, i) => Values.Normal(length, (uint)i))];

    private sealed record Operation(
        string Name, string[] Arguments, long[] Lengths, bool[] Writes, long WorkspaceBytes, Action<HostKernels, float[][]> Run);

    /// <summary>The same operations on backends with memory of their own.</summary>
    private sealed class Expected : IDisposable
    {
        private readonly ConvShape _shape;
        private readonly float[] _x, _w, _dy, _bias, _residual;
        private readonly CpuBackend _backend = new(2);

        public Expected(in ConvShape shape, float[] x, float[] w, float[] dy, float[] bias, float[] residual) =>
            (_shape, _x, _w, _dy, _bias, _residual) = (shape, x, w, dy, bias, residual);

        public void Dispose() => _backend.Dispose();

        public float[] Forward(bool epilogue) => Forward(_backend, epilogue);

        public float[] Feedback(FeedbackLayout layout) => Feedback(_backend, layout);

        public float[] WeightGradient() => WeightGradient(_backend);

        /// <summary>On integers plain loops give the same numbers, where Winograd, which divides, is close.</summary>
        public void AssertReference(float[] y, float[] dx, float[] dw)
        {
            using var reference = new ReferenceBackend();
            int terms = _shape.FanIn;
            Values.AssertClose(Forward(reference, epilogue: true), y, terms, 64);
            Values.AssertClose(Feedback(reference, FeedbackLayout.Feedback), dx, terms, 64);
            Values.AssertClose(WeightGradient(reference), dw, _shape.N * _shape.P * _shape.Q, 64);
        }

        private float[] Forward(Backend backend, bool epilogue)
        {
            using DeviceBuffer x = Buffer(backend, _x), w = Buffer(backend, _w), y = backend.Allocate(_shape.OutputLength, "y");
            using DeviceBuffer? bias = epilogue ? Buffer(backend, _bias) : null, residual = epilogue ? Buffer(backend, _residual) : null;
            backend.ConvForward(_shape, x, w, y, epilogue ? new ConvEpilogue(Bias: bias, Residual: residual, Activation: Activation.Relu) : default);
            return backend.Download(y);
        }

        private float[] Feedback(Backend backend, FeedbackLayout layout)
        {
            using DeviceBuffer dy = Buffer(backend, _dy), w = Buffer(backend, _w), dx = backend.Allocate(_shape.InputLength, "dx");
            backend.ConvFeedback(_shape, dy, w, layout, dx);
            return backend.Download(dx);
        }

        private float[] WeightGradient(Backend backend)
        {
            using DeviceBuffer x = Buffer(backend, _x), dy = Buffer(backend, _dy), dw = backend.Allocate(_shape.WeightLength, "dw");
            backend.ConvWeightGradient(_shape, x, dy, dw);
            return backend.Download(dw);
        }

        private static DeviceBuffer Buffer(Backend backend, float[] values)
        {
            DeviceBuffer buffer = backend.Allocate(values.Length, "operand");
            backend.Upload<float>(values, buffer);
            return buffer;
        }
    }

    /// <summary>A workspace at an odd address, with bytes on both sides that must stay as they are.</summary>
    private sealed class GuardedWorkspace : IDisposable
    {
        private const int Before = 71, After = 200;
        private const byte Guard = 0xA5;

        private readonly byte* _memory;

        public GuardedWorkspace(long bytes)
        {
            Bytes = bytes;
            _memory = (byte*)NativeMemory.Alloc((nuint)(Before + bytes + After));
            // NaNs, so that a kernel that reads what it has not written shows.
            new Span<byte>(_memory, checked((int)(Before + bytes + After))).Fill(0xFF);
            new Span<byte>(_memory, Before).Fill(Guard);
            new Span<byte>(_memory + Before + bytes, After).Fill(Guard);
        }

        public long Bytes { get; }

        public nint Address => (nint)(_memory + Before);

        public void Dispose()
        {
            Assert.False(new Span<byte>(_memory, Before).ContainsAnyExcept(Guard), "bytes in front of the workspace were written");
            Assert.False(new Span<byte>(_memory + Before + Bytes, After).ContainsAnyExcept(Guard), "bytes behind the workspace were written");
            NativeMemory.Free(_memory);
        }
    }
}
