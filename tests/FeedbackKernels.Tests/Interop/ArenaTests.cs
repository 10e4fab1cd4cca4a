using CsCheck;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

public class ArenaTests
{
    private static readonly Backend Backend = new ReferenceBackend();

    [Fact]
    public void Buffers_that_live_together_do_not_overlap_and_others_share()
    {
        using var arena = new Arena(Backend);
        DeviceBuffer a = arena.Rent(100, "a"), b = arena.Rent(50, "b");
        arena.Return(a);
        DeviceBuffer c = arena.Rent(90, "c");
        arena.Commit();
        Assert.Equal(a.Address, c.Address);
        Assert.True(b.Address >= a.Address + 400 || b.Address + 200 <= a.Address);
        Assert.True(arena.Bytes < (100 + 50 + 90) * sizeof(float));
    }

    [Fact]
    public void Random_plans_never_hand_out_memory_twice() =>
        (from sizes in Gen.Int[1, 500].Array[1, 40]
         from order in Gen.Int[0, 1000].Array[40]
         select (sizes, order)).Sample(plan =>
        {
            using var arena = new Arena(Backend);
            var alive = new List<DeviceBuffer>();
            var sets = new List<DeviceBuffer[]>();
            for (int i = 0; i < plan.sizes.Length; i++)
            {
                alive.Add(arena.Rent(plan.sizes[i], $"{i}"));
                sets.Add([.. alive]);
                if (plan.order[i] % 2 == 0 && alive.Count > 0)
                {
                    DeviceBuffer gone = alive[plan.order[i] % alive.Count];
                    arena.Return(gone);
                    alive.Remove(gone);
                }
            }

            arena.Commit();
            foreach (DeviceBuffer[] together in sets)
            {
                DeviceBuffer[] sorted = [.. together.OrderBy(b => b.Address)];
                for (int i = 1; i < sorted.Length; i++)
                    Assert.True(sorted[i - 1].Address + sorted[i - 1].Length * sizeof(float) <= sorted[i].Address);
            }
        }, iter: 200, threads: 1);

    [Fact]
    public void Misuse_is_refused()
    {
        using var arena = new Arena(Backend);
        DeviceBuffer a = arena.Rent(10, "first");
        Assert.Contains("first", Assert.Throws<InvalidOperationException>(() => a.Address).Message);
        arena.Return(a);
        Assert.Throws<ArgumentException>(() => arena.Return(a));
        Assert.Throws<ArgumentOutOfRangeException>(() => arena.Rent(0, "nothing"));
        arena.Commit();
        Assert.Throws<InvalidOperationException>(() => arena.Rent(10, "late"));
        Assert.Throws<InvalidOperationException>(arena.Commit);
        arena.Dispose();
        Assert.Throws<ObjectDisposedException>(() => a.Address);
    }

    [Fact]
    public void An_arena_that_is_gone_is_not_committed()
    {
        using var backend = new CpuBackend(1);
        var arena = new Arena(backend);
        DeviceBuffer buffer = arena.Rent(10, "x");
        arena.Dispose();
        arena.Dispose();
        Assert.Throws<ObjectDisposedException>(arena.Commit);
        Assert.Throws<ObjectDisposedException>(() => buffer.Address);
    }
}
