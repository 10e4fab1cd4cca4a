using System.Collections.Concurrent;
using System.Diagnostics;
using FeedbackKernels.Interop;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>
/// Writes checkpoints beside the steps: a step waits for the copy of the state in host memory, and a background thread writes the copy to
/// the disk. A step waits for the disk only if the checkpoint before is not written yet, and the next is due at this very step or at the
/// end of the epoch. A checkpoint that cannot be written does not end the run: the former one stays, and the next is attempted in its turn.
/// </summary>
internal sealed class CheckpointWriter : ICheckpoints, IDisposable
{
    private readonly Trainer _trainer;
    private readonly CheckpointFolder _folder;
    private readonly CheckpointInterval _interval;
    private readonly int _keep;
    private readonly Dictionary<string, string> _notes;
    private readonly ITrainingObserver _observer;
    private readonly Snapshot _snapshot;
    private readonly bool _onDevice;
    private readonly ConcurrentQueue<string> _warnings = new();
    private Task _writing = Task.CompletedTask;
    private long _last = Stopwatch.GetTimestamp();

    // Written by the background thread, read by the other once the task has ended.
    private string? _failure;
    private long? _newest;
    private long _waitedTicks;

    /// <summary>Creates the folder.</summary>
    /// <param name="trainer">The run.</param>
    /// <param name="snapshot">Memory for the copy of its state; stays the caller's.</param>
    /// <param name="backend">Where its tensors are.</param>
    /// <param name="folder">Where the files go.</param>
    /// <param name="config">Interval, number of files, and what identifies the run.</param>
    /// <param name="newest">Step of the checkpoint that the run goes on from; null for a new run.</param>
    /// <param name="observer">Is told of checkpoints that could not be written.</param>
    public CheckpointWriter(
        Trainer trainer, Snapshot snapshot, Backend backend, CheckpointFolder folder, RunConfig config, long? newest, ITrainingObserver observer)
    {
        (_trainer, _folder, _interval, _keep, _observer) = (trainer, folder, config.CheckpointEvery, config.KeepCheckpoints, observer);
        (_notes, _newest) = (CheckpointNotes.Of(config, backend), newest);
        (_snapshot, _onDevice) = (snapshot, !backend.HostAddressable);
        folder.Create();
    }

    /// <summary>Step of the newest checkpoint that is whole; null if there is none. Waits for the one that is being written.</summary>
    public long? Newest
    {
        get
        {
            WaitForDisk();
            return _newest;
        }
    }

    /// <inheritdoc/>
    public double SecondsWaited => Interlocked.Read(ref _waitedTicks) / (double)Stopwatch.Frequency;

    /// <inheritdoc/>
    public bool IsDue(int step)
    {
        Tell();
        if (_interval.Steps is { } steps) return step % steps == 0;
        // While a slow disk still writes the one before, the steps go on.
        return Stopwatch.GetElapsedTime(_last) >= _interval.Time && _writing.IsCompleted;
    }

    /// <inheritdoc/>
    public void Save(int step)
    {
        long start = Stopwatch.GetTimestamp();
        Finish();
        _snapshot.Take();
        Interlocked.Add(ref _waitedTicks, Stopwatch.GetTimestamp() - start);
        _last = Stopwatch.GetTimestamp();
        TrainingResult measured = _trainer.Measured;
        long? best = measured.Epochs.Count == 0 ? null : measured.Epochs.MaxBy(epoch => epoch.TestTop1)!.Step;
        long queued = _last;
        _writing = Task.Run(() => Write(step, best, queued));
    }

    /// <summary>Saves the state that a stopped run is in, and waits until it is on the disk.</summary>
    public void SaveNow(int step)
    {
        if (Newest != step) Save(step);
        Finish();
        Tell();
    }

    /// <summary>Ends the run: waits for the last checkpoint.</summary>
    /// <exception cref="IOException">It could not be written.</exception>
    public void End()
    {
        Finish();
        if (_failure is not null) throw new IOException(_failure);
    }

    /// <inheritdoc/>
    public void Dispose() => WaitForDisk();

    // Without throwing: where End has not been called, another error ends the run.
    private void WaitForDisk() => Task.WaitAny(_writing);

    private void Finish()
    {
        _writing.GetAwaiter().GetResult();
        Tell();
    }

    private void Tell()
    {
        while (_warnings.TryDequeue(out string? text)) _observer.OnWarning(text);
    }

    private void Write(int step, long? best, long queued)
    {
        _snapshot.Wait();
        // For as long as a device copies, it computes no step. Copies in host memory had been made before.
        if (_onDevice) Interlocked.Add(ref _waitedTicks, Stopwatch.GetTimestamp() - queued);
        // The run ends at its next step, and the former checkpoint is the better one.
        if (_snapshot.FirstTensorNotFinite() is not null) return;
        try
        {
            _snapshot.Write(_folder.FileOf(step), _notes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            string former = _newest is { } newest ? $"that of step {newest} stays" : "there is none before it";
            _failure = $"the checkpoint of step {step} could not be written, {former}: {e.Message}";
            _warnings.Enqueue($"{_failure}. The run goes on and tries again at the next checkpoint");
            return;
        }

        (_newest, _failure) = (step, null);
        Prune(best);
    }

    private void Prune(long? best)
    {
        try
        {
            _folder.Prune(_keep, best);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _warnings.Enqueue($"an old checkpoint could not be deleted: {e.Message}");
        }
    }
}
