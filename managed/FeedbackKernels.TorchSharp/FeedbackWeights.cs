using TorchSharp.Utils;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// The feedback weights B of one layer, in the layout of its W: [out channels][in channels][rows][columns], or [out][in]. "B = Wᵀ" of the
/// papers means that both tensors are equal. A child of the layer, so that B is <c>feedback.weight</c> in its state dictionary.
/// </summary>
public sealed class FeedbackWeights : nn.Module
{
    [ComponentName(Name = nameof(weight))]
    private Tensor _weight;

    // Moves dispose the old tensor before they set the new one.
    private readonly long[] _sizes;

    internal FeedbackWeights(Tensor weight) : base(nameof(FeedbackWeights))
    {
        _sizes = weight.shape;
        _weight = weight.DetachFromDisposeScope();
        ConditionallyRegisterBuffer(nameof(weight), _weight);
    }

    /// <summary>B: Float32, contiguous. A buffer: it moves with the module and gets no gradient. Change its numbers with
    /// <c>copy_</c>.</summary>
    /// <exception cref="ArgumentException">The new tensor has other sizes.</exception>
    public Tensor weight
    {
        get => _weight;
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            if (!value.shape.AsSpan().SequenceEqual(_sizes))
                throw new ArgumentException($"has the sizes [{string.Join(", ", value.shape)}], wanted [{string.Join(", ", _sizes)}]", nameof(value));
            _weight = (value.is_contiguous() ? value : value.contiguous()).DetachFromDisposeScope();
            ConditionallyRegisterBuffer(nameof(weight), _weight);
        }
    }
}
