using System.Text;
using FeedbackKernels.Cli;

namespace FeedbackKernels.Tests.Cli;

/// <summary>A closed terminal does not end a run that writes to it.</summary>
public sealed class HangUpWriterTests
{
    [Fact]
    public void What_is_written_to_a_terminal_that_is_gone_is_dropped()
    {
        using var terminal = new Gone();
        using var writer = new HangUpWriter(terminal);
        writer.WriteLine("seen");
        terminal.IsGone = true;
        writer.WriteLine("lost");
        writer.Write("lost");
        writer.Write('x');
        writer.WriteLine();
        writer.Flush();
        terminal.IsGone = false;
        // The writer does not try again: that could print half a line.
        writer.WriteLine("lost");
        Assert.Equal($"seen{Environment.NewLine}", terminal.Text.ToString());
    }

    [Fact]
    public void Other_errors_are_not_swallowed()
    {
        using var terminal = new Gone();
        using var writer = new HangUpWriter(terminal);
        terminal.Dispose();
        Assert.Throws<ObjectDisposedException>(() => writer.WriteLine("x"));
    }

    private sealed class Gone : TextWriter
    {
        private bool _disposed;

        public StringBuilder Text { get; } = new();

        public bool IsGone { get; set; }

        public override Encoding Encoding => Encoding.UTF8;

        public override void Write(char value)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (IsGone) throw new IOException("Input/output error");
            Text.Append(value);
        }

        public override void Flush()
        {
            if (IsGone) throw new IOException("Input/output error");
        }

        protected override void Dispose(bool disposing)
        {
            _disposed = true;
            base.Dispose(disposing);
        }
    }
}
