using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// A driver without a GPU: it hands out addresses without memory behind them, and launches nothing. The host code of
/// <see cref="CudaBackend"/> runs on it unchanged, so that the launches of a step can be counted on any machine. It answers the calls
/// that a thread makes while <see cref="Context"/> is the thread's context, as a driver answers for the device of the current context; a
/// process can use it beside a real driver.
/// </summary>
internal static unsafe class PaperDriver
{
    /// <summary>The context of every device on paper. No driver makes a context at this address.</summary>
    public const nint Context = -1;

    // What modules and events are called: nothing tells them apart.
    private const nint AnyHandle = 1;

    // Addresses that are never dereferenced. Aligned as cuMemAlloc aligns, because kernels are chosen by it.
    private const long FirstAddress = 1L << 40, Alignment = 512;

    private static long _used;
    private static long _functions;

    [ThreadStatic]
    private static int _entered;

    /// <summary>Whether <see cref="Context"/> is the context of this thread.</summary>
    public static bool IsCurrent => _entered > 0;

    public static CudaResult Enter()
    {
        _entered++;
        return CudaResult.Success;
    }

    public static CudaResult Leave(out nint context)
    {
        _entered--;
        context = Context;
        return CudaResult.Success;
    }

    public static CudaResult CreateEvent(out nint made)
    {
        made = AnyHandle;
        return CudaResult.Success;
    }

    public static CudaResult Load(out nint module)
    {
        module = AnyHandle;
        return CudaResult.Success;
    }

    public static CudaResult Find(out nint function)
    {
        function = (nint)Interlocked.Increment(ref _functions);
        return CudaResult.Success;
    }

    public static CudaResult Allocate(out nint address, nuint bytes)
    {
        long room = Rounding.DivideUp((long)bytes, Alignment) * Alignment;
        address = (nint)(FirstAddress + Interlocked.Add(ref _used, room) - room);
        return CudaResult.Success;
    }

    /// <summary>Host memory exists: the backend fills it.</summary>
    public static CudaResult AllocateHost(out nint address, nuint bytes)
    {
        address = (nint)NativeMemory.AllocZeroed(bytes);
        return CudaResult.Success;
    }

    public static CudaResult FreeHost(nint address)
    {
        NativeMemory.Free((void*)address);
        return CudaResult.Success;
    }

    /// <summary>All memory on paper reads as zeros.</summary>
    public static CudaResult Download(nint destination, nuint bytes)
    {
        NativeMemory.Clear((void*)destination, bytes);
        return CudaResult.Success;
    }

    public static CudaResult Memory(out nuint free, out nuint total)
    {
        free = total = nuint.MaxValue;
        return CudaResult.Success;
    }
}

/// <summary>A device that only <see cref="PaperDriver"/> has.</summary>
/// <param name="Name">What messages call it.</param>
/// <param name="Major">Its compute capability, which chooses between the kernels of Hopper and those of Ampere.</param>
/// <param name="Minor">The second number of that.</param>
/// <param name="Multiprocessors">Its multiprocessors.</param>
internal sealed record PaperDevice(string Name, int Major, int Minor, int Multiprocessors);
