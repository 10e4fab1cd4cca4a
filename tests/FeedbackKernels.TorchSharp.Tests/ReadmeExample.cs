using FeedbackKernels.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace MyTrainer;

public static class Example
{
    /// <returns>The loss of the last step.</returns>
    public static float Train(Tensor images, Tensor labels, int steps)
    {
        // Any model whose fields can hold a Module<Tensor, Tensor>; torchvision's, for example.
        using Module<Tensor, Tensor> model = torchvision.models.resnet18(num_classes: 10);
        model.WithFeedback("weight-mirror", except: "conv1");
        using var optimiser = optim.SGD(model.parameters(), learningRate: 0.05, momentum: 0.9, weight_decay: 1e-4);
        model.BeforeTraining();
        float last = 0;
        for (int step = 0; step < steps; step++)
        {
            using IDisposable scope = NewDisposeScope();
            optimiser.zero_grad();
            Tensor loss = functional.cross_entropy(model.call(images), labels);
            loss.backward();
            optimiser.step();
            model.MirrorStep();
            last = loss.item<float>();
        }

        foreach ((string name, var alignment) in model.Align()) Console.WriteLine($"{name}: {alignment.AngleDegrees:F1} degrees");
        model.save("model.dat"); // B is in it, as <layer>.feedback.weight.
        return last;
    }
}
