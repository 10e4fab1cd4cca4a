using System.CommandLine;

namespace FeedbackKernels.Cli;

/// <summary>An option, with what this program needs besides its name and type.</summary>
internal interface ISetting
{
    /// <summary>When the option has an effect.</summary>
    Use Use { get; }

    /// <summary>Whether it may be given more than once.</summary>
    bool MayRepeat { get; }
}

/// <summary>An option that declares when it has an effect.</summary>
/// <param name="name">Name, with the dashes.</param>
/// <param name="use">When it has an effect.</param>
internal sealed class Setting<T>(string name, Use use) : Option<T>(name), ISetting
{
    /// <inheritdoc/>
    public Use Use => use;

    /// <inheritdoc/>
    public bool MayRepeat { get; init; }
}
