namespace FeedbackKernels.Tests.Cli;

/// <summary>A value of an option other than the default, and its effect.</summary>
/// <param name="Given">The option with its argument, separated by spaces.</param>
/// <param name="Shows">Asserts the effect, from the run without the option and the run with it.</param>
/// <param name="Config">Path of the value in config.json; null for an option that is not kept there.</param>
/// <param name="Value">The value at that path.</param>
/// <param name="With">Further options of both runs.</param>
/// <param name="Cuda">Whether both run on the CUDA driver under test.</param>
internal sealed record OptionCase(string Given, Action<Trial, Trial> Shows, string? Config = null, string? Value = null, string With = "", bool Cuda = false)
{
    /// <summary>The option.</summary>
    public string Option => Given.Split(' ')[0];

    /// <summary>For options that change the training: the trained weights differ.</summary>
    public static void OtherModel(Trial without, Trial with) => Assert.NotEqual(without.Model, with.Model);
}
