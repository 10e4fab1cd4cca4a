using System.IO.Hashing;
using System.Runtime.InteropServices;
using FeedbackKernels.Interop;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>Brings the state of the first process to all that train together, and checks that they still have the same.</summary>
internal static class StateAgreement
{
    /// <summary>Gives all processes the state of the first.</summary>
    /// <param name="group">The processes.</param>
    /// <param name="state">The state of this one: all have the same tensors.</param>
    /// <param name="backend">Where its tensors are.</param>
    public static void Spread(Communicator group, IState state, Backend backend)
    {
        if (group.IsShared) state.Walk(new Spreader(group, backend));
    }

    /// <summary>Checks that all processes have the same tensors, bit for bit. They compute the same updates from the same gradients; another
    /// program, another kind of processor or a fault of the memory shows here.</summary>
    /// <param name="group">The processes.</param>
    /// <param name="state">The state of this one.</param>
    /// <param name="backend">Where its tensors are.</param>
    /// <exception cref="CommunicationException">They have not; the message names the process and the first tensor.</exception>
    public static void Require(Communicator group, IState state, Backend backend)
    {
        if (!group.IsShared) return;
        var hasher = new Hasher(backend);
        state.Walk(hasher);
        ulong[] own = [.. hasher.Tensors.Select(tensor => tensor.Hash)], first = [.. own];
        group.Broadcast(MemoryMarshal.AsBytes(first.AsSpan()));
        int differs = Enumerable.Range(0, own.Length).FirstOrDefault(i => own[i] != first[i], -1);
        Span<double> where = new double[group.Size];
        where[group.Rank] = differs + 1;
        group.Sum(where);
        for (int rank = 0; rank < group.Size; rank++)
        {
            if (where[rank] == 0) continue;
            throw new CommunicationException(
                $"process {rank} has another {hasher.Tensors[(int)where[rank] - 1].Name} than process 0; all processes must run the same program on the same kind of processor");
        }
    }

    private sealed class Spreader(Communicator group, Backend backend) : IStateWalker
    {
        public bool Replaces => !group.IsFirst;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) => group.Broadcast(buffer, backend);

        public void Scalar(string name, ref long value) => group.Broadcast(MemoryMarshal.AsBytes(new Span<long>(ref value)));

        public void Scalar(string name, ref double value) => group.Broadcast(MemoryMarshal.AsBytes(new Span<double>(ref value)));

        public void Text(string name, ref string value) => value = group.Broadcast(value);
    }

    private sealed class Hasher(Backend backend) : IStateWalker
    {
        public bool Replaces => false;

        public List<(string Name, ulong Hash)> Tensors { get; } = [];

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer)
        {
            var values = new float[buffer.Length];
            backend.Download(buffer, values);
            Tensors.Add((name, XxHash3.HashToUInt64(MemoryMarshal.AsBytes(values.AsSpan()))));
        }

        // Counts go with the tensors; times and measurements are those of each process.
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
}
