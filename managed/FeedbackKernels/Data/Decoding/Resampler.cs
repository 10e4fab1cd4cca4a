using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// Resizes a box of an image while its rows arrive from top to bottom: each row is resized horizontally and rounded to 8 bits, as Pillow
/// does, and kept in a ring until the output rows that need it have been made. There is no copy of the image. The result equals Pillow's
/// BILINEAR bit for bit, except for transposed images (EXIF orientations 5 to 8), whose passes come in the other order: there it may differ by 1.
/// </summary>
/// <param name="level">Instructions to use; the results are the same.</param>
internal sealed unsafe class Resampler(SimdLevel level)
{
    /// <summary>Bytes that may be read behind the last pixel of a row, on top of <see cref="Reach"/>.</summary>
    public const int Slack = 64;

    private readonly ResampleAxis _x = new(), _y = new();
    private readonly SpreadWeights _spread = new();
    private byte[] _ring = [], _line = [];
    private nint[] _rows = [];
    private int _ringRows, _stride, _row, _emitted;
    private bool _transposed, _rowsReversed, _flip;
    private int _outputColumns;

    /// <summary>Rows of the source that are needed, from the first up to, but without, the last.</summary>
    public (int First, int End) Rows => (_y.First, _y.End);

    /// <summary>Columns of the source that are needed.</summary>
    public (int First, int End) Columns => (_x.First, _x.End);

    /// <summary>A row must be readable up to this many pixels from <see cref="Columns"/>.First, and <see cref="Slack"/> bytes. What is there beyond the
    /// columns has no influence.</summary>
    public int Reach => Math.Max(_x.End - _x.First, _x.Taps);

    /// <summary>Begins an image.</summary>
    /// <param name="crop">What is wanted of the upright image.</param>
    /// <param name="stored">Size and orientation of the source.</param>
    /// <param name="denominator">The source is decoded at 1/denominator of its size.</param>
    public void Begin(in CropResize crop, in StoredImage stored, int denominator)
    {
        Orientation orientation = stored.Orientation;
        (PixelBox box, PixelBox window) = (crop.Box, crop.Window);
        (_transposed, _rowsReversed, _flip, _outputColumns) = (orientation.IsTransposed, orientation.ReversesRows, crop.Flip, window.Columns);
        (ResampleAxis columns, ResampleAxis rows) = _transposed ? (_y, _x) : (_x, _y);
        (int storedColumns, int storedRows) = _transposed ? (stored.Rows, stored.Columns) : (stored.Columns, stored.Rows);
        (bool columnsReversed, bool rowsReversed) = _transposed
            ? (orientation.ReversesRows, orientation.ReversesColumns)
            : (orientation.ReversesColumns, orientation.ReversesRows);

        // The outputs of the axis along which rows arrive are made in the order of the rows, and put in their places then.
        columns.Build((box.Column, box.Columns), crop.Columns, (window.Column, window.Columns), storedColumns, denominator, columnsReversed, crop.Flip && !_transposed);
        rows.Build((box.Row, box.Rows), crop.Rows, (window.Row, window.Rows), storedRows, denominator, rowsReversed, flip: false);
        _stride = (3 * _x.Count + Math.Max(Slack, ResampleKernels.WrittenBehind) + 63) / 64 * 64;
        if (level >= SimdLevel.Avx2) _spread.Build(_x);
        _ringRows = RingRows();
        if (_ring.Length < _ringRows * _stride) _ring = GC.AllocateUninitializedArray<byte>(_ringRows * _stride, pinned: true);
        if (_line.Length < _stride) _line = GC.AllocateUninitializedArray<byte>(_stride, pinned: true);
        if (_rows.Length < _y.Taps) _rows = new nint[_y.Taps];
        (_row, _emitted) = (_y.First, 0);
    }

    /// <summary>Takes the next row, from row <see cref="Rows"/>.First on.</summary>
    /// <param name="pixels">The pixel in column <see cref="Columns"/>.First.</param>
    /// <param name="layout">What its pixels are like.</param>
    /// <param name="destination">The window, [rows][columns][3].</param>
    public void Add(byte* pixels, PixelLayout layout, byte* destination)
    {
        fixed (byte* ring = _ring)
        fixed (nint* rows = _rows)
        {
            ResampleKernels.Horizontal(level, _x, _spread, pixels - (nint)_x.First * (int)layout, layout, ring + (nint)(_row % _ringRows) * _stride);
            _row++;
            for (; _emitted < _y.Count && _y.Ends[Output] <= _row; _emitted++) Emit(ring, (byte**)rows, destination);
        }
    }

    // The output that is made next.
    private int Output => _rowsReversed ? _y.Count - 1 - _emitted : _emitted;

    private void Emit(byte* ring, byte** rows, byte* destination)
    {
        int bytes = 3 * _x.Count, output = Output, taps = _y.Taps;
        for (int i = 0, slot = _y.Starts[output] % _ringRows; i < taps; i++)
        {
            rows[i] = ring + (nint)slot * _stride;
            if (++slot == _ringRows) slot = 0;
        }

        if (!_transposed)
        {
            ResampleKernels.Vertical(level, _y, output, rows, bytes, destination + (nint)output * bytes);
            return;
        }

        fixed (byte* line = _line)
        {
            ResampleKernels.Vertical(level, _y, output, rows, bytes, line);
            byte* target = destination + 3 * (_flip ? _outputColumns - 1 - output : output);
            for (int i = 0; i < bytes; i += 3, target += 3 * (nint)_outputColumns) (target[0], target[1], target[2]) = (line[i], line[i + 1], line[i + 2]);
        }
    }

    /// <summary>Rows from the first that an output needs to the last that has arrived when it is made.</summary>
    private int RingRows()
    {
        int most = 1, arrived = 0;
        for (int i = 0; i < _y.Count; i++)
        {
            int output = _rowsReversed ? _y.Count - 1 - i : i;
            arrived = Math.Max(arrived, _y.Ends[output]);
            most = Math.Max(most, arrived - _y.Starts[output]);
        }

        return most;
    }
}
