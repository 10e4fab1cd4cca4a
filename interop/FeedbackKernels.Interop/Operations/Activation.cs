namespace FeedbackKernels.Interop;

/// <summary>A function applied to each element.</summary>
public enum Activation
{
    /// <summary>The element itself.</summary>
    None,

    /// <summary>max(0, x); its derivative at 0 is 0.</summary>
    Relu,

    /// <summary>1 / (1 + exp(-x)).</summary>
    Sigmoid,
}
