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
}
