using FeedbackKernels.Interop;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>
/// The mirror steps of one layer: where they are in the noise, and what B gets from them. Memory is the caller's, who also says when.
/// </summary>
/// <param name="rule">The rule.</param>
/// <param name="noise">The layer's noise.</param>
internal sealed class MirrorCycle(WeightMirror rule, MirrorNoise noise)
{
    // Mirror steps before training where B is an average and the rule does not say: with gaussian noise and the usual rate and samples
    // B is then at the angle where it stays.
    private const int AveragingWarmUpSteps = 100;

    private long _sample, _moves, _collected;

    /// <summary>
    /// Whether steps of so many samples correct B. A step that takes a whole cycle measures W without error, so there is nothing to
    /// compare B with: <see cref="Collect"/> and <see cref="Move"/> replace it, which is one pass over the weights less.
    /// </summary>
    /// <param name="samples">Samples of a step.</param>
    public bool Corrects(int samples) => rule.UsedUpdate == MirrorUpdate.Correct && samples < noise.CycleLength;

    /// <summary>Whether the warm-up goes on after so many steps. Without a number of steps it ends when B has been measured.</summary>
    /// <param name="done">Steps so far.</param>
    public bool NeedsWarmUp(int done)
    {
        if (rule.WarmUpSteps is { } given) return done < given;
        return _moves == 0 || (rule.UsedUpdate == MirrorUpdate.Average && done < AveragingWarmUpSteps);
    }

    /// <summary>Corrects B by samples of the one cycle that this layer uses: see <see cref="Backend.MirrorCorrect"/>.</summary>
    /// <remarks>
    /// The same rows in the same order, so that after one cycle each of them has been corrected at most one cycle ago. New rows for each
    /// cycle would be corrected after up to two, and B would lag more: 12.2 instead of 10.2 degrees in a simulation with fan-in 288, 32
    /// samples a step and a W that moves as SGD with momentum moves it. Stored responses of each row, replaced when it is shown again,
    /// are the same as this where the cycle is as long as the fan-in; an average over each cycle gives 17.0 degrees.
    /// </remarks>
    public void Correct(
        Backend backend, in ConvShape layer, int samples, BufferView w, BufferView b, BufferView copy = default, SampleShare share = default)
    {
        long place = _sample % noise.CycleLength;
        int taken = (int)Math.Min((long)samples * share.Size, noise.CycleLength - place);
        (int first, int count) = share.Of(taken);
        if (count > 0)
        {
            var own = new MirrorStep(layer, noise, place + first, count);
            // The mean over the processes is then the step that one process would make with the samples of all.
            double rate = share.Others == 0 ? rule.UsedRate
                : rule.UsedRate * share.Size * new MirrorStep(layer, noise, place, taken).CorrectionFactor / own.CorrectionFactor;
            backend.MirrorCorrect(own, w, (float)rate, b, copy);
        }

        _sample = place + taken;
    }

    /// <summary>Adds samples to the correlation of response and noise.</summary>
    /// <returns>Whether <see cref="Move"/> is due: after a whole cycle where there are cycles, otherwise always. Where processes divide the
    /// samples, the sum of their correlations is to be taken first.</returns>
    public bool Collect(Backend backend, in ConvShape layer, int samples, BufferView w, BufferView correlation, SampleShare share = default)
    {
        long all = (long)samples * share.Size, wanted = rule.ReadsInCycles ? noise.CycleLength : all;
        // A cycle is exact as a whole only.
        if (_collected == 0 && rule.ReadsInCycles) _sample = (_sample + wanted - 1) / wanted * wanted;
        int taken = (int)Math.Min(all, wanted - _collected);
        (int first, int count) = share.Of(taken);
        // Of processes that divide the samples, the first brings what has been collected before.
        bool accumulate = _collected > 0 && share.Rank == 0;
        if (count > 0) backend.MirrorCorrelate(StepOf(layer, _sample + first, count), w, correlation, accumulate);
        else if (!accumulate) backend.Fill(correlation, 0);
        _sample += taken;
        _collected += taken;
        return _collected == wanted;
    }

    /// <summary>Moves B towards what has been collected. The first moves use the rates 1, 1/2, 1/3, ..., so that the initial B has no
    /// weight.</summary>
    public void Move(Backend backend, in ConvShape layer, BufferView correlation, BufferView b, BufferView copy = default)
    {
        float rate = Math.Max(rule.UsedRate, 1f / (_moves + 1));
        double gain = StepOf(layer, 0, (int)_collected).CorrelationGain;
        backend.TransposedCombine(layer, (float)(rate / gain), correlation, 1 - rate, b, b, copy);
        _moves++;
        _collected = 0;
    }

    /// <summary>Forgets what has been collected, because the correlation is lost.</summary>
    public void Restart() => _collected = 0;

    /// <summary>Names the position for checkpoints.</summary>
    /// <param name="walker">The walk.</param>
    /// <param name="name">Name of B.</param>
    public void Walk(IStateWalker walker, string name)
    {
        walker.Scalar($"{name}.mirror_position", ref _sample);
        walker.Scalar($"{name}.mirror_collected", ref _collected);
        walker.Scalar($"{name}.mirror_moves", ref _moves);
    }

    private MirrorStep StepOf(in ConvShape layer, long first, int samples) => new(layer, noise, first, samples, rule.Form, rule.ReluResponse);
}

/// <summary>The part of the samples of a mirror step that one of several processes takes.</summary>
/// <param name="Rank">Number of the process, from 0.</param>
/// <param name="Others">Number of the other processes.</param>
internal readonly record struct SampleShare(int Rank, int Others)
{
    /// <summary>Number of processes.</summary>
    public int Size => Others + 1;

    /// <summary>The process's part: the first sample, and how many.</summary>
    /// <param name="samples">Samples of all.</param>
    public (int First, int Count) Of(int samples) => Communicator.ShareOf(samples, Rank, Size);
}
