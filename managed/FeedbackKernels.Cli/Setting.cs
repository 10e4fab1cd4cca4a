using System.CommandLine;

namespace FeedbackKernels.Cli;

/// <summary>What this program wants to know of an option.</summary>
internal interface ISetting
{
    /// <summary>What the option has an effect on.</summary>
    Use Use { get; }

    /// <summary>Whether it may be given more than once.</summary>
    bool MayRepeat { get; }
}

/// <summary>An option that says what it has an effect on.</summary>
/// <param name="name">Name, with its dashes.</param>
/// <param name="use">What it has an effect on.</param>
internal sealed class Setting<T>(string name, Use use) : Option<T>(name), ISetting
{
    /// <inheritdoc/>
    public Use Use => use;

    /// <inheritdoc/>
    public bool MayRepeat { get; init; }
}
