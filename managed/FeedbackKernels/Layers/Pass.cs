using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>One forward pass: how many images, and whether batch norms use the batch's statistics.</summary>
/// <param name="Images">N, at most the batch that the model is planned for.</param>
/// <param name="Training">Batch statistics instead of running ones; the backward pass needs it.</param>
/// <param name="UpdateRunningStatistics">Whether running statistics move; off where a pass only measures.</param>
public readonly record struct Pass(int Images, bool Training, bool UpdateRunningStatistics)
{
    /// <summary>A pass that trains.</summary>
    /// <param name="images">N.</param>
    public static Pass Train(int images) => new(images, true, true);

    /// <summary>A pass with batch statistics that leaves no trace in the running ones.</summary>
    /// <param name="images">N.</param>
    public static Pass Measure(int images) => new(images, true, false);

    /// <summary>A pass with running statistics.</summary>
    /// <param name="images">N.</param>
    public static Pass Evaluate(int images) => new(images, false, false);
}

/// <summary>What the backward pass of a block needs to know.</summary>
/// <param name="Images">N.</param>
/// <param name="OutputError">Gradient of the loss by the logits, [N][classes]: what direct feedback starts from.</param>
/// <param name="Observer">Sees each layer's error, or null.</param>
/// <param name="Training">Whether the forward pass was one of training, and gradients of the parameters are wanted. Otherwise it used running
/// statistics, which are constants here, and only errors go back.</param>
internal readonly record struct BackwardPass(int Images, BufferView OutputError, IErrorObserver? Observer, bool Training = true);

/// <summary>Is told how far a backward pass has come.</summary>
internal interface IGradientWatcher
{
    /// <summary>Called after each block. Elements of the slab's gradients in front of a place will not change any more in this pass.</summary>
    /// <param name="elements">The place.</param>
    void OnComplete(long elements);
}

/// <summary>Sees the error signal that each layer learns from.</summary>
public interface IErrorObserver
{
    /// <summary>Called in the backward pass, when the error at a layer's output (before bias and norm) is complete.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="error">dy, NPQK; valid during the call.</param>
    /// <param name="length">Its number of elements.</param>
    void Observe(ConvLayer layer, BufferView error, long length);
}
