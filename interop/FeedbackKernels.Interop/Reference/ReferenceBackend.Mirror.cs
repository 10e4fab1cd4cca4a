namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate)
    {
        // A patch mirror is the weight gradient of a 1x1 layer with R*S*C inputs, and a full-map mirror is that of the layer itself, with
        // the response in place of the error. Both have the layout of W, [R*S*C][K].
        ConvShape response = step.ResponseShape;
        using DeviceBuffer noise = AllocateBuffer(response.InputLength, "mirror noise", ActivationType);
        using DeviceBuffer answer = AllocateBuffer(response.OutputLength, "mirror response", ActivationType);
        BufferView samples = noise;
        var sample = new float[step.Noise.Length];
        for (int i = 0; i < step.Samples; i++)
        {
            step.Noise.Fill(sample, step.FirstSample + i);
            for (int j = 0; j < sample.Length; j++) samples.Write((long)i * sample.Length + j, sample[j]);
        }

        ConvForwardCore(response, noise, w, answer, new ConvEpilogue(Activation: step.ReluResponse ? Activation.Relu : Activation.None));
        var sums = new double[response.WeightLength];
        if (accumulate)
        {
            for (int i = 0; i < sums.Length; i++) sums[i] = correlation.Floats[i];
        }

        AddWeightGradient(response, noise, answer, sums);
        for (int i = 0; i < sums.Length; i++) correlation.Floats[i] = (float)sums[i];
    }

    internal override void MirrorCorrectCore(in MirrorStep step, BufferView w, float factor, BufferView b, BufferView copy)
    {
        ConvShape layer = step.Layer;
        var sample = new float[step.Noise.Length];
        var sums = new double[layer.WeightLength];
        using DeviceBuffer rounding = AllocateBuffer(step.Noise.Length + layer.K, "noise and differences of a mirror step", ActivationType);
        BufferView rounded = rounding;
        for (int i = 0; i < step.Samples; i++)
        {
            step.Noise.Fill(sample, step.FirstSample + i);
            for (int j = 0; j < sample.Length; j++) rounded.Write(j, sample[j]);
            for (int k = 0; k < layer.K; k++)
            {
                // The noise goes through W and through B, tap by tap; B learns the difference.
                double forward = 0, feedback = 0;
                ForEachInput(layer, (r, s, c, j) =>
                {
                    forward += rounded.Read(j) * (double)w.Floats[WeightIndex(layer, r, s, c, k)];
                    feedback += rounded.Read(j) * (double)b.Floats[FeedbackIndex(layer, r, s, k, c)];
                });
                rounded.Write(sample.Length + k, forward - feedback);
                ForEachInput(layer, (r, s, c, j) => sums[FeedbackIndex(layer, r, s, k, c)] += rounded.Read(j) * rounded.Read(sample.Length + k));
            }
        }

        for (int i = 0; i < sums.Length; i++)
        {
            b.Floats[i] = (float)(b.Floats[i] + factor * sums[i]);
            Copy(b, copy, i);
        }
    }

    /// <summary>Visits the inputs of a filter in the order in which a patch of noise has them.</summary>
    private static void ForEachInput(in ConvShape layer, Action<int, int, int, int> visit)
    {
        int j = 0;
        for (int r = 0; r < layer.R; r++)
            for (int s = 0; s < layer.S; s++)
                for (int c = 0; c < layer.C; c++) visit(r, s, c, j++);
    }
}
