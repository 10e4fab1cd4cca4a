using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.KnownAnswers;

/// <summary>Random numbers, mirror noise, orders of images and augmentations, compared with make.py.</summary>
public class RandomAnswerTests
{
    private static readonly JsonElement Answers = Known.Read("random");

    [Fact]
    public void A_block_is_Philox_of_index_purpose_layer_step_under_the_seed()
    {
        foreach (JsonElement a in Answers.Each("blocks"))
        {
            var key = new RandomKey(a.GetProperty("seed").GetUInt64(), (RandomPurpose)a.UInt("purpose"), a.UInt("layer"), a.UInt("step"));
            uint[] words = [.. a.Each("words").Select(w => w.GetUInt32())];
            PhiloxBlock block = key.Block(a.UInt("index"));
            Assert.Equal(words, (uint[])[block.X, block.Y, block.Z, block.W]);
            Assert.Equal(words, (uint[])[block[0], block[1], block[2], block[3]]);
        }
    }

    [Fact]
    public void Gaussian_and_uniform_numbers_are_the_known_ones()
    {
        JsonElement a = Answers.GetProperty("gaussian");
        float[] expected = a.Floats("values"), found = new float[expected.Length];
        KeyOf(a).FillGaussian(found, a.Float("deviation"), a.UInt("firstBlock"));
        Known.AssertClose(expected, found, "gaussian");

        a = Answers.GetProperty("uniform");
        expected = a.Floats("values");
        found = new float[expected.Length];
        KeyOf(a).FillUniform(found, a.Float("low"), a.Float("high"));
        Known.AssertClose(expected, found, "uniform");
        var sequence = new RandomSequence(KeyOf(a));
        Known.AssertClose(expected, [.. expected.Select(_ => sequence.NextFloat(a.Float("low"), a.Float("high")))], "sequence");

        static RandomKey KeyOf(JsonElement a) => new(a.GetProperty("seed").GetUInt64(), RandomPurpose.User, a.UInt("layer"), a.UInt("step"));
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Backends_draw_the_known_gaussian_numbers(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        JsonElement a = Answers.GetProperty("noise").EnumerateArray().Last(n => n.Text("kind") == "gaussian");
        float[] expected = a.Floats("values");
        using DeviceBuffer values = backend.Allocate(expected.Length, "values");
        var key = new RandomKey(a.GetProperty("seed").GetUInt64(), RandomPurpose.MirrorNoise, a.UInt("layer"), a.UInt("sample"));
        backend.FillGaussian(values, key, a.Float("deviation"));
        Known.AssertClose(expected, backend.Download(values), name);
    }

    [Fact]
    public void Mirror_noise_is_the_known_one()
    {
        foreach (JsonElement a in Answers.Each("noise"))
        {
            MirrorNoise noise = NoiseOf(a);
            float[] expected = a.Floats("values"), found = new float[expected.Length];
            noise.Fill(found, a.Int("sample"));
            Known.AssertClose(expected, found, $"{noise.Kind} noise of {noise.Length}, sample {a.Int("sample")}");
        }
    }

    /// <summary>A layer with one output whose weights select one element of each sample. The correlation is that element times the
    /// sample, which shows the noise that a backend generates internally.</summary>
    [Theory, ClassData(typeof(Binary32Backends))]
    public void Backends_send_the_known_noise_through_a_layer(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("noise"))
        {
            MirrorNoise noise = NoiseOf(a);
            float[] expected = a.Floats("values");
            int chosen = noise.Length / 3;
            var pick = new float[noise.Length];
            pick[chosen] = 1;
            using DeviceBuffer w = backend.Allocate(noise.Length, "w"), correlation = backend.Allocate(noise.Length, "correlation");
            backend.Upload<float>(pick, w);
            backend.MirrorCorrelate(new MirrorStep(ConvShape.Linear(1, noise.Length, 1), noise, a.Int("sample"), 1), w, correlation);
            Known.AssertClose(
                [.. expected.Select(v => v * expected[chosen])], backend.Download(correlation), $"{name}, {noise.Kind} noise of {noise.Length}, sample {a.Int("sample")}");
        }
    }

    [Fact]
    public void An_epoch_takes_its_images_in_the_known_order()
    {
        const int count = 11;
        var set = new ImageSet(new MapShape(1, 1, 1), count, [.. Enumerable.Range(0, count).Select(i => (byte)i)], [.. Enumerable.Range(0, count)]);
        Normalisation normalisation = Normalisation.Of(set, NormalisationKind.Unit);
        using var backend = new ReferenceBackend();
        foreach (JsonElement a in Answers.Each("orders"))
        {
            using ImageFeed feed = ImageFeed.Train(backend, set, normalisation, Augmentation.None, count, a.GetProperty("seed").GetUInt64());
            feed.Seek(a.Int("epoch"), 0);
            Batch batch = feed.Next()!;
            Assert.Equal(a.Ints("order"), batch.Numbers);
            Assert.Equal(a.Ints("order"), batch.Labels);
            Assert.Equal(a.Ints("order"), batch.Pixels.Select(p => (int)p));
        }
    }

    [Fact]
    public void Images_are_moved_and_turned_as_the_known_draws_say()
    {
        foreach (JsonElement a in Answers.Each("draws"))
        {
            int reach = a.Int("reach");
            var key = new RandomKey(a.GetProperty("seed").GetUInt64(), RandomPurpose.Augmentation, a.UInt("epoch"), Step: 99);
            foreach ((int number, int[] draw) in a.Ints("numbers").Zip(a.Each("draws").Select(d => d.EnumerateArray().Select(v => v.GetInt32()).ToArray())))
            {
                Assert.Equal((draw[0], draw[1], draw[2] == 1), new ImageAugmentation(8, 8, 1, reach, Flip: true, key).Draw(number));
                Assert.Equal((draw[0], draw[1], false), new ImageAugmentation(8, 8, 1, reach, Flip: false, key).Draw(number));
            }
        }
    }

    [Fact]
    public void A_feed_augments_by_seed_and_epoch_with_a_reach_of_four()
    {
        var set = new ImageSet(new MapShape(8, 8, 1), 2, new byte[4 * 64], [0, 1, 0, 1]);
        using var backend = new ReferenceBackend();
        foreach (Augmentation augmentation in Enum.GetValues<Augmentation>())
        {
            using ImageFeed feed = ImageFeed.Train(backend, set, Normalisation.Of(set, NormalisationKind.Unit), augmentation, 4, seed: 5);
            feed.Seek(3, 0);
            ImageAugmentation found = feed.Next()!.Augmentation;
            Assert.Equal(augmentation is Augmentation.Crop or Augmentation.CropFlip ? 4 : 0, found.Reach);
            Assert.Equal(augmentation is Augmentation.Flip or Augmentation.CropFlip, found.Flip);
            Assert.Equal(new RandomKey(5, RandomPurpose.Augmentation, 3), found.Key);
            using ImageFeed evaluation = ImageFeed.Evaluate(backend, set, Normalisation.Of(set, NormalisationKind.Unit), 4);
            ImageAugmentation unmoved = evaluation.Next()!.Augmentation;
            Assert.Equal((0, false), (unmoved.Reach, unmoved.Flip));
        }
    }

    private static MirrorNoise NoiseOf(JsonElement a) => new(
        Enum.Parse<NoiseKind>(a.Text("kind"), ignoreCase: true), a.Int("length"), a.Float("deviation"), a.GetProperty("seed").GetUInt64(), a.UInt("layer"));
}
