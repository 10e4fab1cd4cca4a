using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.State;

namespace FeedbackKernels.Storage;

/// <summary>
/// A copy of a state in host memory, which can be written to a checkpoint while the state changes. The copy of a tensor is queued behind
/// the operations before it, so a device works on, and the host waits for nothing. One thread takes copies and another may write them,
/// but not at the same time.
/// </summary>
public sealed class Snapshot : IDisposable
{
    private readonly IState _state;
    private readonly List<Copy> _tensors = [];
    private readonly List<KeyValuePair<string, string>> _values = [];

    /// <summary>Allocates memory for all tensors of a state; page-locked, if they are on a device.</summary>
    /// <param name="state">What is copied.</param>
    /// <param name="backend">Where its tensors are.</param>
    /// <exception cref="OutOfMemoryException">The host has not enough memory.</exception>
    /// <exception cref="CudaException">The driver cannot lock as much memory.</exception>
    public Snapshot(IState state, Backend backend)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(backend);
        _state = state;
        try
        {
            state.Walk(new Allocator(backend, _tensors));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Bytes of all tensors.</summary>
    public long Bytes => _tensors.Sum(t => (long)t.Length * sizeof(float));

    /// <summary>Copies the state. Tensors in host memory are copied when this returns, those of a device are queued.</summary>
    /// <exception cref="InvalidOperationException">The state has other tensors than when the snapshot was created.</exception>
    public void Take()
    {
        _values.Clear();
        var copier = new Copier(_tensors, _values);
        _state.Walk(copier);
        copier.RequireAll();
    }

    /// <summary>Waits until all tensors have been copied.</summary>
    /// <exception cref="CudaException">A copy, or work queued before it, has failed.</exception>
    public void Wait()
    {
        // A device copies in order.
        if (_tensors is [.., var last]) last.Read(stackalloc float[1]);
    }

    /// <summary>Name of the first tensor with a value that is NaN or infinite; null if there is none.</summary>
    public string? FirstTensorNotFinite()
    {
        var values = new float[Longest];
        foreach (Copy tensor in _tensors)
        {
            foreach (float value in tensor.Read(values))
            {
                if (!float.IsFinite(value)) return tensor.Name;
            }
        }

        return null;
    }

    /// <summary>Writes the copy. The file appears whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="notes">Strings that the file carries besides.</param>
    /// <exception cref="ArgumentException">Two tensors or values of the state have one name.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Write(string path, IReadOnlyDictionary<string, string>? notes = null)
    {
        var values = new float[Longest];
        TensorSource[] tensors = [.. _tensors.Select(t => new TensorSource(t.Name, t.Sizes, () => t.Read(values)))];
        Checkpoint.Write(path, tensors, _values, notes ?? new Dictionary<string, string>());
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Copy tensor in _tensors) tensor.Memory.Dispose();
        _tensors.Clear();
    }

    private int Longest => _tensors.Count == 0 ? 0 : _tensors.Max(t => t.Length);

    private sealed record Copy(string Name, IReadOnlyList<int> Sizes, int Length, Readback Memory)
    {
        public ReadOnlySpan<float> Read(Span<float> values)
        {
            values = values[..Math.Min(values.Length, Length)];
            Memory.Read(values);
            return values;
        }
    }

    private sealed class Allocator(Backend backend, List<Copy> tensors) : IStateWalker
    {
        public bool Replaces => false;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer)
        {
            int length = checked((int)buffer.Length);
            tensors.Add(new Copy(name, [.. sizes], length, backend.CreateReadback(length, $"snapshot of {name}")));
        }

        public void Scalar(string name, ref long value)
        {
        }

        public void Scalar(string name, ref double value)
        {
        }

        public void Text(string name, ref string value)
        {
        }
    }

    private sealed class Copier(List<Copy> tensors, List<KeyValuePair<string, string>> values) : IStateWalker
    {
        private int _next;

        public bool Replaces => false;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer)
        {
            if (_next >= tensors.Count || tensors[_next] is not { } copy || copy.Name != name || copy.Length != buffer.Length)
                throw Differs($"tensor '{name}' of {buffer.Length} elements is new");
            copy.Memory.Queue(buffer, copy.Length);
            _next++;
        }

        public void Scalar(string name, ref long value) => Add(Checkpoint.NumberPrefix + name, value.ToString(CultureInfo.InvariantCulture));

        // The shortest text that reads as the same number.
        public void Scalar(string name, ref double value) => Add(Checkpoint.NumberPrefix + name, value.ToString("R", CultureInfo.InvariantCulture));

        public void Text(string name, ref string value) => Add(Checkpoint.TextPrefix + name, value);

        public void RequireAll()
        {
            if (_next < tensors.Count) throw Differs($"tensor '{tensors[_next].Name}' is gone");
        }

        private void Add(string name, string value) => values.Add(new(name, value));

        private static InvalidOperationException Differs(string what) => new($"the state has changed since the snapshot was created: {what}");
    }
}
