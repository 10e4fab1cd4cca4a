using System.Globalization;
using System.Text.Json.Serialization;

namespace FeedbackKernels.Training;

/// <summary>How an adversarial image is made from an image.</summary>
public enum AttackKind
{
    /// <summary>Fast gradient sign method (Goodfellow, Shlens, Szegedy, ICLR 2015, equation after 1): each number moves by epsilon in the
    /// direction in which the loss grows.</summary>
    Fgsm,

    /// <summary>Projected gradient descent (Madry et al., ICLR 2018, section 2.1): several smaller steps of the same kind from a random
    /// start, each followed by a projection onto the images that differ by at most epsilon.</summary>
    Pgd,
}

/// <summary>
/// A white-box attack in the maximum norm. It follows the exact gradient of the loss by the image, which goes back through the forward
/// weights under every learning rule: it says how robust the function is that a rule has learned, not how well feedback weights hide its
/// gradient.
/// </summary>
/// <param name="Kind">The method.</param>
/// <param name="Epsilon">Largest change of a number of the image; the range of pixels, 0 to 255, is 0 to 1 here.</param>
/// <param name="Steps">Steps of PGD.</param>
/// <param name="StepSize">Change in a step of PGD; null for 2.5 epsilon / steps (Madry et al. 2018), with which PGD can cross the whole range
/// of allowed images from any start.</param>
/// <param name="Seed">Seed of the random starts of PGD.</param>
public sealed record Attack(AttackKind Kind = AttackKind.Fgsm, double Epsilon = 8 / 255.0, int Steps = 10, double? StepSize = null, ulong Seed = 1)
{
    /// <summary>Steps that are taken: one under FGSM.</summary>
    [JsonIgnore]
    public int UsedSteps => Kind == AttackKind.Fgsm ? 1 : Steps;

    /// <summary>The change in a step.</summary>
    [JsonIgnore]
    public double UsedStepSize => Kind == AttackKind.Fgsm ? Epsilon : StepSize ?? 2.5 * Epsilon / Steps;

    /// <summary>The name of a kind, as on the command line.</summary>
    internal static string NameOf(AttackKind kind) => kind.ToString().ToLowerInvariant();

    /// <summary>The attack in words, as <c>pgd, epsilon 8/255, 10 steps of 2/255, seed 1</c>.</summary>
    internal string Describe() => string.Create(
        CultureInfo.InvariantCulture,
        $"{NameOf(Kind)}, epsilon {255 * Epsilon:G4}/255{(Kind == AttackKind.Pgd ? $", {Steps} steps of {255 * UsedStepSize:G4}/255, seed {Seed}" : "")}");

    /// <summary>Checks the settings.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them is out of range.</exception>
    public void Validate()
    {
        if (!Enum.IsDefined(Kind)) throw new ArgumentOutOfRangeException("kind", Kind, $"wanted one of {string.Join(", ", Enum.GetNames<AttackKind>())}");
        if (!(Epsilon >= 0 && Epsilon <= 1)) throw new ArgumentOutOfRangeException("epsilon", Epsilon, "wanted 0 to 1, the range of pixels");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Steps, "steps");
        if (StepSize is { } size && !(size > 0 && size <= 1)) throw new ArgumentOutOfRangeException("step size", size, "wanted more than 0, at most 1");
    }
}

/// <summary>Accuracy of a model on images and on their adversarial versions.</summary>
/// <param name="Clean">On the images as they are.</param>
/// <param name="Attacked">On what the attack made of them.</param>
public readonly record struct AttackResult(Evaluation Clean, Evaluation Attacked);
