using System.CommandLine;
using System.Globalization;
using System.Numerics;
using System.Reflection;
using System.Text.Json.Nodes;
using FeedbackKernels.Cli;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;
using FeedbackKernels.Tests.Cli;

namespace FeedbackKernels.Tests.Rules;

/// <summary>The catalogue has all rules with all their settings, and what is made of it agrees with the records. The records are read by
/// reflection, so that a rule or a setting that is left out fails.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class RuleCatalogTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    public static TheoryData<string> Rules() => new(RuleCatalog.All.Select(rule => rule.Name));

    public static TheoryData<string, string> Settings() =>
        new(RuleCatalog.All.SelectMany(rule => rule.Settings.Select(setting => (rule.Name, setting.Property))));

    [Fact]
    public void Every_rule_of_the_assembly_is_in_the_catalogue_once()
    {
        Type[] rules = [.. typeof(FeedbackRule).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(FeedbackRule)) && !t.IsAbstract)];
        Assert.NotEmpty(rules);
        Assert.Equal(rules.OrderBy(t => t.Name), RuleCatalog.All.Select(rule => rule.Create().GetType()).OrderBy(t => t.Name));
    }

    [Fact]
    public void Names_and_abbreviations_are_distinct()
    {
        string[] names = [.. RuleCatalog.All.SelectMany(rule => (string[])[rule.Name, rule.ShortName])];
        Assert.All(names, name => Assert.Matches("^[a-z]+(-[a-z]+)*$", name));
        Assert.Equal(names.Length, names.Distinct().Count());
        Assert.Equal(RuleCatalog.All.Count, RuleCatalog.All.Select(rule => rule.Title).Distinct().Count());
        foreach (RuleEntry rule in RuleCatalog.All)
        {
            Assert.Equal(rule.Name, rule.Create().Name);
            Assert.Same(rule, RuleCatalog.EntryOf(rule.Create()));
            Assert.Same(rule, RuleCatalog.Find(rule.Name));
            Assert.Same(rule, RuleCatalog.Find(rule.ShortName));
        }
    }

    [Theory, MemberData(nameof(Rules))]
    public void Every_parameter_of_a_rule_is_a_setting_with_a_help_text(string name)
    {
        RuleEntry rule = RuleCatalog.Find(name)!;
        ParameterInfo[] parameters = rule.Create().GetType().GetConstructors().Single().GetParameters();
        Assert.Equal(parameters.Select(p => p.Name), rule.Settings.Select(s => s.Property));
        foreach ((ParameterInfo parameter, RuleSetting setting) in parameters.Zip(rule.Settings))
        {
            Assert.Equal(typeof(RuleOption<>).MakeGenericType(parameter.ParameterType), setting.Option.GetType().BaseType);
            Assert.Matches("^--[a-z]+(-[a-z]+)*$", setting.Option.Name);
            Assert.EndsWith(".", setting.Option.Help);
            // Null stands for a value that the help text has to name; any other default is printed by itself.
            Assert.Equal(parameter.DefaultValue is null, setting.Option.WhenOmitted.Length > 0);
        }
    }

    [Fact]
    public void Rules_that_share_an_option_have_the_same_default()
    {
        Assert.Equal(RuleCatalog.Options.Count, RuleCatalog.Options.Select(option => option.Name).Distinct().Count());
        foreach (RuleOption option in RuleCatalog.Options)
            Assert.Single(RuleCatalog.RulesWith(option).Select(rule => rule.SettingOf(option)!.Get(rule.Create())).Distinct());
    }

    [Theory, MemberData(nameof(Settings))]
    public void A_setting_changes_its_property_and_no_other(string name, string property)
    {
        RuleEntry rule = RuleCatalog.Find(name)!;
        RuleSetting setting = rule.Settings.Single(s => s.Property == property);
        FeedbackRule standard = rule.Create();
        (object other, _) = OtherValue.Of(setting, standard);
        FeedbackRule changed = setting.With(standard, other);
        Assert.NotEqual(standard, changed);
        changed.Validate();
        foreach (RuleSetting s in rule.Settings)
        {
            object? found = s.Get(changed);
            Assert.Equal(found, changed.GetType().GetProperty(s.Property)!.GetValue(changed));
            Assert.Equal(s == setting ? other : s.Get(standard), found);
        }
    }

    [Theory, MemberData(nameof(Settings))]
    public void The_command_line_gives_a_rule_its_settings(string name, string property)
    {
        RuleEntry rule = RuleCatalog.Find(name)!;
        RuleSetting setting = rule.Settings.Single(s => s.Property == property);
        (object other, string text) = OtherValue.Of(setting, rule.Create());
        var options = new RuleOptions();
        var command = new Command("rule");
        foreach (Option option in options.All) command.Options.Add(option);
        ParseResult parsed = command.Parse([setting.Option.Name, text, "--rule-for", $"fc={rule.ShortName}"]);
        Assert.Empty(parsed.Errors);
        FeedbackRule expected = setting.With(rule.Create(), other);
        Assert.Equal(expected, options.Apply(parsed, rule.Create()));
        Assert.Equal([new RuleFor("fc", expected)], options.ApplyExceptions(parsed, []));
        // A rule without the setting stays as it is.
        FeedbackRule without = RuleCatalog.All.First(r => r.SettingOf(setting.Option) is null).Create();
        Assert.Equal(without, options.Apply(parsed, without));
    }

    [Theory, MemberData(nameof(Settings))]
    public void A_configuration_keeps_a_setting(string name, string property)
    {
        RuleEntry rule = RuleCatalog.Find(name)!;
        RuleSetting setting = rule.Settings.Single(s => s.Property == property);
        FeedbackRule changed = setting.With(rule.Create(), OtherValue.Of(setting, rule.Create()).Value);
        new RunConfig { Rule = changed, RuleFor = [new RuleFor("fc", changed)] }.Write(_file);
        RunConfig read = RunConfig.Read(_file);
        Assert.Equal(changed, read.Rule);
        Assert.Equal(changed, read.RuleFor.Single().Rule);
        // What a file leaves out has its default.
        JsonObject json = JsonNode.Parse(File.ReadAllText(_file))!["rule"]!.AsObject();
        Assert.Equal(["rule", .. rule.Settings.Select(s => char.ToLowerInvariant(s.Property[0]) + s.Property[1..])], json.Select(p => p.Key));
        Assert.Equal(rule.Name, (string)json["rule"]!);
        foreach (string key in json.Select(p => p.Key).Where(key => key != "rule" && !key.Equals(property, StringComparison.OrdinalIgnoreCase)).ToArray()) json.Remove(key);
        Assert.Equal(2, json.Count);
        File.WriteAllText(_file, new JsonObject { ["rule"] = json.DeepClone() }.ToJsonString());
        Assert.Equal(changed, RunConfig.Read(_file).Rule);
    }

    [Theory, MemberData(nameof(Rules))]
    public void Values_out_of_range_are_refused_by_name(string name)
    {
        RuleEntry rule = RuleCatalog.Find(name)!;
        foreach (RuleSetting setting in rule.Settings)
        {
            foreach (object wrong in setting.Option.Accept(new WrongValues()))
            {
                string message = Assert.Throws<ArgumentOutOfRangeException>(setting.Property, setting.With(rule.Create(), wrong).Validate).Message;
                Assert.Contains("wanted ", message);
            }
        }
    }

    [Theory]
    [InlineData("train", "--rule <name>")]
    [InlineData("compare", "--rules <names>")]
    [InlineData("study", "--rules <names>")]
    public void Help_lists_every_rule_and_every_option(string command, string ruleOption)
    {
        string help = FeedbackProgram.Run(command, "--help").Output;
        string rules = Line(ruleOption);
        foreach (RuleEntry rule in RuleCatalog.All)
        {
            Assert.Contains($"{rule.Name} ({rule.ShortName})", rules);
            foreach (RuleSetting setting in rule.Settings)
            {
                string line = Line($"{setting.Option.Name} <");
                Assert.Contains(rule.Title, line, StringComparison.OrdinalIgnoreCase);
                Assert.Contains(setting.Option.Help, line);
                Assert.Contains("[default: ", line);
            }
        }

        string Line(string start) => Assert.Single(help.Split('\n'), line => line.StartsWith($"  {start}", StringComparison.Ordinal));
    }

    [Fact]
    public void An_unknown_rule_is_answered_with_all_names()
    {
        (int code, _, string error) = FeedbackProgram.Run("train", "--rule", "hebb");
        Assert.Equal(2, code);
        Assert.All(RuleCatalog.All, rule => Assert.Contains($"{rule.Name} ({rule.ShortName})", error));
    }

    /// <summary>A valid value other than the one that a rule has, and its text on the command line.</summary>
    private sealed class OtherValue(object? now) : IRuleOptionVisitor<(object Value, string Text)>
    {
        public static (object Value, string Text) Of(RuleSetting setting, FeedbackRule rule) => setting.Option.Accept(new OtherValue(setting.Get(rule)));

        public (object Value, string Text) Number<T>(NumberOption<T> option) where T : struct, INumberBase<T> => Other<T>(option.Bounds);

        public (object Value, string Text) OptionalNumber<T>(OptionalNumberOption<T> option) where T : struct, INumberBase<T> => Other<T>(option.Bounds);

        public (object Value, string Text) Choice<TEnum>(ChoiceOption<TEnum> option) where TEnum : struct, Enum => Other<TEnum>();

        public (object Value, string Text) OptionalChoice<TEnum>(OptionalChoiceOption<TEnum> option) where TEnum : struct, Enum => Other<TEnum>();

        public (object Value, string Text) Switch(SwitchOption option) => (bool)now! ? (false, option.Off) : (true, option.On);

        private (object Value, string Text) Other<T>(Bounds bounds) where T : struct, INumberBase<T>
        {
            double value = ((double[])[0.5, 0.25, 3, 4]).First(v =>
                bounds.Contain(v) && double.CreateChecked(T.CreateTruncating(v)) == v && !Equals(T.CreateTruncating(v), now));
            return (T.CreateChecked(value), value.ToString(CultureInfo.InvariantCulture));
        }

        private (object Value, string Text) Other<TEnum>() where TEnum : struct, Enum
        {
            TEnum value = Enum.GetValues<TEnum>().Last(v => !Equals(v, now));
            return (value, KebabCase.Of(value));
        }
    }

    private sealed class WrongValues : IRuleOptionVisitor<object[]>
    {
        public object[] Number<T>(NumberOption<T> option) where T : struct, INumberBase<T> => Wrong<T>(option.Bounds);

        public object[] OptionalNumber<T>(OptionalNumberOption<T> option) where T : struct, INumberBase<T> => Wrong<T>(option.Bounds);

        public object[] Choice<TEnum>(ChoiceOption<TEnum> option) where TEnum : struct, Enum => [Enum.ToObject(typeof(TEnum), 77)];

        public object[] OptionalChoice<TEnum>(OptionalChoiceOption<TEnum> option) where TEnum : struct, Enum => [Enum.ToObject(typeof(TEnum), 77)];

        public object[] Switch(SwitchOption option) => [];

        // Below the range, above it, its ends where they do not belong to it, and what is no number.
        private static object[] Wrong<T>(Bounds bounds) where T : struct, INumberBase<T>
        {
            var wrong = new List<double> { bounds.Least - 1 };
            if (!bounds.WithLeast) wrong.Add(bounds.Least);
            if (double.IsFinite(bounds.Most)) wrong.Add(bounds.WithMost ? bounds.Most + 1 : bounds.Most);
            if (typeof(T) == typeof(float)) wrong.AddRange(double.NaN, double.PositiveInfinity);
            return [.. wrong.Select(v => (object)T.CreateTruncating(v))];
        }
    }
}
