using FeedbackKernels.Data;

namespace FeedbackKernels.Training;

/// <summary>Settings of an <see cref="ImageFeed"/> that have usual values.</summary>
public sealed record FeedOptions
{
    /// <summary>The usual settings.</summary>
    public static FeedOptions Default { get; } = new();

    /// <summary>Number of this process, from 0.</summary>
    public int Rank { get; init; }

    /// <summary>Number of processes.</summary>
    public int WorldSize { get; init; } = 1;

    /// <summary>Threads that read and decode images; 0 for one if the images need no decoding, otherwise one for each processor, or for
    /// every second one if the processors also train.</summary>
    public int Threads { get; init; }

    /// <summary>Batches that are prepared ahead of the one in use.</summary>
    public int BatchesAhead { get; init; } = 2;

    /// <summary>How images of several sizes are cropped; the sizes must be set.</summary>
    public ImageOptions Images { get; init; } = new();

    /// <summary>Whether an image that cannot be decoded at all becomes a grey one, and is listed in <see cref="ImageFeed.Unreadable"/>, instead of
    /// ending the feed.</summary>
    internal bool KeepsUnreadable { get; init; }

    /// <summary>Whether a feed for training takes the images in the order of the source in each epoch, instead of a random order.</summary>
    internal bool KeepsOrder { get; init; }

    /// <summary>Whether encoded images become grey, as Pillow converts them (mode L: luma of ITU-R 601-2): for models of one channel.</summary>
    internal bool Grey { get; init; }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(WorldSize, "worldSize");
        if (Rank < 0 || Rank >= WorldSize) throw new ArgumentOutOfRangeException("rank", Rank, $"wanted 0 to {WorldSize - 1}");
        ArgumentOutOfRangeException.ThrowIfNegative(Threads, "threads");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(BatchesAhead, "batchesAhead");
        ArgumentNullException.ThrowIfNull(Images);
        Images.Validate();
    }
}
