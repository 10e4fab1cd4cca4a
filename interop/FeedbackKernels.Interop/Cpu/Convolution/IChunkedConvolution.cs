namespace FeedbackKernels.Interop;

/// <summary>A convolution that can compute the statistics of its outputs on the way, chunk by chunk.</summary>
internal unsafe interface IChunkedConvolution
{
    /// <summary>Chunks of output pixels, the unit in which statistics are summed. Depends on the shape alone.</summary>
    int Chunks { get; }

    /// <summary>Output pixels of a chunk.</summary>
    int ChunkPixels(int chunk);

    /// <summary>Computes the convolution.</summary>
    /// <param name="pool">The threads.</param>
    /// <param name="chunkStatistics">Receives shift, sum and sum of squares of each chunk, each of all columns; null for no statistics.</param>
    void Run(WorkerPool pool, float* chunkStatistics);
}
