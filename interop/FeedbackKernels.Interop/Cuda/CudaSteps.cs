namespace FeedbackKernels.Interop;

/// <summary>What a backend has launched since it was opened.</summary>
/// <param name="Kernels">Kernels, by themselves or in graphs.</param>
/// <param name="Graphs">Launches of graphs.</param>
/// <param name="Updates">Nodes of graphs that got new arguments.</param>
internal readonly record struct LaunchCounts(long Kernels, long Graphs, long Updates);

/// <summary>
/// Steps as graphs. While a step is open its launches are recorded; when it ends, or is divided, they are made by one launch of a graph.
/// Graphs are kept by their structure, which is the kernels and grids in order. Where the structure of a step is known, only arguments
/// that have changed are updated, such as a learning rate or a position in a stream of noise. Another batch size, or a mirror step that
/// also moves B, has another structure and a graph of its own. The launches of a graph are one chain, because each may read what any
/// before it wrote, and scratch memory is reused.
/// </summary>
/// <remarks>
/// The graph is built node by node and not captured from the stream: a capture restricts what other threads and libraries may do, would
/// be the caller's business on a caller's stream, and does not return its nodes in a defined order.
/// </remarks>
internal sealed unsafe class CudaSteps(CudaContext context, CudaHeap heap, nint stream) : IDisposable
{
    // Fewer launches are cheaper one by one. A step that downloads in between has such pieces.
    private const int FewestLaunches = 8;

    // Training has a handful of structures, evaluation two or three. Where processes train together, each step is divided at its sums: 25 times
    // in a ResNet-50.
    private const int MostGraphs = 256;

    // The most recently used graph first.
    private readonly List<Graph> _graphs = [];
    private LaunchLog _log = new();
    private int _number;

    /// <summary>Graphs that are kept.</summary>
    public int Kept => _graphs.Count;

    /// <summary>Whether launches are recorded.</summary>
    public bool IsOpen { get; private set; }

    /// <summary>What has been launched so far.</summary>
    public LaunchCounts Launched { get; private set; }

    /// <summary>Where launches are recorded.</summary>
    public LaunchLog Log => _log;

    /// <summary>Opens a step and returns its number.</summary>
    public int Begin()
    {
        if (IsOpen) throw new InvalidOperationException("a step is open on this backend: complete or dispose it before the next begins");
        heap.Keeps = true;
        IsOpen = true;
        return ++_number;
    }

    /// <summary>Ends a step. If it is not completed, launches that have not been made yet are dropped.</summary>
    public void End(int number, bool complete)
    {
        if (!IsOpen || number != _number)
        {
            if (complete) throw new InvalidOperationException("the step has ended already");
            return;
        }

        try
        {
            if (complete) Flush();
        }
        finally
        {
            IsOpen = false;
            _log.Clear();
            heap.Keeps = false;
        }
    }

    /// <summary>Makes the launches that have been recorded; the step stays open.</summary>
    public void Flush()
    {
        if (_log.Count == 0) return;
        using CudaContext.Scope scope = context.Enter();
        try
        {
            if (_log.Count < FewestLaunches) LaunchEach();
            else LaunchGraph();
        }
        finally
        {
            _log.Clear();
        }
    }

    public void Dispose()
    {
        if (IsOpen) End(_number, complete: false);
        foreach (Graph graph in _graphs) graph.Dispose();
        _graphs.Clear();
        _log.Dispose();
    }

    /// <summary>Queues one kernel by itself.</summary>
    public CudaResult Launch(
        nint function, (uint X, uint Y, uint Z) grid, uint threads, uint sharedBytes, void* arguments, int argumentBytes)
    {
        // CU_LAUNCH_PARAM_BUFFER_POINTER, _BUFFER_SIZE, _END: the arguments are one block in the layout of the kernel's struct.
        nuint bytes = (nuint)argumentBytes;
        void** extra = stackalloc void*[] { (void*)1, arguments, (void*)2, &bytes, null };
        CudaResult result = DriverApi.LaunchKernel(function, grid.X, grid.Y, grid.Z, threads, 1, 1, sharedBytes, stream, null, extra);
        if (result == CudaResult.Success) Launched = Launched with { Kernels = Launched.Kernels + 1 };
        return result;
    }

    private void LaunchEach()
    {
        for (int i = 0; i < _log.Count; i++)
        {
            ref readonly LoggedLaunch launch = ref _log[i];
            CudaResult result = Launch(
                launch.Function, launch.Grid, launch.Threads, launch.SharedBytes, _log.ArgumentsOf(launch), launch.ArgumentBytes);
            if (result != CudaResult.Success) throw new CudaException("cuLaunchKernel", result, _log.Describe(i));
        }
    }

