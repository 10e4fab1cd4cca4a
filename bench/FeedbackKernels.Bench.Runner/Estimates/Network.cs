namespace FeedbackKernels.Bench.Estimates;

/// <summary>
/// What a sum over GPUs takes, by the cost model with which NCCL itself chooses between its algorithms (ncclTopoTuneModel in
/// src/graph/tuning.cc): a latency for each step of the algorithm, and the bytes over the bandwidth of the slowest link.
/// </summary>
/// <param name="Gpus">Number of GPUs.</param>
/// <remarks>
/// Ring (Patarasuk and Yuan 2009): 2(n-1) steps; each GPU sends and receives 2(n-1)/n of the bytes. Between nodes, NCCL lays a ring through
/// each network adapter, so that all adapters of a node carry bytes, and a step in m of the n crosses nodes. Tree (two binary trees, each for
/// half of the bytes: Sanders, Speck and Traeff 2009): 2(g-1) steps in a node of g GPUs and 2 log2(m) between nodes; twice the bytes.
/// </remarks>
internal sealed record Network(int Gpus)
{
    /// <summary>GPUs of a node of H200s (HGX).</summary>
    public const int NodeGpus = 8;

    // Bytes a second of a GPU in one direction: NVLink by the data sheet of the H200, 900 GB/s in both directions; the network adapter of each
    // GPU, 400 Gb/s.
    private const double NvLinkBytes = 450e9, AdapterBytes = 50e9;

    // Of these rates, what large sums reach: assumed.
    private const double Reached = 0.8;

    // Seconds, from the tables of NCCL's model: start of a call, a step by NVLink, a step by network. Ring with protocol Simple, tree with LL128.
    private const double RingStart = 8.4e-6, RingNvLink = 3.4e-6, RingNetwork = 9.6e-6, TreeStart = 4.4e-6, TreeNvLink = 1.2e-6, TreeNetwork = 8.5e-6;

    // LL128 carries 120 bytes of 128; a tree reaches nine tenths of the rate of a ring.
    private const double TreeShare = 0.9 * 0.915;

    /// <summary>Number of nodes.</summary>
    public int Nodes => (Gpus + NodeGpus - 1) / NodeGpus;

    /// <summary>Bytes a second that a GPU sends and receives: between nodes, a ring is as fast as all adapters of a node together.</summary>
    public double Bandwidth => Reached * (Nodes == 1 ? NvLinkBytes : Math.Min(NvLinkBytes, NodeGpus * AdapterBytes));

    /// <summary>Seconds of a sum by the faster algorithm.</summary>
    /// <param name="bytes">Bytes of each GPU.</param>
    public double Seconds(double bytes) => Gpus == 1 ? 0 : Math.Min(RingSeconds(bytes), TreeSeconds(bytes));

    /// <summary>Seconds of a ring.</summary>
    /// <param name="bytes">Bytes of each GPU.</param>
    public double RingSeconds(double bytes)
    {
        int between = 2 * (Nodes - 1), steps = 2 * (Gpus - 1);
        return RingStart + (steps - between) * RingNvLink + between * RingNetwork + bytes * steps / Gpus / Bandwidth;
    }

    /// <summary>Seconds of a tree.</summary>
    /// <param name="bytes">Bytes of each GPU.</param>
    public double TreeSeconds(double bytes) =>
        TreeStart + 2 * ((Gpus / Nodes - 1) * TreeNvLink + Math.Floor(Math.Log2(Nodes)) * TreeNetwork) + 2 * bytes / (TreeShare * Bandwidth);
}
