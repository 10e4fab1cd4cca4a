namespace FeedbackKernels.Runs;

/// <summary>Names of the files in a study's folder, besides the folders of its runs.</summary>
internal static class StudyFiles
{
    /// <summary>What the study compares, and each run with the command that repeats it. Without it a folder is none of a study.</summary>
    public const string Study = "study.json";

    /// <summary>Table with a line for each run that has ended.</summary>
    public const string Runs = "study.csv";

    /// <summary>Table of means, intervals and differences.</summary>
    public const string Summary = "summary.csv";

    /// <summary>The page.</summary>
    public const string Page = "study.html";
}
