namespace FeedbackKernels.Tests.Cli;

/// <summary>A value of an option other than the default, and a check of its effect.</summary>
/// <param name="Given">The option with its argument, separated by spaces.</param>
/// <param name="Shows">Checks the effect; gets the run without the option and the run with it.</param>
/// <param name="Config">Path of the value in config.json; null if the option is not saved there.</param>
/// <param name="Value">The expected value at that path.</param>
/// <param name="With">Further options of both runs.</param>
/// <param name="Cuda">Whether both run on the emulated CUDA driver.</param>
internal sealed record OptionCase(string Given, Action<Trial, Trial> Shows, string? Config = null, string? Value = null, string With = "", bool Cuda = false)
{
    /// <summary>The option.</summary>
    public string Option => Given.Split(' ')[0];

    /// <summary>Checks that the trained weights differ, for options that change the training.</summary>
    public static void OtherModel(Trial without, Trial with) => Assert.NotEqual(without.Model, with.Model);
}
