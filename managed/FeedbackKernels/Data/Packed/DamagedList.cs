using System.Text;

namespace FeedbackKernels.Data;

/// <summary>The CSV file that lists images which could not be decoded.</summary>
internal static class DamagedList
{
    /// <summary>Writes the list; without damaged images, deletes that of an earlier call.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(string path, IReadOnlyList<DamagedImage> images)
    {
        if (images.Count == 0)
        {
            File.Delete(path);
            return;
        }

        var text = new StringBuilder("image,class,reason\n");
        foreach (DamagedImage image in images) text.Append($"{Quote(image.Name)},{Quote(image.ClassName)},{Quote(image.Reason)}\n");
        File.WriteAllText(path, text.ToString());
    }

    // As RFC 4180 has it.
    private static string Quote(string cell) => cell.AsSpan().ContainsAny("\",\r\n") ? $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : cell;
}
