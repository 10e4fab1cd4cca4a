using FeedbackKernels.Bench.Estimates;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Tests.Bench;

/// <summary>The time of sums between GPUs, by hand.</summary>
public class ReductionTests
{
    [Fact]
    public void Two_GPUs_of_a_node_exchange_the_bytes_once()
    {
        // A ring of two: two steps of 3.4 us and 8.4 us at the start, and 2 * 1/2 of 36 MB at 0.8 * 450 GB/s, 100 us.
        Assert.Equal(8.4e-6 + 2 * 3.4e-6 + 100e-6, new Network(2).RingSeconds(36e6), 1e-12);
        // A tree: 4.4 us, two steps of 1.2 us, twice the bytes at 0.9 * 0.915 of the rate.
        Assert.Equal(4.4e-6 + 2.4e-6 + 200e-6 / (0.9 * 0.915), new Network(2).TreeSeconds(36e6), 1e-12);
        Assert.Equal(new Network(2).RingSeconds(36e6), new Network(2).Seconds(36e6));
        Assert.Equal(new Network(2).TreeSeconds(4), new Network(2).Seconds(4));
        Assert.Equal(0, new Network(1).Seconds(36e6));
    }

    [Fact]
    public void Between_nodes_a_ring_is_as_fast_as_the_adapters_and_has_a_slow_step_for_each_node()
    {
        var network = new Network(64);
        Assert.Equal(8, network.Nodes);
        // Eight adapters of 50 GB/s, below the 450 GB/s of NVLink.
        Assert.Equal(0.8 * 400e9, network.Bandwidth);
        // 126 steps, 14 of them between nodes.
        Assert.Equal(8.4e-6 + 112 * 3.4e-6 + 14 * 9.6e-6 + 32e6 * 126 / 64 / 320e9, network.RingSeconds(32e6), 1e-12);
        // Up and down: 7 steps in the node, 3 between 8 nodes.
        Assert.Equal(4.4e-6 + 2 * (7 * 1.2e-6 + 3 * 8.5e-6) + 64e6 / (0.9 * 0.915 * 320e9), network.TreeSeconds(32e6), 1e-12);
    }

    [Fact]
    public void Sums_run_in_turn_behind_the_backward_pass()
    {
        var network = new Network(2);
        double one = network.Seconds(36e6), two = network.Seconds(72e6);
        // The second waits for the first, the third for its bucket, which is complete when the pass ends.
        var reduction = new Reduction(Backward: 1e-3, Step: 2e-3, [(72e6, 1e-4), (36e6, 2e-4), (36e6, 1e-3)]);
        Assert.Equal(2 * one + two, reduction.Sums(network), 1e-12);
        Assert.Equal(one, reduction.Exposed(network), 1e-12);
        Assert.True(reduction.Hides(network));
        // A pass of half the time ends while the first two are under way.
        var shorter = reduction with { Backward = 2.5e-4, Buckets = [(72e6, 1e-4), (36e6, 2e-4), (36e6, 2.5e-4)] };
        Assert.Equal(1e-4 + two + 2 * one - 2.5e-4, shorter.Exposed(network), 1e-12);
        Assert.False(shorter.Hides(network));
    }

    [Fact]
    public void ResNet_50_has_its_25_557_032_gradients_in_buckets_of_4_MiB_in_the_order_of_the_backward_pass()
    {
        Reduction reduction = Reduction.Of(Card.Named("h200"), ModelCatalog.Create("resnet50", new MapShape(224, 224, 3), 1000), 64);
        // Each parameter begins at a multiple of 64 bytes.
        Assert.InRange(reduction.Buckets.Sum(b => b.Bytes), 4.0 * 25_557_032, 4.0 * 25_557_032 + 161 * 60);
        Assert.All(reduction.Buckets.SkipLast(1), b => Assert.True(b.Bytes >= 4 << 20));
        // The largest: a filter of 3x3x512x512 is one parameter.
        Assert.InRange(reduction.Buckets.Max(b => b.Bytes), 4.0 * 9 * 512 * 512, 4.0 * 9 * 512 * 512 + (4 << 20));
        Assert.Equal(reduction.Buckets.Select(b => b.Ready).Order(), reduction.Buckets.Select(b => b.Ready));
        Assert.Equal(reduction.Backward, reduction.Buckets[^1].Ready, 1e-9);
        Assert.InRange(reduction.Backward, 0.5 * reduction.Step, 0.8 * reduction.Step);
    }

    [Fact]
    public void The_batch_from_which_sums_hide_is_the_smallest()
    {
        // One bucket, complete half-way: it hides as soon as half of the pass, 10 us an image, is as long as the sum.
        var network = new Network(2);
        double sum = network.Seconds(36e6);
        int expected = (int)Math.Ceiling(2 * sum / 10e-6);
        Assert.Equal($"{expected}", ReduceCommand.HidesFrom(network, n => new Reduction(n * 10e-6, n * 20e-6, [(36e6, n * 5e-6), (0, n * 10e-6)])));
        Assert.Equal("above 1024", ReduceCommand.HidesFrom(network, n => new Reduction(n * 1e-8, n * 1e-8, [(36e6, 0), (0, n * 1e-8)])));
    }
}
