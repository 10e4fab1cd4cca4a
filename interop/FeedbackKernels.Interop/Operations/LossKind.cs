namespace FeedbackKernels.Interop;

/// <summary>The loss function. Both losses are means over the rows.</summary>
public enum LossKind
{
    /// <summary>-sum over classes of t * log softmax(logits).</summary>
    SoftmaxCrossEntropy,

    /// <summary>Sum over classes of the binary cross-entropy of sigmoid(logits) with t: the loss of the paper's MLPs.</summary>
    SigmoidCrossEntropy,
}
