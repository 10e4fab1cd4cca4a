namespace FeedbackKernels.Runs;

/// <summary>An error stopped a run whose state has been saved. The message says what happened, and how to go on.</summary>
/// <param name="folder">The folder of the run.</param>
/// <param name="step">Step of its newest checkpoint.</param>
/// <param name="cause">The error.</param>
public sealed class StoppedRunException(string folder, long step, Exception cause)
    : Exception($"{cause.Message.ReplaceLineEndings(" ").TrimEnd('.')}. The run is saved up to step {step}: `feedback resume {folder}` goes on from there", cause);
