namespace FeedbackKernels.Training;

/// <summary>What a feed has spent time on, in seconds. Reading, decoding and resizing are done on its threads and are sums over
/// them; waiting and uploading are done on the thread that trains.</summary>
/// <param name="Waiting">Time that the training thread has waited for a batch.</param>
/// <param name="Reading">Reading encoded images.</param>
/// <param name="Decoding">Decoding them.</param>
/// <param name="Resizing">Resizing and flipping.</param>
/// <param name="Uploading">Copying batches to the device.</param>
public readonly record struct FeedTimes(double Waiting, double Reading, double Decoding, double Resizing, double Uploading)
{
    /// <summary>The time between two moments.</summary>
    public static FeedTimes operator -(in FeedTimes a, in FeedTimes b) =>
        new(a.Waiting - b.Waiting, a.Reading - b.Reading, a.Decoding - b.Decoding, a.Resizing - b.Resizing, a.Uploading - b.Uploading);

    /// <summary>Time on the feed's threads.</summary>
    public double OnThreads => Reading + Decoding + Resizing;
}

/// <summary>What training has waited for, as fractions of its time.</summary>
/// <param name="Reading">Waiting while images were read.</param>
/// <param name="Decoding">Waiting while they were decoded.</param>
/// <param name="Resizing">Waiting while they were resized.</param>
/// <param name="Uploading">Copying batches to the device.</param>
/// <param name="EnoughThreads">Threads of the feed that would be enough for training not to wait for a batch; 0 if the feed does not
/// decode.</param>
public readonly record struct FeedWaiting(double Reading, double Decoding, double Resizing, double Uploading, int EnoughThreads = 0)
{
    // Less is the noise of a shared machine, and the first batch of an epoch.
    private const double Much = 0.05;

    /// <summary>Fraction of the time in which training waited for a batch.</summary>
    public double ForBatches => Reading + Decoding + Resizing;

    /// <summary>Fraction of the time in which training did not compute.</summary>
    public double Total => ForBatches + Uploading;

    /// <summary>Whether the feed is what limits the speed.</summary>
    public bool IsMuch => ForBatches > Much;

    /// <summary>The stage that is waited for most.</summary>
    public string Stage => Uploading >= Math.Max(Reading, Math.Max(Decoding, Resizing)) ? "upload"
        : Reading >= Math.Max(Decoding, Resizing) ? "read"
        : Decoding >= Resizing ? "decode" : "resize";

    /// <summary>Divides the waiting among the stages, in proportion to the time that the feed's threads spent in each.</summary>
    /// <param name="times">What the feed has spent time on.</param>
    /// <param name="seconds">The time altogether.</param>
    /// <param name="images">Images that were trained on.</param>
    internal static FeedWaiting Of(in FeedTimes times, double seconds, long images)
    {
        if (!(seconds > 0) || images <= 0) return default;
        double onThreads = times.OnThreads, waiting = times.Waiting / seconds;
        // Images that are not decoded are read on the feed's thread without a clock.
        if (!(onThreads > 0)) return new FeedWaiting(waiting, 0, 0, times.Uploading / seconds, 0);
        // The threads' work for an image, against the time that training takes for one when it does not wait.
        double computing = Math.Max(seconds - times.Waiting, 1e-9);
        return new FeedWaiting(
            waiting * times.Reading / onThreads, waiting * times.Decoding / onThreads, waiting * times.Resizing / onThreads,
            times.Uploading / seconds, (int)Math.Ceiling(onThreads / computing));
    }
}
