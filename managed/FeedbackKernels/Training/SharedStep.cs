using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>The results of a step over all processes.</summary>
/// <param name="Loss">Sum of the losses of its images.</param>
/// <param name="Images">Number of images.</param>
/// <param name="Right">Those whose class had the largest logit.</param>
/// <param name="Stops">Whether a process wants to stop after this step.</param>
/// <param name="Saves">Whether the first process wants to save the state after this step.</param>
internal readonly record struct SharedResults(double Loss, int Images, int Right, bool Stops, bool Saves = false);

/// <summary>
/// What processes that train together add up in each step: gradients, in buckets while the backward pass still computes others (Li et al.
/// 2020, "PyTorch Distributed", section 3.2); running statistics of batch norms; losses. Each process computes the gradient of the mean over
/// its own images, and the sum weights it by their share: the gradient of the mean over all images, also where processes have unequal numbers
/// of them. All processes get the same bits, so their weights, and B, stay equal without being sent.
/// </summary>
internal sealed class SharedStep : IGradientWatcher, IDisposable
{
    /// <summary>Elements of a bucket. Large enough for the bandwidth to count and not the latency, small enough to begin early: 4 MiB. PyTorch
    /// takes 25 MB, for networks with a higher latency. Tests have smaller models.</summary>
    internal static long BucketElements { get; set; } = 1 << 20;

    /// <summary>The environment variable that, set to 0, lets sums of gradients begin after the backward pass: to see what the overlap is
    /// worth.</summary>
    public const string OverlapVariable = "FEEDBACK_OVERLAP";

    private readonly Communicator _group;
    private readonly List<(long End, PendingSum Sum)> _buckets = [];
    private readonly List<PendingSum> _others = [];
    private readonly PendingSum _resultSum;
    private readonly double[] _results = new double[5];
    private readonly bool _overlaps;
    private readonly NormSharing? _norms;
    private int _begun;
    private float _share;

    /// <summary>Prepares the sums.</summary>
    /// <param name="model">Planned for training; stays the caller's.</param>
    /// <param name="group">All processes.</param>
    /// <param name="overlaps">Whether sums begin while the backward pass goes on.</param>
    /// <param name="syncNorms">Whether batch norms use the statistics of all processes.</param>
    public SharedStep(Model model, Communicator group, bool overlaps, bool syncNorms = false)
    {
        (_group, _overlaps) = (group, overlaps && Environment.GetEnvironmentVariable(OverlapVariable) != "0");
        if (syncNorms && model.Norms.Count > 0) _norms = model.ShareNorms(group);
        AddBuckets(model.Weights);
        if (model.Layers.Any(layer => layer.Feedback is { LearnsFromActivity: true }))
            _others.Add(group.CreateGradientSum(model.FeedbackWeights!.Gradients!, "gradients of feedback weights"));
        if (!syncNorms && model.RunningStatistics is { } statistics) _others.Add(group.CreateSum(statistics, "running statistics"));
        _resultSum = group.CreateSum(_results, "losses");
    }

    /// <summary>Begins with a part of a step, before its forward pass.</summary>
    /// <param name="images">Images of this process.</param>
    /// <param name="ofAll">Images of all processes.</param>
    public void BeginForward(int images, int ofAll) => _norms?.Begin(images, ofAll);

    /// <summary>Goes on after the forward pass.</summary>
    /// <param name="loss">Sum of the losses of the images of this process.</param>
    /// <param name="images">Their number.</param>
    /// <param name="right">Those whose class had the largest logit.</param>
    /// <param name="stops">Whether this process wants to stop.</param>
    /// <param name="ofAll">Images of all processes.</param>
    /// <returns>Who is to be told of the backward pass; null where nobody is.</returns>
    public IGradientWatcher? BeginBackward(double loss, int images, int right, bool stops, int ofAll)
    {
        BeginResults(new SharedResults(loss, images, right, stops));
        return Begin(images, ofAll);
    }

    /// <summary>The same where the device has not computed the losses yet: <see cref="Exchange"/> sums them later.</summary>
    /// <param name="images">Images of this process.</param>
    /// <param name="ofAll">Images of all processes.</param>
    /// <returns>Who is to be told of the backward pass; null where nobody is.</returns>
    public IGradientWatcher? Begin(int images, int ofAll)
    {
        _share = (float)images / ofAll;
        return _overlaps ? this : null;
    }

    /// <summary>Sums the results of a part; all processes call it at the same place.</summary>
    /// <param name="own">The results of this process.</param>
    public SharedResults Exchange(in SharedResults own)
    {
        BeginResults(own);
        return Results();
    }

    /// <inheritdoc/>
    public void OnComplete(long elements)
    {
        while (_begun < _buckets.Count && _buckets[_begun].End <= elements) _buckets[_begun++].Sum.Begin(_share);
        _group.Progress();
    }

    /// <summary>Waits for the results of a part that has begun.</summary>
    public SharedResults Results()
    {
        _norms?.End();
        _resultSum.Wait();
        return new SharedResults(_results[0], (int)_results[1], (int)_results[2], _results[3] > 0, _results[4] > 0);
    }

    /// <summary>Ends the step: the gradients are then those of all images.</summary>
    public void Finish()
    {
        OnComplete(long.MaxValue);
        foreach (PendingSum sum in _others) sum.Begin(_share);
        foreach ((_, PendingSum sum) in _buckets) sum.Wait();
        foreach (PendingSum sum in _others) sum.Wait();
        _begun = 0;
    }

    /// <inheritdoc/>
    public void Dispose() => _norms?.Dispose();

    private void BeginResults(in SharedResults own)
    {
        (_results[0], _results[1], _results[2]) = (own.Loss, own.Images, own.Right);
        (_results[3], _results[4]) = (own.Stops ? 1 : 0, own.Saves ? 1 : 0);
        _resultSum.Begin();
    }

    /// <summary>The buckets of a slab, in the order in which the backward pass completes them.</summary>
    internal static IEnumerable<(long Start, long End, Parameter Last)> BucketsOf(ParameterSlab slab)
    {
        long start = 0;
        foreach (Parameter parameter in slab.Parameters)
        {
            // A bucket ends where a parameter ends: the pass completes whole parameters.
            long end = parameter.Offset + parameter.Length;
            if (end - start < BucketElements && parameter != slab.Parameters[^1]) continue;
            yield return (start, end, parameter);
            start = end;
        }
    }

    private void AddBuckets(ParameterSlab slab)
    {
        foreach ((long start, long end, Parameter last) in BucketsOf(slab))
            _buckets.Add((end, _group.CreateGradientSum(slab.Gradients!.Slice(start, end - start, "gradients"), $"gradients up to those of {last.Name}")));
    }
}
