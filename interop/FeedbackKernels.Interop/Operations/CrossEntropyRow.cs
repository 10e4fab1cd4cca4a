namespace FeedbackKernels.Interop;

/// <summary>The loss of one row of logits, in double precision. It is too little work for a faster implementation to matter.</summary>
internal static class CrossEntropyRow
{
    /// <summary>Computes the loss and, if <paramref name="gradient"/> is not empty, its gradient times a factor.</summary>
    public static float Run(
        LossKind kind, ReadOnlySpan<float> logits, int label, double smoothing, double factor, Span<float> gradient)
    {
        double logSum = kind == LossKind.SoftmaxCrossEntropy ? LogSumExp(logits) : 0;
        double loss = 0;
        for (int k = 0; k < logits.Length; k++)
        {
            double z = logits[k];
            double target = (k == label ? 1 - smoothing : 0) + smoothing / logits.Length;
            double probability;
            if (kind == LossKind.SoftmaxCrossEntropy)
            {
                probability = Math.Exp(z - logSum);
                loss -= target * (z - logSum);
            }
            else
            {
                // max(z, 0) - z t + log(1 + exp(-|z|)): the binary cross-entropy without overflow.
                probability = 1 / (1 + Math.Exp(-z));
                loss += Math.Max(z, 0) - z * target + Math.Log(1 + Math.Exp(-Math.Abs(z)));
            }

            if (!gradient.IsEmpty) gradient[k] = (float)((probability - target) * factor);
        }

        return (float)loss;
    }

    private static double LogSumExp(ReadOnlySpan<float> values)
    {
        double most = double.NegativeInfinity, sum = 0;
        foreach (float value in values) most = Math.Max(most, value);
        foreach (float value in values) sum += Math.Exp(value - most);
        return most + Math.Log(sum);
    }
}
