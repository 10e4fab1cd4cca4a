using System.Globalization;

namespace FeedbackKernels.Interop;

/// <summary>How this process was started as one of several, as the environment variables of the launcher say.</summary>
/// <param name="Name">The launcher, for people.</param>
/// <param name="Engine">How the processes reach each other.</param>
/// <param name="Rank">Number of this process, from 0.</param>
/// <param name="Size">Number of processes.</param>
public sealed record Launcher(string Name, LaunchEngine Engine, int Rank, int Size)
{
    /// <summary>The launcher of this process; null if it was started alone.</summary>
    /// <exception cref="CommunicationException">The variables contradict each other, or a scheduler started several processes that cannot
    /// reach each other.</exception>
    public static Launcher? Detect() => Detect(Environment.GetEnvironmentVariable);

    /// <inheritdoc cref="Detect()"/>
    /// <param name="variable">Gives the value of an environment variable, or null.</param>
    internal static Launcher? Detect(Func<string, string?> variable)
    {
        // Open MPI's mpirun; MPICH's and Intel's mpirun, and srun --mpi=pmi2; srun --mpi=pmix.
        if (Pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE") is { } open) return new("mpirun of Open MPI", LaunchEngine.OpenMpi, open.Rank, open.Size);
        if (Pair("PMI_RANK", "PMI_SIZE") is { } hydra) return new("mpirun of MPICH", LaunchEngine.Mpich, hydra.Rank, hydra.Size);
        if (variable("PMIX_RANK") is not null && Pair("SLURM_PROCID", "SLURM_STEP_NUM_TASKS") is { } pmix) return new("srun", LaunchEngine.OpenMpi, pmix.Rank, pmix.Size);
        // A batch script has SLURM_NTASKS too, but only the tasks of srun are of a step.
        if (Pair("SLURM_PROCID", "SLURM_STEP_NUM_TASKS") is { Size: > 1 } slurm)
        {
            throw new CommunicationException(
                $"srun started {slurm.Size} tasks without MPI, so each would train alone; start them with srun --mpi=pmix, or with mpirun");
        }

        bool torch = variable("MASTER_ADDR") is not null && variable("MASTER_PORT") is not null;
        return torch && Pair("RANK", "WORLD_SIZE") is { } run ? new("torchrun", LaunchEngine.Address, run.Rank, run.Size) : null;

        (int Rank, int Size)? Pair(string rank, string size)
        {
            if (variable(rank) is not { } r || variable(size) is not { } s) return null;
            return Number(r, rank) is var number && Number(s, size) is var count && number < count
                ? (number, count)
                : throw new CommunicationException($"{rank} is {r} and {size} is {s}, wanted a rank below the size");
        }

        static int Number(string text, string name) =>
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value)
                ? value
                : throw new CommunicationException($"{name} is '{text}', wanted a number");
    }

    /// <summary>Refuses to divide work between processes that can sum buffers of GPUs only.</summary>
    /// <param name="backend">Name of the backend.</param>
    /// <exception cref="CommunicationException">The launcher gave the processes an address and no MPI, and the backend is not that of
    /// GPUs.</exception>
    public void RequireEngineFor(string backend)
    {
        if (Engine == LaunchEngine.Address && backend is "cpu" or "reference")
            throw new CommunicationException($"{Name} started {Size} processes; processes on CPUs are started by mpirun, as in mpirun -n {Size} feedback train");
    }

    /// <summary>Joins the other processes.</summary>
    /// <exception cref="CommunicationException">The processes cannot reach each other.</exception>
    /// <exception cref="PlatformNotSupportedException">The library of the engine cannot be loaded; the message names every path tried.</exception>
    public Communicator Join()
    {
        if (Engine == LaunchEngine.Address) return TcpCommunicator.Join(TcpPlace.Of(Rank, Size, Environment.GetEnvironmentVariable));
        var group = new MpiCommunicator(Engine);
        if (group.Size == Size) return group;
        int found = group.Size;
        string engine = group.Description;
        group.Dispose();
        throw new CommunicationException(
            $"{Name} started {Size} processes, but {engine} sees {found}, so each would train alone; the library is not that of the launcher ({MpiLibrary.EnvironmentVariable} names another)");
    }
}

/// <summary>How processes reach each other.</summary>
public enum LaunchEngine
{
    /// <summary>Open MPI.</summary>
    OpenMpi,

    /// <summary>MPICH, or a library with its interface, as that of Intel.</summary>
    Mpich,

    /// <summary>The address of the first process, as torchrun gives it.</summary>
    Address,
}
