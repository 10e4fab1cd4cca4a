namespace FeedbackKernels.Cli;

/// <summary>Suggests corrections for mistyped words.</summary>
internal static class Spelling
{
    /// <summary>The candidate with the smallest edit distance; null if none is near.</summary>
    public static string? Nearest(string word, IEnumerable<string> candidates)
    {
        int most = (word.Length + 2) / 3;
        return candidates.Select(c => (Word: c, Edits: Distance(word, c))).Where(c => c.Edits <= most).OrderBy(c => c.Edits).FirstOrDefault().Word;
    }

    /// <summary>Number of insertions, deletions and replacements between two words (Levenshtein 1966).</summary>
    public static int Distance(string from, string to)
    {
        int[] above = [.. Enumerable.Range(0, to.Length + 1)];
        for (int i = 1; i <= from.Length; i++)
        {
            int[] row = new int[to.Length + 1];
            row[0] = i;
            for (int j = 1; j <= to.Length; j++)
                row[j] = Math.Min(Math.Min(above[j], row[j - 1]) + 1, above[j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1));
            above = row;
        }

        return above[^1];
    }
}
