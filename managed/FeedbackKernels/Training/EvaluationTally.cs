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
    public Evaluation Over(int images) => new(_loss / images, (double)_top1 / images, (double)_top5 / images, images);
}
