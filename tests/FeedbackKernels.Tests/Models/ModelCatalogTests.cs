using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Tests.Models;

public class ModelCatalogTests
{
    // ImageNet nets: torchvision's counts (parameters and multiply-adds of convolutions and classifier at 224 pixels).
    // Small nets: He et al. 2015 with projection shortcuts. LeNet-5 and the paper's MLPs: by hand.
    [Theory]
    [InlineData("resnet18", 224, 3, 1000, 11_689_512, 1_814_073_344)]
    [InlineData("resnet34", 224, 3, 1000, 21_797_672, 3_663_761_408)]
    [InlineData("resnet50", 224, 3, 1000, 25_557_032, 4_089_184_256)]
    [InlineData("resnet101", 224, 3, 1000, 44_549_160, 7_801_405_440)]
    [InlineData("resnet152", 224, 3, 1000, 60_192_808, 11_513_626_624)]
    [InlineData("resnet20", 32, 3, 10, 272_474, 40_813_184)]
    [InlineData("resnet32", 32, 3, 10, 466_906, 69_124_736)]
    [InlineData("resnet44", 32, 3, 10, 661_338, 97_436_288)]
    [InlineData("resnet56", 32, 3, 10, 855_770, 125_747_840)]
    [InlineData("resnet110", 32, 3, 10, 1_730_714, 253_149_824)]
    [InlineData("lenet", 28, 1, 10, 61_706, 416_520)]
    [InlineData("mlp", 28, 1, 10, 397_510, 397_000)]
    [InlineData("mlp", 32, 3, 10, 3_083_010, 3_082_000)]
    public void Parameters_and_multiply_adds_are_the_published_ones(string name, int size, int channels, int classes, long parameters, long multiplyAdds)
    {
        using var backend = new CpuBackend(1);
        using var model = Model.ForEvaluation(
            backend, ModelCatalog.Create(name, new MapShape(size, size, channels), classes), batch: 1, seed: 1);
        Assert.Equal(parameters, model.ParameterCount);
        Assert.Equal(2.0 * multiplyAdds, model.ForwardFlops);
    }

    [Fact]
    public void Strides_stand_where_version_1_5_has_them()
    {
        ModelSpec spec = ModelCatalog.Create("resnet50", new MapShape(224, 224, 3), 1000);
        ResidualSpec block = spec.Blocks.OfType<ResidualSpec>().Single(b => b.Name == "layer2.0");
        Assert.Equal([1, 2, 1], block.Main.Select(c => c.Stride));
        Assert.Equal(2, block.Shortcut!.Stride);
    }

    [Fact]
    public void Unknown_models_and_images_that_do_not_fit_are_refused()
    {
        Assert.Contains("resnet20", Assert.Throws<ArgumentException>(() => ModelCatalog.Create("resnet21", new MapShape(32, 32, 3), 10)).Message);
        using var backend = new ReferenceBackend();
        ModelSpec tiny = ModelCatalog.Create("lenet", new MapShape(4, 4, 1), 10);
        Assert.Contains("conv2 cannot take a map of 2x2x6", Assert.Throws<ArgumentException>(() => new Model(backend, tiny, RuleSet.Of(new Backprop()), 1, 1)).Message);
    }
}
