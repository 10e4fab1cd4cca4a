using System.CommandLine;

namespace FeedbackKernels.Cli;

/// <summary>What the program knows about an option beyond its parser.</summary>
internal interface ISetting
{
    /// <summary>The condition under which the option has an effect.</summary>
    Use Use { get; }

    /// <summary>Whether it may be given more than once.</summary>
    bool MayRepeat { get; }
}

/// <summary>An option that declares when it has an effect.</summary>
/// <param name="name">Name, with its dashes.</param>
/// <param name="use">The condition under which it has an effect.</param>
internal sealed class Setting<T>(string name, Use use) : Option<T>(name), ISetting
{
    /// <inheritdoc/>
    public Use Use => use;

    /// <inheritdoc/>
    public bool MayRepeat { get; init; }
}
