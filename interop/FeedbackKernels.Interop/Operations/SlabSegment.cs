namespace FeedbackKernels.Interop;

/// <summary>A parameter in a slab, the same place in each role's block: what one update of many parameters does to it.</summary>
/// <param name="Offset">Elements in front of it; 0 or more.</param>
/// <param name="Length">Its elements, at least 1.</param>
/// <param name="WeightDecay">Takes the place of <see cref="SgdStep.WeightDecay"/>; finite.</param>
/// <param name="Shrink">Takes the place of <see cref="SgdStep.Shrink"/>; finite.</param>
public readonly record struct SlabSegment(long Offset, long Length, float WeightDecay, float Shrink = 1);

/// <summary>Forward and feedback weights of a layer in their slabs, which get the same update: Kolen-Pollack (Akrout et al. 2019, eqs.
/// 16-17).</summary>
/// <param name="Shape">The layer; N is not used.</param>
/// <param name="Offset">Elements in front of W; 0 or more.</param>
/// <param name="FeedbackOffset">Elements in front of B in the slab of feedback weights; 0 or more.</param>
/// <param name="WeightDecay">Takes the place of <see cref="SgdStep.WeightDecay"/>; finite.</param>
/// <param name="Shrink">Takes the place of <see cref="SgdStep.Shrink"/>; finite.</param>
public readonly record struct CoupledSegment(ConvShape Shape, long Offset, long FeedbackOffset, float WeightDecay, float Shrink = 1);
