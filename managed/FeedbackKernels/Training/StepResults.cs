using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>
/// What a step says of its images, queued right after the step and read when the host has time: by then the next step is
/// queued, and a device goes from one to the other without a pause.
/// </summary>
internal sealed class StepResults : IDisposable
{
    private readonly Model _model;
    private readonly float[] _losses, _logits;
    private readonly int[] _labels;
    private readonly Readback _lossesRead, _logitsRead;

    /// <summary>Takes memory for the model's largest batch.</summary>
    public StepResults(Model model)
    {
        _model = model;
        (_losses, _labels) = (new float[model.MaxBatch], new int[model.MaxBatch]);
        _logits = new float[(long)model.MaxBatch * model.Spec.Classes];
        _lossesRead = model.Backend.CreateReadback(_losses.Length, "losses");
        try
        {
            _logitsRead = model.Backend.CreateReadback(_logits.Length, "logits");
        }
        catch
        {
            _lossesRead.Dispose();
            throw;
        }
    }

    /// <summary>Images of the step whose results are still to be read; 0 where there are none.</summary>
    public int Images { get; private set; }

    /// <summary>Queues the results of the step called last. The batch may change when this returns.</summary>
    public void Queue(Batch batch)
    {
        _lossesRead.Queue(_model.Losses, batch.Count);
        _logitsRead.Queue(_model.Logits, batch.Count * _model.Spec.Classes);
        batch.Labels.AsSpan(0, batch.Count).CopyTo(_labels);
        Images = batch.Count;
    }

    /// <summary>Waits for the results that were queued and counts: the sum of the losses, and the images whose class has the
    /// largest logit or is among the five largest.</summary>
    public (double Loss, int Top1, int Top5) Read()
    {
        int images = Images, classes = _model.Spec.Classes, top1 = 0, top5 = 0;
        Images = 0;
        _lossesRead.Read(_losses.AsSpan(0, images));
        _logitsRead.Read(_logits.AsSpan(0, images * classes));
        double loss = 0;
        for (int i = 0; i < images; i++)
        {
            loss += _losses[i];
            int better = CountBetter(_logits.AsSpan(i * classes, classes), _labels[i]);
            if (better < 1) top1++;
            if (better < 5) top5++;
        }

        return (loss, top1, top5);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _lossesRead.Dispose();
        _logitsRead.Dispose();
    }

    private static int CountBetter(ReadOnlySpan<float> logits, int label)
    {
        int better = 0;
        float own = logits[label];
        for (int k = 0; k < logits.Length; k++)
        {
            // Ties count against the label, and so does a NaN: a net that says the same for all classes is not right.
            if (k != label && !(logits[k] < own)) better++;
        }

        return better;
    }
}
