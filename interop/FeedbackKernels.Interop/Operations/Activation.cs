namespace FeedbackKernels.Interop;

/// <summary>A function applied to each element.</summary>
public enum Activation
{
    /// <summary>The element itself.</summary>
    None,

    /// <summary>max(0, x) (Nair and Hinton 2010); its derivative at 0 is 0.</summary>
    Relu,

    /// <summary>1 / (1 + exp(-x)), the logistic function (Rumelhart, Hinton and Williams 1986, eq. 2).</summary>
    Sigmoid,
}
