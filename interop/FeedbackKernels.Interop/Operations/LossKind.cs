namespace FeedbackKernels.Interop;

/// <summary>The loss function. Both losses are means over the rows.</summary>
public enum LossKind
{
    /// <summary>-sum over classes of t * log softmax(logits), in nats (Bishop 2006, section 4.3.4).</summary>
    SoftmaxCrossEntropy,

    /// <summary>Sum over classes of the binary cross-entropy of sigmoid(logits) with t, in nats (Bishop 2006, section 4.3.2): the loss of the
    /// MLPs in the public code of Akrout et al. 2019.</summary>
    SigmoidCrossEntropy,
}
