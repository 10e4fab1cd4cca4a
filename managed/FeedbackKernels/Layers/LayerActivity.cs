using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>The activity of a layer in a training step, as a rule may learn from it. The buffers are valid during the call that gets them.</summary>
/// <param name="Images">N.</param>
/// <param name="Input">x, NHWC.</param>
/// <param name="Response">The convolution's own output, NPQK: without bias, norm and activation. Absent where the forward pass did not
/// keep it.</param>
/// <param name="Output">What the layer's unit passes on, NPQK: after bias or norm, residual and activation. Absent where its memory has
/// been reused (projection shortcuts).</param>
/// <param name="OutputError">Gradient of the loss by the logits, [N][classes].</param>
public readonly record struct LayerActivity(int Images, BufferView Input, BufferView Response, BufferView Output, BufferView OutputError);
