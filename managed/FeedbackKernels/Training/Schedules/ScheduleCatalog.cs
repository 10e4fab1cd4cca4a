namespace FeedbackKernels.Training;

/// <summary>All learning-rate schedules. A new one is one file with its class, and one line here.</summary>
public static class ScheduleCatalog
{
    /// <summary>The entries, in the order of the help texts.</summary>
    public static IReadOnlyList<ScheduleKind> All { get; } =
    [
        ScheduleKind.Constant,
        ScheduleKind.Cosine,
        ScheduleKind.OneCycle,
        ScheduleKind.MultiStep,
    ];

    /// <summary>The names of all entries, for messages.</summary>
    public static string Names { get; } = string.Join(", ", All.Select(kind => kind.Name));

    /// <summary>The entry of a name; null if there is none.</summary>
    /// <param name="name">The name.</param>
    public static ScheduleKind? Find(string name) => All.FirstOrDefault(kind => kind.Name == name);
}
