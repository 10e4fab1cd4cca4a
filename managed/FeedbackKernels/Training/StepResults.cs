using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>
/// Losses and logits of a step. They are queued right after the step and read after the next step has been queued, so that the device
/// does not wait for the host.
/// </summary>
internal sealed class StepResults : IDisposable
{
    private readonly Model _model;
    private readonly float[] _losses, _logits;
    private readonly int[] _labels;
    private readonly Readback _lossesRead, _logitsRead;

    /// <summary>Allocates memory for the model's largest batch.</summary>
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

    /// <summary>Images of the step whose results have not been read; 0 if there is none.</summary>
    public int Images { get; private set; }

    /// <summary>Queues the results of the last step. The batch may be reused when this returns.</summary>
    public void Queue(Batch batch)
    {
        _lossesRead.Queue(_model.Losses, batch.Count);
        _logitsRead.Queue(_model.Logits, batch.Count * _model.Spec.Classes);
        batch.Labels.AsSpan(0, batch.Count).CopyTo(_labels);
        Images = batch.Count;
    }

    /// <summary>Waits for the queued results. Returns the sum of the losses and the numbers of images whose class has the largest
    /// logit, or one of the five largest.</summary>
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
            // Ties and NaN count against the label, so that equal logits for all classes are not counted as correct.
            if (k != label && !(logits[k] < own)) better++;
        }

        return better;
    }
}
