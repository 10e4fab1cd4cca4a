using System.Globalization;
using System.Text;

namespace FeedbackKernels.Data;

/// <summary>
/// Names with braces, expanded as bash does: ranges <c>{000..146}</c> and <c>{a..e}</c>, with a step as <c>{0..8..2}</c>, and lists
/// <c>{a,b}</c>, within one another too. A backslash makes the next character an ordinary one.
/// </summary>
internal static class BracePattern
{
    private const int MostNames = 1_000_000, MostDepth = 100;

    /// <summary>The names that a pattern stands for, in order; empty ones are left out.</summary>
    /// <exception cref="ArgumentException">There are more than a million, or there are more than 100 pairs of braces.</exception>
    public static IReadOnlyList<string> Expand(string pattern) => [.. Expand(pattern, 0).Where(name => name.Length > 0).Select(Unescape)];

    /// <summary>Splits at the commas that are not inside of braces.</summary>
    public static IReadOnlyList<string> SplitAtCommas(string text) => Split(text);

    /// <summary>The pattern that stands for one name.</summary>
    public static string Escape(string name)
    {
        var escaped = new StringBuilder(name.Length);
        foreach (char c in name)
        {
            if (c is '{' or '}' or ',' || c == '\\' && HasEscapes) escaped.Append('\\');
            escaped.Append(c);
        }

        return escaped.ToString();
    }

    // Where the backslash separates folders it cannot also escape.
    private static bool HasEscapes => Path.DirectorySeparatorChar != '\\';

    private static List<string> Expand(string text, int depth)
    {
        if (depth > MostDepth) throw new ArgumentException($"more than {MostDepth} pairs of braces within or after one another");
        if (FindBraces(text) is not (var open, var close)) return [text];
        string body = text[(open + 1)..close];
        List<string> middle;
        if (HasComma(body)) middle = [.. Split(body).SelectMany(part => Expand(part, depth + 1))];
        else if (BraceRange.Expand(body, MostNames) is { } range) middle = range;
        else if (close + 1 < text.Length) middle = [text[open..(close + 1)]];
        else return [text];
        return Product(text[..open], middle, close + 1 < text.Length ? Expand(text[(close + 1)..], depth + 1) : [""]);
    }

    private static List<string> Product(string before, List<string> middle, List<string> after)
    {
        if ((long)middle.Count * after.Count > MostNames) throw new ArgumentException($"the braces stand for {(long)middle.Count * after.Count} names, the limit is {MostNames}");
        return [.. from part in middle from rest in after select before + part + rest];
    }

    /// <summary>The first braces that enclose a list or what may be a range; null if there are none.</summary>
    private static (int Open, int Close)? FindBraces(string text)
    {
        for (int open = 0; open < text.Length; open++)
        {
            if (IsEscape(text, open)) open++;
            // At the beginning of a word, {} stands for itself.
            else if (text[open] == '{' && !(open == 0 && text.Length > 1 && text[1] == '}') && FindClose(text, open + 1) is { } close) return (open, close);
        }

        return null;
    }

    // A closing brace before the first comma or ".." is passed over, as in {a}b,c}.
    private static int? FindClose(string text, int start)
    {
        int level = 0;
        bool separates = false;
        for (int i = start; i < text.Length; i++)
        {
            if (IsEscape(text, i)) i++;
            else if (text[i] == '}' && level == 0 && separates) return i;
            else if (text[i] == '{') level++;
            else if (text[i] == '}' && level > 0) level--;
            else if (level == 0 && (text[i] == ',' || text.AsSpan(i).StartsWith("..") && i + 2 < text.Length && text[i + 2] != '}')) separates = true;
        }

        return null;
    }

    private static bool HasComma(string body)
    {
        for (int i = 0; i < body.Length; i++)
        {
            if (IsEscape(body, i)) i++;
            else if (body[i] == ',') return true;
        }

        return false;
    }

    private static List<string> Split(string text)
    {
        var parts = new List<string>();
        int level = 0, start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (IsEscape(text, i)) i++;
            else if (text[i] == '{') level++;
            else if (text[i] == '}' && level > 0) level--;
            else if (text[i] == ',' && level == 0)
            {
                parts.Add(text[start..i]);
                start = i + 1;
            }
        }

        parts.Add(text[start..]);
        return parts;
    }

    private static bool IsEscape(string text, int at) => HasEscapes && text[at] == '\\' && at + 1 < text.Length;

    private static string Unescape(string text)
    {
        if (!text.Contains('\\', StringComparison.Ordinal)) return text;
        var plain = new StringBuilder(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (IsEscape(text, i)) i++;
            plain.Append(text[i]);
        }

        return plain.ToString();
    }

    /// <summary>The inside of braces that is a range.</summary>
    private static class BraceRange
    {
        /// <summary>The range's members; null if the text is no range.</summary>
        public static List<string>? Expand(string body, int most)
        {
            string[] parts = body.Split("..");
            if (parts.Length is not (2 or 3) || parts.Length == 3 && !TryNumber(parts[2], out _)) return null;
            long step = parts.Length == 3 && TryNumber(parts[2], out long given) && given != 0 ? Math.Abs(given) : 1;
            if (TryNumber(parts[0], out long first) && TryNumber(parts[1], out long last))
            {
                int width = IsPadded(parts[0]) || IsPadded(parts[1]) ? Math.Max(parts[0].Length, parts[1].Length) : 0;
                return [.. Steps(first, last, step, most).Select(number => Padded(number, width))];
            }

            return parts[0].Length == 1 && parts[1].Length == 1 && char.IsAsciiLetter(parts[0][0]) && char.IsAsciiLetter(parts[1][0])
                ? [.. Steps(parts[0][0], parts[1][0], step, most).Select(letter => ((char)letter).ToString())]
                : null;
        }

        private static bool TryNumber(string text, out long number) =>
            long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number) && number > long.MinValue / 4 && number < long.MaxValue / 4;

        private static bool IsPadded(string number) => number.Length > 1 && number[0] == '0' || number.Length > 2 && number[0] == '-' && number[1] == '0';

        private static string Padded(long number, int width)
        {
            string digits = Math.Abs(number).ToString(CultureInfo.InvariantCulture), sign = number < 0 ? "-" : "";
            return sign + digits.PadLeft(Math.Max(0, width - sign.Length), '0');
        }

        private static IEnumerable<long> Steps(long first, long last, long step, int most)
        {
            long count = Math.Abs(last - first) / step + 1;
            if (count > most) throw new ArgumentException($"the range {first}..{last} has {count} members, the limit is {most}");
            for (long i = 0; i < count; i++) yield return first < last ? first + i * step : first - i * step;
        }
    }
}
