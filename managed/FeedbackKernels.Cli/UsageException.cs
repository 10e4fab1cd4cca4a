namespace FeedbackKernels.Cli;

/// <summary>A command line that cannot be carried out as it stands.</summary>
internal sealed class UsageException(string message) : Exception(message);
