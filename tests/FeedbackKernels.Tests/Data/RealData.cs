namespace FeedbackKernels.Tests.Data;

/// <summary>Real data sets, in the folder that the environment variable FEEDBACK_DATA names.</summary>
internal static class RealData
{
    /// <summary>A folder of real data; skips the test where it does not exist.</summary>
    public static string Require(string folder)
    {
        string? root = Environment.GetEnvironmentVariable("FEEDBACK_DATA");
        Assert.SkipWhen(string.IsNullOrEmpty(root), "FEEDBACK_DATA is not set: no real data here");
        string path = Path.Combine(root!, folder);
        Assert.SkipUnless(Directory.Exists(path), $"'{path}' is not there");
        return path;
    }
}
