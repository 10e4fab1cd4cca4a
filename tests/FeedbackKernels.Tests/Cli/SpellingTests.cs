using FeedbackKernels.Cli;

namespace FeedbackKernels.Tests.Cli;

/// <summary>A mistyped word is reported with a suggestion.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class SpellingTests
{
    [Theory]
    [InlineData("trian", "unknown command 'trian'; did you mean 'train'? commands: {commands}")]
    [InlineData("Train", "unknown command 'Train'; did you mean 'train'? commands: {commands}")]
    [InlineData("evalute run", "unknown command 'evalute'; did you mean 'evaluate'? commands: {commands}")]
    [InlineData("trian --epochs 3", "unknown command 'trian'; did you mean 'train'? commands: {commands}")]
    [InlineData("trian --help", "unknown command 'trian'; did you mean 'train'? commands: {commands}")]
    [InlineData("benchmark", "unknown command 'benchmark'; commands: {commands}")]
    [InlineData("--verbose", "no command given; commands: {commands}")]
    [InlineData("--epochs 3", "unknown option '--epochs'; `feedback --help` lists the options")]
    [InlineData("train --epoch 3", "unknown option '--epoch'; did you mean '--epochs'? `feedback train --help` lists the options")]
    [InlineData("train -epochs 3", "unknown option '-epochs'; did you mean '--epochs'? `feedback train --help` lists the options")]
    [InlineData("train --bacth=3", "unknown option '--bacth'; did you mean '--batch'? `feedback train --help` lists the options")]
    [InlineData("train --milestones 0.5 --gama 0.1", "unknown option '--gama'; did you mean '--gamma'? `feedback train --help` lists the options")]
    [InlineData("train --out --overwite", "unknown option '--overwite'; did you mean '--overwrite'? `feedback train --help` lists the options")]
    [InlineData("evaluate --bach 3 run", "unknown option '--bach'; did you mean '--batch'? `feedback evaluate --help` lists the options")]
    [InlineData("info --quantum", "unknown option '--quantum'; `feedback info --help` lists the options")]
    [InlineData("train mnist", "unexpected argument 'mnist'; `feedback train --help` says what the command takes")]
    [InlineData("train --lr 0.1 --lr 0.2", "--lr is given 2 times; give it once")]
    [InlineData("train --exact --exact", "--exact is given 2 times; give it once")]
    [InlineData("train --milestones 0.5 --milestones 0.7", "--milestones is given 2 times; give it once")]
    [InlineData("compare --rules bp --rules fa --rules ss", "--rules is given 3 times; give it once")]
    public void A_mistyped_word_is_named_with_what_is_near_it(string arguments, string line)
    {
        line = line.Replace("{commands}", string.Join(", ", FeedbackProgram.Commands.Select(command => command.Name)), StringComparison.Ordinal);
        (int code, string output, string error) = FeedbackProgram.Run(arguments.Split(' '));
        Assert.Equal((2, "", $"feedback: {line}\n"), (code, output, error));
    }

    [Theory]
    [InlineData("", "", 0)]
    [InlineData("train", "train", 0)]
    [InlineData("", "abc", 3)]
    [InlineData("kitten", "sitting", 3)]
    [InlineData("flaw", "lawn", 2)]
    [InlineData("trian", "train", 2)]
    public void The_distance_of_two_words_is_the_fewest_edits(string from, string to, int edits)
    {
        Assert.Equal(edits, Spelling.Distance(from, to));
        Assert.Equal(edits, Spelling.Distance(to, from));
    }

    [Fact]
    public void The_nearest_word_is_found_and_a_far_one_is_not()
    {
        Assert.Equal("--lr", Spelling.Nearest("--lrr", ["--batch", "--lr", "--epochs"]));
        Assert.Null(Spelling.Nearest("--x", ["--batch", "--epochs"]));
        Assert.Null(Spelling.Nearest("train", []));
    }
}
