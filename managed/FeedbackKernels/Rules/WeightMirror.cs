using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>What a mirror step does to B.</summary>
public enum MirrorUpdate
{
    /// <summary>
    /// The noise goes through W and through Bᵀ, and B gets the correlation of the noise with the difference of the responses: the delta
    /// rule (Widrow and Hoff 1960). B moves at each mirror step, and only by what it does not know yet.
    /// </summary>
    Correct,

    /// <summary>
    /// The noise goes through W alone, and B is a running average of the correlations of noise and response: the paper's rule
    /// (Akrout et al. 2019, eq. 7). With balanced noise in patches, B moves at the end of each cycle.
    /// </summary>
    Average,
}

/// <summary>
/// Weight mirror (Akrout et al. 2019, section 2): between updates, noise ξ goes through each layer alone, and B learns Wᵀ, scale included,
/// from the correlation of the response with the noise. Batch norm and bias take no part.
/// </summary>
/// <remarks>
/// <para><see cref="MirrorUpdate.Average"/>: <c>B = (1 - λ) B + λ / (gain σ² n) ηᵀξ</c> with the response η of W (eq. 7, with a decay).
/// With gaussian noise, rate λ and n samples per step, B averages n_eff = n(2-λ)/λ samples of a W that does not move, and stays at an angle
/// of tan² = (d+1)/n_eff for fan-in d (derived for this library). When W moves, B also lags by 1/λ steps: a smaller rate averages more and
/// lags more. With balanced noise, the second moment of a cycle of samples (d of them in ResNets, else a few more: see <see
/// cref="NoiseKind.Balanced"/>) is exactly white, so a whole cycle measures W without error. Each training step takes n samples of it, and B
/// moves when the cycle is complete; cycles need no averaging, so the rate is 1 and B lags by half a cycle to one and a half. The first
/// moves of B use the rates 1, 1/2, 1/3, ... down to λ. This is the plain average, in which the initial B has no weight.</para>
/// <para><see cref="MirrorUpdate.Correct"/>: <c>B += λ f ((η - ξBᵀ)ᵀξ)</c>, the response less B's own to the same noise
/// (<see cref="Backend.MirrorCorrect"/>). Nothing is averaged, so B follows W with about half that lag, at the same number of samples.
/// Before training, a cycle measures W, as in an average; so B then equals Wᵀ, and the initial B has no weight. What rounding adds to an
/// error of B is corrected with it, so that B does not drift away in a long run, and there is no memory but B.</para>
/// <para>A mirror step costs 4 n operations for each weight, whichever it is. To correct takes 24 bytes of memory traffic for each weight
/// more (W and B to their difference, the correlation to B), 0.3 GB for ResNet-18.</para>
/// <para><see cref="Follow"/> joins both rules of the paper: B also gets each update that W gets, as under Kolen-Pollack, and the mirror
/// corrects the difference. What Kolen-Pollack lacks is a start (its difference shrinks by the decay alone); what the mirror lacks is
/// speed (B waits for the next cycle).</para>
/// </remarks>
/// <param name="Samples">Noise samples n in a mirror step; null for the number that <see cref="SamplesFor"/> returns, 1 or
/// 2 % of the work of a training step, somewhat more at batches below 64.</param>
/// <param name="Noise">Distribution of the noise.</param>
/// <param name="NoiseDeviation">Its standard deviation σ. It cancels where the response is linear.</param>
/// <param name="Rate">λ; null for 1 where a cycle measures W exactly (balanced noise, patches, linear response) and
/// 0.02 elsewhere.</param>
/// <param name="Every">Number of training steps between mirror steps.</param>
/// <param name="WarmUpSteps">Mirror steps before training; null for a cycle where steps correct B, and otherwise for 100, or more if B has
/// not moved by then.</param>
/// <param name="Form">Single patches of noise, or whole images of noise as in the paper.</param>
/// <param name="ReluResponse">Whether the response goes through a ReLU, as in the paper.</param>
/// <param name="Update">What a step does to B; null for a correction where a cycle measures W exactly, and an average elsewhere.</param>
/// <param name="Follow">Whether B also gets the updates that W gets; for corrections.</param>
public sealed record WeightMirror(
    int? Samples = null,
    NoiseKind Noise = NoiseKind.Balanced,
    float NoiseDeviation = 1,
    float? Rate = null,
    int Every = 1,
    int? WarmUpSteps = null,
    MirrorForm Form = MirrorForm.Patch,
    bool ReluResponse = false,
    MirrorUpdate? Update = null,
    bool Follow = false) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "weight-mirror";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<WeightMirror>(RuleName, "wm", "weight mirror", () => new())
        .Setting(
            nameof(Samples),
            new OptionalNumberOption<int>(
                "--mirror-samples", new Bounds(1, 1_000_000), "noise samples in a mirror step. More give a better angle and take longer.",
                whenOmitted: "--batch; for patches at least 64 or four times --batch, whichever is less, and a whole cycle of balanced noise in small layers where that is at most 5 % of the layer's work, and in small linear layers"),
            rule => rule.Samples, (rule, value) => rule with { Samples = value })
        .Setting(
            nameof(Noise), new ChoiceOption<NoiseKind>("--mirror-noise", "distribution of the noise."),
            rule => rule.Noise, (rule, value) => rule with { Noise = value })
        .Setting(
            nameof(NoiseDeviation), new NumberOption<float>("--mirror-std", Bounds.Positive, "standard deviation of the noise."),
            rule => rule.NoiseDeviation, (rule, value) => rule with { NoiseDeviation = value })
        .Setting(
            nameof(Rate),
            new OptionalNumberOption<float>(
                "--mirror-rate", Bounds.PositiveShare, "B is a running average of estimates of the forward weights; this is the weight of the newest.",
                whenOmitted: "1 for balanced patches with linear response, else 0.02"),
            rule => rule.Rate, (rule, value) => rule with { Rate = value })
        .Setting(
            nameof(Every), new NumberOption<int>("--mirror-every", Bounds.AtLeast(1), "one mirror step every N training steps."),
            rule => rule.Every, (rule, value) => rule with { Every = value })
        .Setting(
            nameof(WarmUpSteps),
            new OptionalNumberOption<int>(
                "--mirror-warm-up", new Bounds(0, 10_000_000), "mirror steps before training.", whenOmitted: "one cycle of noise; 100 or until each B has been updated with --mirror-update average"),
            rule => rule.WarmUpSteps, (rule, value) => rule with { WarmUpSteps = value })
        .Setting(
            nameof(Form),
            new ChoiceOption<MirrorForm>("--mirror-form", "send single patches of noise through a layer, or whole images of noise as in the paper."),
            rule => rule.Form, (rule, value) => rule with { Form = value })
        .Setting(
            nameof(ReluResponse),
            new SwitchOption(
                "--mirror-response", "linear", "relu", "correlate the noise with the layer's linear response, or with its ReLU as in the paper."),
            rule => rule.ReluResponse, (rule, value) => rule with { ReluResponse = value })
        .Setting(
            nameof(Update),
            new OptionalChoiceOption<MirrorUpdate>(
                "--mirror-update",
                "correct: each mirror step corrects B by the response to the noise less B's own response. average: B is an average of the forward weights over a cycle of noise, as in the paper.",
                whenOmitted: "correct for balanced patches with linear response, else average"),
            rule => rule.Update, (rule, value) => rule with { Update = value }, NeedsExactCycles,
            // Average is always possible, and what happens anyway where a correction is not.
            rule => rule.MeasuresExactly || rule.Update == MirrorUpdate.Average)
        .Setting(
            nameof(Follow),
            new SwitchOption("--mirror-follow", "false", "true", "B also gets each update that the forward weights get, as under Kolen-Pollack, and the mirror corrects what is left."),
            rule => rule.Follow, (rule, value) => rule with { Follow = value }, "--mirror-update correct", rule => rule.UsedUpdate == MirrorUpdate.Correct);

    private const string NeedsExactCycles = "balanced --mirror-noise, --mirror-form patch and --mirror-response linear";

    private const float AveragingRate = 0.02f;

    /// <summary>Whether B moves once for each cycle of noise instead of once for each mirror step.</summary>
    internal bool ReadsInCycles => Noise == NoiseKind.Balanced && Form == MirrorForm.Patch;

    /// <summary>Whether a cycle of noise measures W without error.</summary>
    internal bool MeasuresExactly => ReadsInCycles && !ReluResponse;

    /// <summary><see cref="Rate"/>, or what it is when it is null.</summary>
    internal float UsedRate => Rate ?? (MeasuresExactly ? 1 : AveragingRate);

    /// <summary><see cref="Update"/>, or what it is when it is null.</summary>
    internal MirrorUpdate UsedUpdate => Update ?? (MeasuresExactly ? MirrorUpdate.Correct : MirrorUpdate.Average);

    /// <inheritdoc/>
    public override void Validate()
    {
        base.Validate();
        if (Update == MirrorUpdate.Correct && !MeasuresExactly)
            throw new ArgumentOutOfRangeException(nameof(Update), Update, $"wanted {MirrorUpdate.Average}, or {NeedsExactCycles}");
        if (Follow && UsedUpdate != MirrorUpdate.Correct)
            throw new ArgumentOutOfRangeException(nameof(Follow), Follow, $"wanted false: an average of the forward weights would undo what B gets, so it needs {nameof(Update)} {MirrorUpdate.Correct}");
    }

    /// <summary>
    /// Noise samples of a mirror step: <see cref="Samples"/> if it is set, otherwise one per image, and of patches at least 64 or four per
    /// image, whichever is less. All layers take the same number, because the angle of B grows as sqrt(d / n) and a step costs n d K: at a
    /// fixed total cost the squared angles are smallest for n in proportion to 1 / sqrt(K), which differs little between layers. A small
    /// layer takes a whole cycle in each step where that is little beside its other work: its B is then Wᵀ, and does not lag.
    /// </summary>
    /// <param name="shape">The layer, at the batch of a training step.</param>
    public int SamplesFor(in ConvShape shape)
    {
        const int usuallyEnough = 64;
        if (Samples is { } given) return given;
        if (Form != MirrorForm.Patch) return shape.N;
        int samples = Math.Max(shape.N, (int)Math.Min(4L * shape.N, usuallyEnough));
        if (!ReadsInCycles) return samples;
        int cycle = MirrorNoise.CycleLengthOf(Noise, shape.FanIn);
        return WholeCycleIsCheap(shape, cycle) ? Math.Max(samples, cycle) : samples;
    }

    private static bool WholeCycleIsCheap(in ConvShape shape, int cycle)
    {
        // Those of a layer of 3x3 with 64 channels are 21 million; all layers of a ResNet-20 together have 120 million.
        const long smallProducts = 25_000_000;
        if (cycle * shape.WeightLength > smallProducts) return false;
        // Two products of the mirror, each over the cycle, beside the layer's three, each over all positions: 5 % of them. Those of a
        // classifier are small in any case, and its W turns fast.
        return shape.P * shape.Q == 1 || 40L * cycle <= 3L * shape.N * shape.P * shape.Q;
    }

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Mirror(layer, this, place);

    private sealed class Mirror : Feedback
    {
        private readonly WeightMirror _rule;
        private readonly MirrorNoise _noise;
        private readonly MirrorCycle _cycle;
        private readonly DeviceBuffer? _correlation;
        private readonly int _samples;
        private readonly Communicator? _divides;
        private readonly SampleShare _share;
        private readonly Parameter _own;
        private PendingSum? _sum;
        private bool _isSummed;

        public Mirror(ConvLayer layer, WeightMirror rule, in LayerPlace place) : base(layer)
        {
            _rule = rule;
            _noise = new MirrorNoise(rule.Noise, MirrorStep.SampleLength(layer.Shape(), rule.Form), rule.NoiseDeviation, place.Seed, layer.Index);
            _cycle = new MirrorCycle(rule, _noise);
            _samples = rule.SamplesFor(layer.Shape(place.Batch));
            if (place.Divides is { IsShared: true } divides) (_divides, _share) = (divides, new SampleShare(divides.Rank, divides.Size - 1));
            if (!_cycle.Corrects((int)Math.Min((long)_samples * _share.Size, int.MaxValue))) _correlation = NewCorrelation();
            _own = NewFeedbackWeights(layer);
        }

        public override string RuleName => WeightMirror.RuleName;

        /// <summary>B; where processes sum it in the background, when they have.</summary>
        public override Parameter OwnWeights
        {
            get
            {
                Settle();
                return _own;
            }
        }

        public override FeedbackUpdate Update => _rule.Follow ? FeedbackUpdate.LikeWeights : FeedbackUpdate.ByRule;

        public override string? NeedsOneSize => _rule.Form == MirrorForm.FullMap ? "the mirror sends noise images of one size through it" : null;

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override void Initialise() => Draw(OwnWeights, Layer, _noise.Seed, init: null, scale: 1);

        public override void BeforeTraining(CancellationToken cancel = default)
        {
            // Without a number of steps, W is measured. That takes a correlation, which corrections do without.
            bool measures = _rule.WarmUpSteps is null;
            using DeviceBuffer? own = measures && _correlation is null ? NewCorrelation() : null;
            for (int i = 0; _cycle.NeedsWarmUp(i); i++)
            {
                cancel.ThrowIfCancellationRequested();
                // All processes measure all of W: one of them may be stopped meanwhile.
                Step(own ?? _correlation, default);
            }
        }

        public override void AfterUpdate(WeightUpdate update, int step)
        {
            if ((step + 1) % _rule.Every == 0) Step(_correlation, _share);
        }

        public override void Walk(IStateWalker walker)
        {
            base.Walk(walker);
            if (_correlation is not null) walker.Tensor($"{OwnWeights.Name}.mirror_correlation", Layer.Weight.Sizes, _correlation);
            _cycle.Walk(walker, OwnWeights.Name);
        }

        protected override void Dispose(bool disposing)
        {
            Settle();
            _correlation?.Dispose();
            base.Dispose(disposing);
        }

        private DeviceBuffer NewCorrelation() => Layer.Backend.Allocate(Layer.Weight.Length, $"{Layer.Name} mirror correlation");

        /// <summary>A step that collects in a correlation, or that corrects B where there is none.</summary>
        private void Step(DeviceBuffer? correlation, SampleShare share)
        {
            Backend backend = Layer.Backend;
            ConvShape shape = Layer.Shape();
            if (correlation is null)
            {
                _cycle.Correct(backend, shape, _samples, Layer.Weight.Value, OwnWeights.Value, OwnWeights.Copy, share);
                if (share.Size == 1) return;
                Sum(_own.Value).Begin(1f / share.Size);
                _isSummed = true;
                return;
            }

            bool moves = _cycle.Collect(backend, shape, _samples, Layer.Weight.Operand, correlation, share);
            if (share.Size > 1)
            {
                PendingSum sum = Sum(correlation);
                sum.Begin();
                sum.Wait();
            }

            if (moves) _cycle.Move(backend, shape, correlation, OwnWeights.Value, OwnWeights.Copy);
        }

        private PendingSum Sum(DeviceBuffer values) => _sum ??= _divides!.CreateSum(values, values == _own.Value ? _own.Name : $"mirror correlation of {Layer.Name}");

        private void Settle()
        {
            if (!_isSummed) return;
            _isSummed = false;
            _sum!.Wait();
            _own.RefreshCopy();
        }
    }
}
