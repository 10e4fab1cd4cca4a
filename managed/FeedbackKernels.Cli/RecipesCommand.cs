using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback recipes</c>: the named recipes.</summary>
internal static class RecipesCommand
{
    public static Command Create()
    {
        var command = new Command("recipes", "Lists the recipes for `feedback train --recipe NAME`: settings for whole runs, with their sources.");
        command.SetAction(_ =>
        {
            foreach (Recipe recipe in Recipe.All)
            {
                TrainingOptions training = recipe.Config.Training;
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{recipe.Name}: {recipe.Config.Model} under {recipe.Config.Rule.Name}, {training.Epochs} epochs, batch {training.Batch}, {training.Schedule.Kind} schedule with peak {training.Schedule.Peak}"));
                Console.WriteLine($"    {recipe.Description}.");
                Console.WriteLine($"    feedback train --recipe {recipe.Name} --data {recipe.Data.Split(' ')[0]}");
            }
        });
        return command;
    }
}
