using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions)
    {
        var job = new PoolRowsJob
        {
            Kernel = _kernels->MaxPool,
            Shape = shape,
            Input = x.Floats,
            Output = y.Floats,
            Positions = positions.Ints,
        };
        _pool.Run(WorkItems.Checked((long)shape.N * shape.P), ref job);
    }

    internal override void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y)
    {
        var job = new PoolRowsJob { Kernel = _kernels->AveragePool, Shape = shape, Input = x.Floats, Output = y.Floats };
        _pool.Run(WorkItems.Checked((long)shape.N * shape.P), ref job);
    }

    internal override void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx)
    {
        var job = new MaxPoolScatterJob { Shape = shape, Dy = dy.Floats, Positions = positions.Ints, Dx = dx.Floats };
        _pool.Run(shape.N, ref job);
    }

    internal override void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx)
    {
        var job = new AveragePoolSpreadJob { Kernel = _kernels->SpreadAverage, Shape = shape, Dy = dy.Floats, Dx = dx.Floats };
        _pool.Run(shape.N, ref job);
    }

    /// <summary>One row of windows.</summary>
    private struct PoolRowsJob : IParallelJob
    {
        public delegate*<PoolArguments*, void> Kernel;
        public PoolShape Shape;
        public float* Input;
        public float* Output;
        public int* Positions;

        public readonly void Run(int item, int worker)
        {
            int n = item / Shape.P, p = item % Shape.P;
            var arguments = new PoolArguments
            {
                Image = Input + (nint)n * Shape.H * Shape.W * Shape.C,
                Columns = Shape.W,
                Channels = Shape.C,
            };
            for (int q = 0; q < Shape.Q; q++)
            {
                nint output = ((nint)item * Shape.Q + q) * Shape.C;
                arguments.Output = Output + output;
                if (Positions != null) arguments.Positions = Positions + output;
                arguments.Window = PoolWindow.Of(Shape, p, q);
                Kernel(&arguments);
            }
        }
    }

    /// <summary>One image. Windows overlap, so one thread adds all errors of an image, in order.</summary>
    private struct MaxPoolScatterJob : IParallelJob
    {
        public PoolShape Shape;
        public float* Dy;
        public int* Positions;
        public float* Dx;

        public readonly void Run(int item, int worker)
        {
            nint pixels = (nint)Shape.P * Shape.Q;
            float* image = Dx + (nint)item * Shape.H * Shape.W * Shape.C;
            NativeMemory.Clear(image, (nuint)Shape.H * (nuint)Shape.W * (nuint)Shape.C * sizeof(float));
            float* dy = Dy + item * pixels * Shape.C;
            int* positions = Positions + item * pixels * Shape.C;
            for (nint pixel = 0; pixel < pixels; pixel++, dy += Shape.C, positions += Shape.C)
            {
                for (int c = 0; c < Shape.C; c++) image[(nint)positions[c] * Shape.C + c] += dy[c];
            }
        }
    }

    /// <summary>One image, for the same reason.</summary>
    private struct AveragePoolSpreadJob : IParallelJob
    {
        public delegate*<PoolArguments*, void> Kernel;
        public PoolShape Shape;
        public float* Dy;
        public float* Dx;

        public readonly void Run(int item, int worker)
        {
            var arguments = new PoolArguments
            {
                Image = Dx + (nint)item * Shape.H * Shape.W * Shape.C,
                Columns = Shape.W,
                Channels = Shape.C,
            };
            NativeMemory.Clear(arguments.Image, (nuint)Shape.H * (nuint)Shape.W * (nuint)Shape.C * sizeof(float));
            for (int p = 0; p < Shape.P; p++)
            {
                for (int q = 0; q < Shape.Q; q++)
                {
                    arguments.Output = Dy + (((nint)item * Shape.P + p) * Shape.Q + q) * Shape.C;
                    arguments.Window = PoolWindow.Of(Shape, p, q);
                    Kernel(&arguments);
                }
            }
        }
    }
}
