namespace FeedbackKernels.Interop;

/// <summary>An elementwise update of many segments of a slab, each cut into runs of elements: one distribution of work for them all,
/// since most parameters of a net (biases, batch norms) are too small for one of their own.</summary>
internal unsafe struct SlabJob : IParallelJob
{
    public delegate*<MapArguments*, long, void> Kernel;
    public MapArguments Arguments;
    public SlabSegment* Segments;

    /// <summary>Number of the first item of each segment.</summary>
    public int* FirstItems;
    public int Count;

    /// <summary>Fills <see cref="FirstItems"/> and returns the number of items.</summary>
    public readonly int CountItems()
    {
        long items = 0;
        for (int i = 0; i < Count; i++)
        {
            FirstItems[i] = WorkItems.Checked(items);
            items += Rounding.DivideUp(Segments[i].Length, MapJob.ItemFloats);
        }

        return WorkItems.Checked(items);
    }

    public readonly void Run(int item, int worker)
    {
        int at = new ReadOnlySpan<int>(FirstItems, Count).BinarySearch(item);
        SlabSegment* segment = Segments + (at < 0 ? ~at - 1 : at);
        long first = (long)(item - FirstItems[segment - Segments]) * MapJob.ItemFloats;
        MapArguments part = Arguments.From(segment->Offset + first);
        part.Step.WeightDecay = segment->WeightDecay;
        part.Step.Shrink = segment->Shrink;
        Kernel(&part, Math.Min(MapJob.ItemFloats, segment->Length - first));
    }
}
