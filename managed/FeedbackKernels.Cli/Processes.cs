using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>
/// The processes that run one command together, if mpirun, srun or torchrun started several. The first writes and prints for all of them; of the others
/// only errors are seen, each line with the number of the process.
/// </summary>
internal static class Processes
{
    // The commands that divide their work. Any other would be run by each process, with the same files.
    private static readonly string[] Shared = ["train", "resume", "evaluate", "info"];

    /// <summary>The processes; one, unless a launcher started several.</summary>
    public static Communicator Group { get; private set; } = Communicator.Alone;

    private static Launcher? _launcher;

    /// <summary>Joins the other processes, if there are any.</summary>
    /// <param name="command">Name of the command.</param>
    /// <param name="backend">Name of the backend, if the command line gives it.</param>
    /// <exception cref="UsageException">The command does not divide its work.</exception>
    /// <exception cref="CommunicationException">The processes cannot reach each other.</exception>
    public static void Join(string command, string? backend)
    {
        if (Launcher.Detect() is not { Size: > 1 } launcher) return;
        // mpirun gives each process a terminal of its own, and .NET would send it control characters, which end in the log of a job.
        Environment.SetEnvironmentVariable("TERM", "dumb");
        Console.SetError(new LinePrefixWriter(Console.Error, $"process {launcher.Rank}: "));
        if (launcher.Rank > 0) Console.SetOut(TextWriter.Null);
        if (!Shared.Contains(command))
            throw new UsageException($"{launcher.Name} started {launcher.Size} processes, and {command} is for one; {string.Join(", ", Shared)} divide their work");
        _launcher = launcher;
        if (backend is not null) launcher.RequireEngineFor(backend);
        Group = launcher.Join();
    }

    /// <summary>Checks that all processes have the same kind of backend, and that they can divide work on it.</summary>
    /// <param name="backend">That of this process.</param>
    /// <exception cref="CommunicationException">They have not, or cannot.</exception>
    public static void RequireOneKind(Backend backend)
    {
        if (!Group.IsShared) return;
        string own = backend.Name;
        string[] all = Group.Gather(own);
        int other = Array.FindIndex(all, name => name != all[0]);
        if (other >= 0) throw new CommunicationException($"process 0 computes on the {all[0]} backend, process {other} on {all[other]}; --backend names one for all");
        _launcher?.RequireEngineFor(own);
    }

    /// <summary>Which of the GPUs that this process sees is its own, from 0; called by all. Most launchers show all processes of a machine the same
    /// ones; srun --gpus-per-task shows each its own.</summary>
    public static int OwnDevice()
    {
        string? shown = Environment.GetEnvironmentVariable("CUDA_VISIBLE_DEVICES");
        string own = $"{Environment.MachineName} {shown}";
        string[] all = Group.Gather(own);
        return !string.IsNullOrEmpty(shown) && all.Count(other => other == own) == 1 ? 0 : Group.LocalRank;
    }

    /// <summary>The processes as those that train together on their backends. The caller disposes the result before the backend; it is null
    /// where <see cref="Group"/> can do it.</summary>
    /// <param name="backend">That of this process.</param>
    /// <param name="config">What they train.</param>
    public static NcclCommunicator? BetweenDevices(Backend backend, RunConfig config) => Group.IsShared && backend is CudaBackend cuda
        ? new NcclCommunicator(Group, cuda, config.ReduceType == CudaPrecision.Bf16 ? ElementType.BFloat16 : ElementType.Float32)
        : null;

    /// <summary>Leaves the other processes, which have come to the same end.</summary>
    public static void Leave()
    {
        Communicator group = Group;
        Group = Communicator.Alone;
        if (group.IsShared) group.Dispose();
    }

    /// <summary>Ends all processes after an error in this one.</summary>
    /// <param name="exitCode">Exit code.</param>
    public static int Fail(int exitCode)
    {
        if (Group.IsShared) Group.Abort(exitCode);
        return exitCode;
    }

    /// <summary>What the first process finds, in all of them.</summary>
    /// <param name="find">Called in the first process only.</param>
    public static int? OfFirst(Func<int?> find)
    {
        int? found = Group.IsFirst ? find() : null;
        Span<double> shared = [found is null ? 0 : 1, found ?? 0];
        Group.Sum(shared);
        return shared[0] > 0 ? (int)shared[1] : null;
    }

    /// <summary>The configuration that the first process has, in all of them.</summary>
    /// <param name="read">Called in the first process only.</param>
    public static RunConfig OfFirst(Func<RunConfig> read)
    {
        if (!Group.IsShared) return read();
        string text = Group.Broadcast(Group.IsFirst ? read().ToJson() : "");
        return RunConfig.Parse(() => text, "process 0");
    }

    /// <summary>The threads of a process that was not told how many: its processors, divided between the processes that may use them
    /// too.</summary>
    public static int UsualThreads()
    {
        if (!Group.IsShared) return 0;
        string own = Place();
        int sharing = Group.Gather(own).Count(place => place == own);
        return Math.Max(1, Environment.ProcessorCount / sharing);
    }

    /// <summary>Prints where each process runs. Called by all.</summary>
    public static void Print()
    {
        if (!Group.IsShared) return;
        Console.WriteLine($"{Group.Size} processes by {Group.Description}, {Group.LocalSize} on the machine of process 0");
        string[] places = Group.Gather(Place());
        for (int rank = 0; rank < places.Length; rank++) Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"process {rank}: {places[rank]}"));
    }

    private static string Place()
    {
        const string name = "Cpus_allowed_list:";
        string? processors = File.Exists("/proc/self/status") ? File.ReadLines("/proc/self/status").FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?[name.Length..].Trim() : null;
        return $"{Environment.MachineName}, processors {processors ?? Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture)}";
    }
}
