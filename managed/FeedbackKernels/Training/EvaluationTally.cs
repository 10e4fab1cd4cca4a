using FeedbackKernels.Interop;

namespace FeedbackKernels.Training;

/// <summary>Sums the results of an evaluation over its batches.</summary>
/// <param name="results">Where the results of a batch are queued.</param>
internal sealed class EvaluationTally(StepResults results)
{
    private double _loss;
    private int _top1, _top5;

    /// <summary>Adds the queued results, if there are any.</summary>
    public void Add()
    {
        if (results.Images == 0) return;
        (double loss, int first, int five) = results.Read();
        (_loss, _top1, _top5) = (_loss + loss, _top1 + first, _top5 + five);
    }

    /// <summary>The evaluation.</summary>
    /// <param name="images">Number of images.</param>
    /// <param name="group">Processes that have evaluated a part of them each.</param>
    public Evaluation Over(int images, Communicator group)
    {
        Span<double> sums = [_loss, _top1, _top5];
        group.Sum(sums);
        return new Evaluation(sums[0] / images, sums[1] / images, sums[2] / images, images);
    }
}
