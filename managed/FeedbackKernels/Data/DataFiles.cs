namespace FeedbackKernels.Data;

/// <summary>Reading whole files, with errors that name them.</summary>
internal static class DataFiles
{
    public static byte[] ReadAll(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"file '{path}' is not there", path);
        return File.ReadAllBytes(path);
    }
}
