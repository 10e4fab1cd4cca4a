using CsCheck;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data;

/// <summary>Patterns with braces, compared with what bash makes of them.</summary>
public sealed class BracePatternTests
{
    [Theory]
    [InlineData("plain.tar", "plain.tar")]
    [InlineData("train-{000..003}.tar", "train-000.tar train-001.tar train-002.tar train-003.tar")]
    [InlineData("{8..11}", "8 9 10 11")]
    [InlineData("{08..11}", "08 09 10 11")]
    [InlineData("{3..1}", "3 2 1")]
    [InlineData("{0..9..4}", "0 4 8")]
    [InlineData("{-1..1}", "-1 0 1")]
    [InlineData("{a,b}{1,2}", "a1 a2 b1 b2")]
    [InlineData("x{a,b{1..2},c}y", "xay xb1y xb2y xcy")]
    [InlineData("{train,val}-{00..01}.tar", "train-00.tar train-01.tar val-00.tar val-01.tar")]
    [InlineData("{c..a}", "c b a")]
    [InlineData("{,-b}.tar", ".tar -b.tar")]
    [InlineData("{,a,}", "a")]
    [InlineData("{a}", "{a}")]
    [InlineData("a{b,c", "a{b,c")]
    [InlineData("a\\{b,c\\}", "a{b,c}")]
    [InlineData("{a\\,b,c}", "a,b c")]
    public void Patterns_stand_for_their_names(string pattern, string names) => Assert.Equal(names.Split(' '), BracePattern.Expand(pattern));

    /// <summary>One process of bash expands 2,000 patterns.</summary>
    [Fact]
    public void Patterns_are_expanded_as_bash_does()
    {
        Gen<string> range = Gen.Select(Gen.Int[-12, 120], Gen.Int[-4, 4], Gen.Int[0, 2], Gen.Int[0, 2], Gen.Int[-3, 3])
            .Select((first, count, width, other, step) => $"{{{Padded(first, width)}..{Padded(first + count, other)}{(step == 0 ? "" : $"..{step}")}}}");
        var words = (string[])["{", "}", "{", "}", ",", "..", "a", "b", "Z", "0", "07", "-", "\\", "{a..d}", "{x,y}", "{d..b}", "{}", "{1..3}", "x.tar"];
        Gen<string> piece = Gen.OneOf(range, Gen.Int[0, words.Length - 1].Select(i => words[i]), Gen.Int[0, words.Length - 1].Select(i => words[i]));
        List<string> patterns = [];
        piece.List[1, 7].Select(string.Concat).Where(pattern => !pattern.EndsWith('\\')).Sample(patterns.Add, iter: 2000, threads: 1);
        string script = string.Concat(patterns.Select(pattern => $"for name in {pattern} ; do printf '%s\\n' \"$name\" ; done ; printf '=\\n'\n"));
        string folder = Directory.CreateTempSubdirectory("feedback-bash").FullName;
        try
        {
            File.WriteAllText(Path.Combine(folder, "expand.sh"), "set -f\n" + script);
            string[] expected = PictureFiles.Run(folder, "bash", "expand.sh").Split("=\n");
            Assert.Equal(patterns.Count, expected.Length - 1);
            for (int i = 0; i < patterns.Count; i++)
                Assert.True(expected[i] == string.Concat(BracePattern.Expand(patterns[i]).Select(name => name + '\n')), $"{patterns[i]}: bash has {expected[i]}, found {string.Join(' ', BracePattern.Expand(patterns[i]))}");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        static string Padded(int number, int width) => number < 0 ? $"-{(-number).ToString("D" + (width + 1))}" : number.ToString("D" + (width + 1));
    }

    [Fact]
    public void A_name_that_is_escaped_stands_for_itself()
    {
        Gen.Char["ab{},.\\0"].Array[1, 12].Select(characters => new string(characters)).Sample(name => Assert.Equal([name], BracePattern.Expand(BracePattern.Escape(name))));
    }

    [Fact]
    public void Commas_inside_of_braces_do_not_split() =>
        Assert.Equal(["a{1,{2,3}}b", "c\\,d", ""], BracePattern.SplitAtCommas("a{1,{2,3}}b,c\\,d,"));

    [Fact]
    public void Patterns_that_stand_for_too_much_are_refused()
    {
        TestFiles.Complains<ArgumentException>(() => BracePattern.Expand("{0..1000000}"), "0..1000000", "1000001", "the limit is 1000000");
        TestFiles.Complains<ArgumentException>(() => BracePattern.Expand(string.Concat(Enumerable.Repeat("{0..99}", 8))), "the limit is 1000000");
        TestFiles.Complains<ArgumentException>(() => BracePattern.Expand(string.Concat(Enumerable.Repeat("{a,", 5000)) + new string('}', 5000)), "more than 100 pairs of braces");
        TestFiles.Complains<ArgumentException>(() => BracePattern.Expand(string.Concat(Enumerable.Repeat("{ab..c}", 5000))), "more than 100 pairs of braces");
    }
}
