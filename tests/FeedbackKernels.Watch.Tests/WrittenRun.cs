namespace FeedbackKernels.Watch.Tests;

/// <summary>Writes the files of a run as a training process does.</summary>
internal sealed class WrittenRun
{
    public const string MetricsHeader = "epoch,step,learningRate,trainLoss,trainTop1,testLoss,testTop1,testTop5,imagesPerSecond,seconds,waitingRead,waitingDecode,waitingResize,waitingUpload\n";
    public const string AlignmentHeader = "epoch,step,layer,rule,weightAngle,normRatio,deltaAngle\n";

    private int _epochs;

    public WrittenRun(string folder, string rule = "weight-mirror")
    {
        Folder = Directory.CreateDirectory(folder).FullName;
        Write("config.json", $$"""{"model":"resnet20","data":"cifar10:/data","rule":{ "rule":"{{rule}}" },"training":{"epochs":12} }""");
        Write("metrics.csv", MetricsHeader);
        Write("alignment.csv", AlignmentHeader);
        Measure();
    }

    public string Folder { get; }

    /// <summary>Adds an epoch.</summary>
    public void AddEpoch()
    {
        _epochs++;
        Append("metrics.csv", FormattableString.Invariant($"{_epochs},{_epochs * 100},0.1,{2.0 / _epochs},0.5,{2.5 / _epochs},{1 - 0.5 / _epochs},0.9,1234.5,{_epochs * 60},0.01,0.02,0.03,0.04\n"));
        Append("log.txt", $"2026-01-02 03:04:05Z epoch {_epochs}/12\n");
        Measure();
    }

    public void Write(string name, string text) => File.WriteAllText(Path.Combine(Folder, name), text);

    public void Append(string name, string text) => File.AppendAllText(Path.Combine(Folder, name), text);

    private void Measure()
    {
        foreach ((string layer, int i) in ((string[])["conv1", "layer1.0.conv1", "fc"]).Select((layer, i) => (layer, i)))
            Append("alignment.csv", FormattableString.Invariant($"{_epochs},{_epochs * 100},{layer},{(i == 0 ? "" : "weight-mirror")},{(i == 0 ? "" : $"{90 - 10 * i - 5 * _epochs}")},{(i == 0 ? "" : "1.5")},{80 - 10 * i - 5 * _epochs}\n"));
    }
}
