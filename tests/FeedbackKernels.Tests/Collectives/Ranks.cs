using System.Net;
using System.Net.Sockets;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>Threads of this process as the ranks of a group, each with a connection by TCP and a backend of its own.</summary>
internal static class Ranks
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>A port that was free just now.</summary>
    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>Runs the same in each rank, and throws the first exception of any.</summary>
    public static void Run(int size, Action<TcpCommunicator> work)
    {
        if (Try(size, work, Limit).FirstOrDefault(e => e is not null) is { } e) throw new InvalidOperationException(e.Message, e);
    }

    /// <summary>Runs the same in each rank; returns the exception of each, or null. A rank that throws tells the others.</summary>
    public static Exception?[] Try(int size, Action<TcpCommunicator> work, TimeSpan limit)
    {
        var found = new Exception?[size];
        int port = FreePort();
        Thread[] threads = [.. Enumerable.Range(0, size).Select(rank => new Thread(() => found[rank] = Record.Exception(() => Join(rank))))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        return found;

        void Join(int rank)
        {
            using TcpCommunicator group = TcpCommunicator.Join(new TcpPlace(rank, size, rank, size, "127.0.0.1", port), limit);
            try
            {
                work(group);
            }
            catch
            {
                group.Fail();
                throw;
            }
        }
    }

    /// <summary>The same with a backend on the emulated driver, and NCCL.</summary>
    public static void RunOnDevices(int size, Action<NcclCommunicator, CudaBackend> work, ElementType gradients = ElementType.Float32) =>
        Run(size, group => OnDevice(group, work, gradients, Limit));

    /// <inheritdoc cref="Try"/>
    public static Exception?[] TryOnDevices(int size, Action<NcclCommunicator, CudaBackend> work, TimeSpan limit) =>
        Try(size, group => OnDevice(group, work, ElementType.Float32, limit), Limit);

    private static void OnDevice(TcpCommunicator group, Action<NcclCommunicator, CudaBackend> work, ElementType gradients, TimeSpan limit)
    {
        using var backend = new CudaBackend(driver: EmulatedDriver.Path);
        using var devices = new NcclCommunicator(group, backend, gradients, EmulatedNccl.Path, limit);
        work(devices, backend);
    }
}
