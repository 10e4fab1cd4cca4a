using FeedbackKernels.Interop;

namespace FeedbackKernels.State;

/// <summary>
/// Something that changes during training. It shows a walker everything that decides what it does next: a checkpoint is a walk that
/// copies the values out, and resuming is the same walk that puts them back. What a walk does not reach is not saved.
/// </summary>
public interface IState
{
    /// <summary>Shows all tensors, numbers and texts, always the same ones in the same order.</summary>
    /// <param name="walker">Reads or replaces them.</param>
    void Walk(IStateWalker walker);
}

/// <summary>Reads or replaces the tensors and numbers of an <see cref="IState"/>. Names are unique within a walk.</summary>
public interface IStateWalker
{
    /// <summary>Whether the walk puts values in, so that what is derived from them has to be made anew.</summary>
    bool Replaces { get; }

    /// <summary>A Float32 tensor in a backend's memory.</summary>
    /// <param name="name">Its name, as <c>layer1.0.conv1.weight</c>.</param>
    /// <param name="sizes">Sizes of its dimensions.</param>
    /// <param name="buffer">Its elements.</param>
    void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer);

    /// <summary>An integer.</summary>
    /// <param name="name">Its name, unique in the whole state.</param>
    /// <param name="value">Read, or replaced.</param>
    void Scalar(string name, ref long value);

    /// <summary>A number.</summary>
    /// <param name="name">Its name, unique in the whole state.</param>
    /// <param name="value">Read, or replaced.</param>
    void Scalar(string name, ref double value);

    /// <summary>A text, such as a list whose length grows.</summary>
    /// <param name="name">Its name, unique in the whole state.</param>
    /// <param name="value">Read, or replaced.</param>
    void Text(string name, ref string value);
}