    private void LaunchGraph()
    {
        Graph graph = TakeKept() ?? new Graph(context);
        // Not in the list while it is updated: a graph whose update fails is disposed.
        try
        {
            (_log, int updates) = graph.Set(_log);
            Launched = Launched with { Updates = Launched.Updates + updates };
        }
        catch
        {
            graph.Dispose();
            throw;
        }

        _graphs.Insert(0, graph);
        if (_graphs.Count > MostGraphs)
        {
            _graphs[MostGraphs].Dispose();
            _graphs.RemoveAt(MostGraphs);
        }

        graph.Launch(stream);
        Launched = Launched with { Kernels = Launched.Kernels + graph.Log.Count, Graphs = Launched.Graphs + 1 };
    }

    /// <summary>Removes the graph with the structure of the log from those that are kept; null where there is none.</summary>
    private Graph? TakeKept()
    {
        for (int i = 0; i < _graphs.Count; i++)
        {
            Graph graph = _graphs[i];
            if (!graph.Log.HasStructureOf(_log)) continue;
            _graphs.RemoveAt(i);
            return graph;
        }

        return null;
    }

    /// <summary>A graph, and the launches and arguments that it has.</summary>
    private sealed class Graph(CudaContext context) : IDisposable
    {
        private readonly CudaGraphTemplate _template = new(context);
        private CudaGraphExecutable? _executable;
        private nint[] _nodes = [];

        /// <summary>The launches of the graph.</summary>
        public LaunchLog Log { get; private set; } = new();

        /// <summary>Gives the graph the launches of a log, which has the structure of the graph unless that is new. Returns the log that it
        /// had, and how many nodes were updated.</summary>
        public (LaunchLog Old, int Updates) Set(LaunchLog log)
        {
            int updates = 0;
            if (_executable is null) Build(log);
            else updates = Update(log, _executable.DangerousGetHandle());
            (LaunchLog old, Log) = (Log, log);
            return (old, updates);
        }

        public void Launch(nint stream)
        {
            CudaResult result = DriverApi.GraphLaunch(_executable!.DangerousGetHandle(), stream);
            if (result != CudaResult.Success) throw new CudaException("cuGraphLaunch", result, $"a step of {Log.Count} kernels, from {Log.Describe(0)}");
        }

        public void Dispose()
        {
            _executable?.Dispose();
            _template.Dispose();
            Log.Dispose();
        }

        private void Build(LaunchLog log)
        {
            _nodes = new nint[log.Count];
            for (int i = 0; i < log.Count; i++)
            {
                ref readonly LoggedLaunch launch = ref log[i];
                void* arguments = log.ArgumentsOf(launch);
                KernelNodeParameters parameters = ParametersOf(launch, &arguments);
                nint before = i == 0 ? 0 : _nodes[i - 1];
                CudaResult result = DriverApi.GraphAddKernelNode(
                    out _nodes[i], _template.DangerousGetHandle(), &before, i == 0 ? 0u : 1u, &parameters);
                if (result != CudaResult.Success) throw new CudaException("cuGraphAddKernelNode", result, log.Describe(i));
            }

            _executable = new CudaGraphExecutable(context, _template, log.Count);
        }

        private int Update(LaunchLog log, nint executable)
        {
            int updates = 0;
            for (int i = 0; i < _nodes.Length; i++)
            {
                if (log.HasArgumentsOf(Log, i)) continue;
                ref readonly LoggedLaunch launch = ref log[i];
                void* arguments = log.ArgumentsOf(launch);
                KernelNodeParameters parameters = ParametersOf(launch, &arguments);
                CudaResult result = DriverApi.GraphExecKernelNodeSetParameters(executable, _nodes[i], &parameters);
                if (result != CudaResult.Success) throw new CudaException("cuGraphExecKernelNodeSetParams", result, log.Describe(i));
                updates++;
            }

            return updates;
        }

        private static KernelNodeParameters ParametersOf(in LoggedLaunch launch, void** arguments) => new()
        {
            Function = launch.Function,
            GridX = launch.Grid.X,
            GridY = launch.Grid.Y,
            GridZ = launch.Grid.Z,
            BlockX = launch.Threads,
            BlockY = 1,
            BlockZ = 1,
            SharedBytes = launch.SharedBytes,
            Parameters = arguments,
        };
    }
}
