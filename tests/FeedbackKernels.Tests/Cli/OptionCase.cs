namespace FeedbackKernels.Tests.Cli;

/// <summary>A value of an option that is not the default, and how it shows.</summary>
/// <param name="Given">The option with its argument, separated by spaces.</param>
/// <param name="Shows">Looks for it in what ran: the run without the option, then the run with it.</param>
/// <param name="Config">Path of the value in config.json; null where the option does not belong there.</param>
/// <param name="Value">What stands at that path.</param>
/// <param name="With">What both runs are given besides.</param>
/// <param name="Cuda">Whether both run on the emulated CUDA driver.</param>
internal sealed record OptionCase(string Given, Action<Trial, Trial> Shows, string? Config = null, string? Value = null, string With = "", bool Cuda = false)
{
    /// <summary>The option.</summary>
    public string Option => Given.Split(' ')[0];

    /// <summary>For whatever changes the training: the trained weights differ.</summary>
    public static void OtherModel(Trial without, Trial with) => Assert.NotEqual(without.Model, with.Model);
}
