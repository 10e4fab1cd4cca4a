namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    // What the mirror steps so far need of scratch memory where that is limited. The first sample changes nothing.
    private readonly Dictionary<MirrorStep, long> _mirrorBytes = [];

    internal override void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate)
    {
        if (_scratch.IsLimited) _scratch.Require(MirrorBytes(step));
        // The noise is generated once, to scratch memory: both products read it, and generating it twice would cost more.
        ConvShape response = step.ResponseShape;
        float* noise = _scratch.Floats(ScratchUse.MirrorNoise, response.InputLength);
        float* answer = _scratch.Floats(ScratchUse.MirrorResponse, response.OutputLength);
        FillNoise(step, noise);
        var relu = new ConvEpilogue(Activation: step.ReluResponse ? Activation.Relu : Activation.None);
        ConvForwardCore(
            response, BufferView.FromPointer(noise, response.InputLength), w, BufferView.FromPointer(answer, response.OutputLength), relu);
        RunConvolution(new ConvCall
        {
            Request = RequestOf(response, ConvPass.WeightGradient) with { Exact = true },
            X = noise,
            Weights = correlation.Floats,
            Y = answer,
            Accumulate = accumulate,
        });
    }

    private long MirrorBytes(in MirrorStep step)
    {
        MirrorStep key = step with { FirstSample = 0 };
        if (_mirrorBytes.TryGetValue(key, out long bytes)) return bytes;
        bytes = ScratchBytesOf(key);
        _mirrorBytes.Add(key, bytes);
        return bytes;
    }

    /// <summary>Scratch memory of a mirror step.</summary>
    internal long ScratchBytesOf(MirrorStep step) => MeasureScratch(
        backend => backend.MirrorCorrelateCore(step, BufferView.FromPointer(1, 1), BufferView.FromPointer(1, 1), accumulate: false));

    private void FillNoise(in MirrorStep step, float* output)
    {
        int length = step.Noise.Length;
        long end = step.FirstSample + step.Samples, first = step.FirstSample;
        var fill = new MirrorNoiseJob { Noise = step.Noise };
        if (step.Noise.Kind == NoiseKind.Balanced)
        {
            fill.Columns = (uint*)_scratch.Ints(ScratchUse.NoiseColumns, length);
            fill.Magnitudes = _scratch.Floats(ScratchUse.NoiseMagnitudes, length);
        }

        while (first < end)
        {
            // The description of a cycle is computed once for all its samples.
            long cycle = first / step.Noise.CycleLength;
            int samples = fill.Columns == null ? step.Samples : (int)(Math.Min(end, (cycle + 1) * step.Noise.CycleLength) - first);
            if (fill.Columns != null)
            {
                var describe = new CycleJob { Noise = step.Noise, Cycle = cycle, Columns = fill.Columns, Magnitudes = fill.Magnitudes };
                _pool.Run(Rounding.DivideUp32(length, MirrorNoise.BlockSigns), ref describe);
            }

            fill.FirstSample = first;
            fill.Output = output + (first - step.FirstSample) * length;
            _pool.Run(samples, ref fill);
            first += samples;
        }
    }

    private struct MirrorNoiseJob : IParallelJob
    {
        public MirrorNoise Noise;
        public long FirstSample;

        /// <summary>The description of a cycle of balanced noise; null for the other kinds.</summary>
        public uint* Columns;
        public float* Magnitudes;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            int length = Noise.Length;
            var values = new Span<float>(Output + (long)item * length, length);
            if (Columns == null) Noise.Fill(values, FirstSample + item);
            else Noise.FillBalanced(FirstSample + item, new ReadOnlySpan<uint>(Columns, length), new ReadOnlySpan<float>(Magnitudes, length), values);
        }
    }

    private struct CycleJob : IParallelJob
    {
        public MirrorNoise Noise;
        public long Cycle;
        public uint* Columns;
        public float* Magnitudes;

        public readonly void Run(int item, int worker)
        {
            int first = item * MirrorNoise.BlockSigns, count = Math.Min(MirrorNoise.BlockSigns, Noise.Length - first);
            Noise.DescribeCycle(Cycle, first, new Span<uint>(Columns + first, count), new Span<float>(Magnitudes + first, count));
        }
    }
}
