namespace FeedbackKernels.Interop;

/// <summary>
/// One step of stochastic gradient descent on a parameter w with gradient g and velocity v:
/// <c>g' = GradientScale * GradientFactor * g + WeightDecay * w; v = Momentum * v + g';
/// w = Shrink * (w - LearningRate * (Nesterov ? g' + Momentum * v : v))</c>. Momentum is the classical one (Polyak 1964), or Nesterov's
/// (Sutskever et al. 2013), both in the form of PyTorch, where the learning rate is not part of the velocity.
/// </summary>
/// <param name="LearningRate">Learning rate; finite.</param>
/// <param name="Momentum">Factor on the velocity, 0 to below 1.</param>
/// <param name="WeightDecay">Coupled L2 decay (Krogh and Hertz 1992); finite.</param>
/// <param name="Nesterov">Nesterov momentum instead of the classical one.</param>
/// <param name="GradientScale">Factor on the gradient; finite.</param>
/// <param name="Shrink">Factor on the result: the early extra decay of Kolen-Pollack; 1 otherwise. Finite.</param>
/// <param name="GradientFactor">Optional [1], Float32: another factor on the gradient, read when the step is computed, as
/// <see cref="Backend.ClipFactor"/> writes it.</param>
public readonly record struct SgdStep(
    float LearningRate,
    float Momentum = 0,
    float WeightDecay = 0,
    bool Nesterov = false,
    float GradientScale = 1,
    float Shrink = 1,
    BufferView GradientFactor = default)
{
    /// <summary>The formula in double precision, <see cref="GradientFactor"/> left out.</summary>
    /// <param name="value">w.</param>
    /// <param name="gradient">g.</param>
    /// <param name="velocity">v, which is replaced.</param>
    /// <returns>The new w.</returns>
    public double Apply(double value, double gradient, ref double velocity)
    {
        double g = (double)GradientScale * gradient + (double)WeightDecay * value;
        velocity = (double)Momentum * velocity + g;
        double move = Nesterov ? g + Momentum * velocity : velocity;
        return Shrink * (value - LearningRate * move);
    }
}
