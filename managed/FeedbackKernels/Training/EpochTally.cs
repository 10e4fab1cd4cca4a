using System.Diagnostics;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>Losses and accuracy of the epoch so far.</summary>
/// <param name="parts">Parts of a step, each of which is added.</param>
internal sealed class EpochTally(int parts = 1) : IState
{
    private long _epoch = 1, _steps, _images, _right;
    private double _lossSum, _batchLoss;
    private long _start, _startImages;
    private FeedTimes _startTimes;
    private int _part;

    /// <summary>Number of the epoch, from 1.</summary>
    public long Epoch => _epoch;

    /// <summary>Steps of the epoch whose results have been read.</summary>
    public int Steps => (int)_steps;

    /// <summary>Whether all parts of the last step have been added.</summary>
    public bool IsBetweenSteps => _part == 0;

    /// <summary>Mean loss of an image.</summary>
    public double Loss => _lossSum / _images;

    /// <summary>Share of the images whose class had the largest logit.</summary>
    public double Top1 => (double)_right / _images;

    /// <summary>Images a second, up to the last report.</summary>
    public double Speed { get; private set; }

    /// <summary>What training has waited for since the clock was started.</summary>
    public FeedWaiting Waiting { get; private set; }

    /// <summary>Begins to measure the speed: at the start of an epoch, or where a run goes on.</summary>
    /// <param name="feed">What the feed has spent time on so far.</param>
    public void StartClock(in FeedTimes feed) => (_start, _startImages, _startTimes) = (Stopwatch.GetTimestamp(), _images, feed);

    /// <summary>Takes time that was not spent on steps out of the measurement.</summary>
    /// <param name="time">The time, which has just gone by.</param>
    public void LeaveOut(TimeSpan time) => _start += (long)(time.TotalSeconds * Stopwatch.Frequency);

    /// <summary>Ends the measurement of <see cref="Waiting"/>.</summary>
    /// <param name="feed">What the feed has spent time on so far.</param>
    public void StopClock(in FeedTimes feed) =>
        Waiting = FeedWaiting.Of(feed - _startTimes, Stopwatch.GetElapsedTime(_start).TotalSeconds, _images - _startImages);

    /// <summary>Adds a step, or a part of it.</summary>
    /// <param name="loss">Mean loss of its images.</param>
    /// <param name="images">Their number.</param>
    /// <param name="right">Those whose class had the largest logit.</param>
    public void Add(double loss, int images, int right)
    {
        _batchLoss = loss;
        _lossSum += loss * images;
        _images += images;
        _right += right;
        if (++_part < parts) return;
        (_part, _steps) = (0, _steps + 1);
    }

    /// <summary>The epoch so far.</summary>
    /// <param name="steps">Steps of a whole epoch.</param>
    public StepReport Report(int steps)
    {
        Speed = (_images - _startImages) / Stopwatch.GetElapsedTime(_start).TotalSeconds;
        return new StepReport((int)_epoch, Steps, steps, Loss, Top1, Speed, _batchLoss);
    }

    /// <summary>Begins the next epoch.</summary>
    public void BeginNext()
    {
        _epoch++;
        (_steps, _images, _right, _lossSum) = (0, 0, 0, 0);
    }

    /// <inheritdoc/>
    public void Walk(IStateWalker walker)
    {
        walker.Scalar("trainer.epoch", ref _epoch);
        walker.Scalar("trainer.steps", ref _steps);
        walker.Scalar("trainer.images", ref _images);
        walker.Scalar("trainer.right", ref _right);
        walker.Scalar("trainer.loss_sum", ref _lossSum);
    }
}
