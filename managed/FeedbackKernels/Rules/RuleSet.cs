using System.IO.Enumeration;
using System.Text.Json.Serialization;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>A rule for the layers whose name matches a pattern.</summary>
/// <param name="Pattern">Name of the layers; * matches any characters, ? matches one.</param>
/// <param name="Rule">The rule.</param>
public sealed record RuleFor([property: JsonRequired] string Pattern, [property: JsonRequired] FeedbackRule Rule);

/// <summary>The rules of a model: one for all layers, and exceptions. The last exception that matches a layer applies.</summary>
/// <param name="Default">The rule of layers that no exception matches.</param>
/// <param name="Exceptions">Rules for some layers.</param>
public sealed record RuleSet(FeedbackRule Default, IReadOnlyList<RuleFor> Exceptions)
{
    /// <summary>One rule for all layers.</summary>
    /// <param name="rule">The rule.</param>
    public static RuleSet Of(FeedbackRule rule) => new(rule, []);

    /// <summary>The rule of a layer.</summary>
    /// <param name="layer">Name of the layer.</param>
    public FeedbackRule For(string layer) => Exceptions.LastOrDefault(e => Matches(e, layer))?.Rule ?? Default;

    /// <summary>Checks the settings of all rules, including those that later exceptions override.</summary>
    /// <exception cref="ArgumentException">A setting is out of range, or an exception is null.</exception>
    public void Validate()
    {
        Default.Validate();
        // A list read from a file may contain null in spite of its type.
        if (Exceptions.Any(exception => exception is null)) throw new ArgumentException("ruleFor: an entry is null, wanted a pattern and a rule");
        foreach (RuleFor exception in Exceptions) exception.Rule.Validate();
    }

    /// <summary>Checks the rules, and that each exception matches a layer.</summary>
    /// <param name="layers">All layers of the model.</param>
    /// <exception cref="ArgumentException">A pattern matches no layer, or a setting is out of range.</exception>
    public void Validate(IReadOnlyCollection<ConvLayer> layers)
    {
        ArgumentNullException.ThrowIfNull(layers);
        Validate();
        foreach (RuleFor exception in Exceptions)
        {
            if (!layers.Any(layer => Matches(exception, layer.Name)))
            {
                throw new ArgumentException(
                    $"no layer matches '{exception.Pattern}' (rule {exception.Rule.Name}); layers: {string.Join(", ", layers.Select(l => l.Name))}");
            }
        }
    }

    private static bool Matches(RuleFor exception, string layer) => FileSystemName.MatchesSimpleExpression(exception.Pattern, layer);
}
