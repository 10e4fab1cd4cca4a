using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench;

/// <summary><c>shapes</c>: the distinct convolutions of a net as <c>name,C,K,R,stride,padding,H</c>, which is what the
/// peers' programs read: one list for them, for us, and for the tests.</summary>
internal static class ShapesCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "A ResNet.", DefaultValueFactory = _ => "resnet18" };
        var command = new Command("shapes", "The distinct convolutions of a net, as name,C,K,R,stride,padding,H.") { model };
        command.SetAction(parsed =>
        {
            foreach (LayerShape layer in LayerShapes.Of(parsed.GetValue(model)!, batch: 1))
                parsed.InvocationConfiguration.Output.WriteLine(Line(layer));
        });
        return command;
    }

    /// <summary>One shape. Maps and filters are square.</summary>
    public static string Line(LayerShape layer) => string.Create(
        CultureInfo.InvariantCulture,
        $"{layer.Name},{layer.Shape.C},{layer.Shape.K},{layer.Shape.R},{layer.Shape.Stride},{layer.Shape.Padding},{layer.Shape.H}");
}
