using FeedbackKernels.Reports;

namespace FeedbackKernels.Runs;

/// <summary>A run of a study, before it has run.</summary>
/// <param name="Label">Label of its rule with its settings.</param>
/// <param name="Settings">Options that its rule alone has, as on a command line; empty for none.</param>
/// <param name="Value">Its value of the swept option; null if it has none.</param>
/// <param name="Config">Its configuration, for data that have been opened.</param>
/// <param name="Backend">Name of the backend that it runs on; its configuration may say auto.</param>
/// <param name="Folder">Its folder, relative to the study's.</param>
/// <param name="Command">The command that repeats this run alone, without its folder.</param>
internal sealed record StudyCell(string Label, string Settings, string? Value, RunConfig Config, string Backend, string Folder, string Command)
{
    /// <summary>Its seed.</summary>
    public ulong Seed => Config.Training.Seed;

    /// <summary>The run as the study's tables show it.</summary>
    public StudiedRun Told(RunStatus status, string? failure, RunSummary? summary, IReadOnlyList<StudiedEpoch> epochs, IReadOnlyList<StudiedAngles> angles) =>
        new(Label, Config.Rule.Name, Settings, Value, Seed, Folder, status, failure, summary, epochs, angles);
}
