namespace FeedbackKernels.Layers;

/// <summary>What a rule may change about the update of a layer's weights.</summary>
/// <param name="WeightDecay">L2 decay, added to the gradient as <c>WeightDecay * W</c>.</param>
/// <param name="Shrink">Factor on the updated weights: an extra decay outside the gradient. 1 for none.</param>
public readonly record struct UpdateTerms(float WeightDecay, float Shrink = 1);

/// <summary>The update that a layer's weights got at one step, as rules see it: without the arguments of the optimiser.</summary>
public abstract class WeightUpdate
{
    /// <summary>
    /// Applies the same update to a number whose gradient is its weight decay alone. The difference of two tensors that get equal
    /// gradients moves like this (it follows from Akrout et al. 2019, eqs. 16-17).
    /// </summary>
    /// <param name="value">The number before the update.</param>
    /// <param name="velocity">Its velocity, which is replaced.</param>
    /// <returns>The number after the update.</returns>
    /// <exception cref="NotSupportedException">The optimiser's update is not linear in the gradient.</exception>
    public abstract double ApplyTo(double value, ref double velocity);
}
