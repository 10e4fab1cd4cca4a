using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench;

/// <summary><c>shapes</c>: prints the distinct convolutions of a model as <c>name,C,K,R,stride,padding,H</c>, the input of the
/// peers' programs. They, our benchmarks and the tests use the same list.</summary>
internal static class ShapesCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "A ResNet.", DefaultValueFactory = _ => "resnet18" };
        var command = new Command("shapes", "Prints the distinct convolutions of a model as name,C,K,R,stride,padding,H.") { model };
        command.SetAction(parsed =>
        {
            foreach (LayerShape layer in LayerShapes.Of(parsed.GetValue(model)!, batch: 1))
                parsed.InvocationConfiguration.Output.WriteLine(Line(layer));
        });
        return command;
    }

    /// <summary>The line of one layer. Maps and filters are square.</summary>
    public static string Line(LayerShape layer) => string.Create(
        CultureInfo.InvariantCulture,
        $"{layer.Name},{layer.Shape.C},{layer.Shape.K},{layer.Shape.R},{layer.Shape.Stride},{layer.Shape.Padding},{layer.Shape.H}");
}
