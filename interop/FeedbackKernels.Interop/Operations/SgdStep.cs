namespace FeedbackKernels.Interop;

/// <summary>
/// One step of stochastic gradient descent on a parameter w with gradient g and velocity v:
/// <c>g' = GradientScale * GradientFactor * g + WeightDecay * w; v = Momentum * v + g';
/// w = Shrink * (w - LearningRate * (Nesterov ? g' + Momentum * v : v))</c>.
/// </summary>
/// <param name="LearningRate">Size of the step; finite.</param>
/// <param name="Momentum">Share of the velocity that is kept, 0 to below 1.</param>
/// <param name="WeightDecay">Coupled L2 decay; finite.</param>
/// <param name="Nesterov">Looks one step of momentum ahead.</param>
/// <param name="GradientScale">Factor on the gradient; finite.</param>
/// <param name="Shrink">Factor on the result: the early extra decay of Kolen-Pollack; 1 otherwise. Finite.</param>
/// <param name="GradientFactor">Optional [1], Float32: another factor on the gradient, which is read when the step is made, as of
/// <see cref="Backend.ClipFactor"/>.</param>
public readonly record struct SgdStep(
    float LearningRate,
    float Momentum = 0,
    float WeightDecay = 0,
    bool Nesterov = false,
    float GradientScale = 1,
    float Shrink = 1,
    BufferView GradientFactor = default);
