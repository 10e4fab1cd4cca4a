namespace FeedbackKernels.Layers;

/// <summary>The order of a convolution's batch norm and ReLU.</summary>
public enum NormOrder
{
    /// <summary>conv, batch norm, ReLU: He et al. 2016. The last unit of a residual block has its ReLU after the join.</summary>
    ConvBnRelu,

    /// <summary>
    /// conv, ReLU, batch norm: the order of most runs of Akrout et al. 2019. A residual join adds the normed outputs, and
    /// nothing follows it; a projection shortcut is conv and batch norm.
    /// </summary>
    ConvReluBn,
}
