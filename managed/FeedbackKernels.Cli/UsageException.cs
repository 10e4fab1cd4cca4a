namespace FeedbackKernels.Cli;

/// <summary>A command line with an error.</summary>
internal sealed class UsageException(string message) : Exception(message);
