namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    // What the mirror steps so far need of scratch memory where that is limited. The first sample changes nothing.
    private readonly Dictionary<(MirrorStep Step, bool Corrects), long> _mirrorBytes = [];

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

    internal override void MirrorCorrectCore(in MirrorStep step, BufferView w, float factor, BufferView b, BufferView copy)
    {
        if (_scratch.IsLimited) _scratch.Require(MirrorBytes(step, corrects: true));
        // The responses of W and B are linear, so their difference is the response of W - Bᵀ. To form that takes one pass over the weights,
        // less than a second product of noise and weights would: 12 bytes of each weight instead of 2 n operations and a packing.
        ConvShape layer = step.Layer;
        BufferView difference = BufferView.FromPointer(_scratch.Floats(ScratchUse.MirrorDifference, layer.WeightLength), layer.WeightLength);
        BufferView correlation = BufferView.FromPointer(_scratch.Floats(ScratchUse.MirrorCorrelation, layer.WeightLength), layer.WeightLength);
        TransposedCombineCore(layer.Transpose(), -1, b, 1, w, difference, default);
        MirrorCorrelateCore(step, difference, correlation, accumulate: false);
        TransposedCombineCore(layer, factor, correlation, 1, b, b, copy);
    }

    private long MirrorBytes(in MirrorStep step, bool corrects = false)
    {
        (MirrorStep, bool) key = (step with { FirstSample = 0 }, corrects);
        if (_mirrorBytes.TryGetValue(key, out long bytes)) return bytes;
        bytes = ScratchBytesOf(key.Item1, corrects);
        _mirrorBytes.Add(key, bytes);
        return bytes;
    }

    /// <summary>Scratch memory of a mirror step.</summary>
    internal long ScratchBytesOf(MirrorStep step, bool corrects) => MeasureScratch(backend =>
    {
        BufferView tensor = BufferView.FromPointer(1, 1);
        if (corrects) backend.MirrorCorrectCore(step, tensor, 1, tensor, default);
        else backend.MirrorCorrelateCore(step, tensor, tensor, accumulate: false);
    });

    private void FillNoise(in MirrorStep step, float* output)
    {
        int length = step.Noise.Length;
        long end = step.FirstSample + step.Samples, first = step.FirstSample;
        var fill = new MirrorNoiseJob { Noise = step.Noise };
        if (step.Noise.Kind == NoiseKind.Balanced)
        {
            fill.Columns = (uint*)_scratch.Ints(ScratchUse.NoiseColumns, 2L * length);
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

        /// <summary>The description of a cycle of balanced noise: the lower halves of the columns' codes, then the upper ones; null for
        /// the other kinds.</summary>
        public uint* Columns;
        public float* Magnitudes;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            int length = Noise.Length;
            var values = new Span<float>(Output + (long)item * length, length);
            if (Columns == null) Noise.Fill(values, FirstSample + item);
            else Noise.FillBalanced(FirstSample + item, new Span<uint>(Columns, length), new Span<uint>(Columns + length, length), new Span<float>(Magnitudes, length), values);
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
            Noise.DescribeCycle(
                Cycle, first, new Span<uint>(Columns + first, count), new Span<uint>(Columns + Noise.Length + first, count), new Span<float>(Magnitudes + first, count));
        }
    }
}
