namespace FeedbackKernels.Bench.Estimates;

/// <summary>The assumptions of an estimate, by the names that <c>--assume</c> takes. Their values and sources are in <see cref="Card"/>.</summary>
internal enum Figure
{
    /// <summary>Multiprocessors of the card.</summary>
    Multiprocessors,

    /// <summary>Shared memory of a multiprocessor in bytes: limits the blocks that it holds.</summary>
    SharedBytes,

    /// <summary>Bytes per second of the memory, by data sheet.</summary>
    HbmBytes,

    /// <summary>Bytes per second from the level-2 cache to all multiprocessors, as products reach it.</summary>
    L2Bytes,

    /// <summary>Bytes per second that one multiprocessor takes from the level-2 cache.</summary>
    SmBytes,

    /// <summary>FLOP per second of bf16 products on tensor cores, dense, by data sheet.</summary>
    TensorFlops,

    /// <summary>FLOP per second of fp32 products, by data sheet.</summary>
    VectorFlops,

    /// <summary>Seconds between the end of a kernel and the begin of the next in a graph.</summary>
    LaunchGap,

    /// <summary>Seconds that a thread waits for a load from memory.</summary>
    LoadLatency,

    /// <summary>Seconds of a step of a tile product: a load from the level-2 cache, and the barriers around it.</summary>
    StepLatency,

    /// <summary>Share of <see cref="HbmBytes"/> that elementwise kernels, sums over rows and updates reach.</summary>
    StreamHbm,

    /// <summary>The same for convolutions, whose blocks load and store in turn.</summary>
    ProductHbm,

    /// <summary>The same for the forward pass of a pooling: loads of 2 bytes, and positions of 4.</summary>
    PoolForwardHbm,

    /// <summary>The same for its backward pass.</summary>
    PoolBackwardHbm,

    /// <summary>The same for kernels that transpose weights through shared memory.</summary>
    TransposeHbm,

    /// <summary>Share of <see cref="TensorFlops"/> that wgmma reaches in a tile of 128 by 64.</summary>
    Wgmma64,

    /// <summary>The same for 128 by 128.</summary>
    Wgmma128,

    /// <summary>The same for 128 by 256.</summary>
    Wgmma256,

    /// <summary>The same for weight gradients, whose operands are both transposed, in a tile of 128 by 64.</summary>
    WgmmaGradient64,

    /// <summary>The same for 128 by 128.</summary>
    WgmmaGradient128,

    /// <summary>Share of <see cref="TensorFlops"/> that mma.sync with cp.async reaches in a tile of 64 by 64.</summary>
    Mma64x64,

    /// <summary>The same for 128 by 64.</summary>
    Mma128x64,

    /// <summary>The same for 128 by 128.</summary>
    Mma128x128,

    /// <summary>Share of <see cref="TensorFlops"/> of the kernels for few channels, of the FLOP without padding.</summary>
    FewChannels,

    /// <summary>Share of <see cref="TensorFlops"/> of the portable tile with bf16 operands.</summary>
    PortableTensor,

    /// <summary>Share of <see cref="VectorFlops"/> of the portable tile with fp32 operands.</summary>
    PortableVector,

    /// <summary>Share of <see cref="TensorFlops"/> of the mirror's products with bf16 operands: it makes noise while it multiplies.</summary>
    MirrorTensor,

    /// <summary>Share of <see cref="VectorFlops"/> of the mirror's products with fp32 operands.</summary>
    MirrorVector,
}
