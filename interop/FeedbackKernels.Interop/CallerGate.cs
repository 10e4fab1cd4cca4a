using System.Diagnostics.CodeAnalysis;

namespace FeedbackKernels.Interop;

/// <summary>Lets one caller at a time into an object, and none once it is closed. It is not reentrant.</summary>
internal struct CallerGate
{
    private const int Free = 0, Taken = 1, Closed = 2;

    private int _state;

    /// <summary>Whether the object has been disposed.</summary>
    public bool IsClosed => Volatile.Read(ref _state) == Closed;

    /// <summary>Enters, or throws at once.</summary>
    /// <param name="owner">Owner of the gate.</param>
    /// <param name="kind">Kind of the owner, for messages.</param>
    /// <param name="name">Name of the owner, for messages.</param>
    /// <exception cref="ObjectDisposedException">The gate is closed.</exception>
    /// <exception cref="InvalidOperationException">Another caller is inside.</exception>
    public void Enter(object owner, string kind, string name)
    {
        int was = Interlocked.CompareExchange(ref _state, Taken, Free);
        if (was != Free) Refuse(was, owner, kind, name);
    }

    /// <summary>Waits until no caller is inside and enters; false if the gate is closed.</summary>
    public bool TryEnterInTurn() => Move(Taken);

    /// <summary>Leaves.</summary>
    public void Leave() => Volatile.Write(ref _state, Free);

    /// <summary>Waits until no caller is inside and closes the gate permanently; false if it was closed already.</summary>
    public bool TryClose() => Move(Closed);

    private bool Move(int to)
    {
        var spin = new SpinWait();
        while (true)
        {
            int was = Interlocked.CompareExchange(ref _state, to, Free);
            if (was != Taken) return was == Free;
            spin.SpinOnce();
        }
    }

    [DoesNotReturn]
    private static void Refuse(int state, object owner, string kind, string name)
    {
        if (state == Closed) throw new ObjectDisposedException(owner.GetType().Name, $"the {kind} '{name}' has been disposed");
        throw new InvalidOperationException($"a {kind} serves one caller at a time; another call of the {kind} '{name}' has not ended");
    }
}
