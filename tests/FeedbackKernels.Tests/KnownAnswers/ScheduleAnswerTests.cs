using System.Text.Json;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.KnownAnswers;

/// <summary>The learning rate of every step of short runs.</summary>
public class ScheduleAnswerTests
{
    [Fact]
    public void Every_step_has_the_known_rate()
    {
        int cases = 0;
        foreach (JsonElement a in Known.Read("schedules").EnumerateArray())
        {
            ScheduleKind kind = ScheduleCatalog.Find(a.Text("kind"))!;
            JsonElement milestones = a.GetProperty("milestones");
            var schedule = new LearningRateSchedule(
                kind, a.Float("peak"), a.Double("warmUp"), milestones.ValueKind == JsonValueKind.Null ? null : [.. milestones.EnumerateArray().Select(m => m.GetDouble())],
                a.Float("gamma"));
            float[] rates = a.Floats("rates");
            int perEpoch = a.Int("stepsPerEpoch"), epochs = a.Int("epochs");
            Assert.Equal(perEpoch * epochs, rates.Length);
            Known.AssertClose(rates, [.. rates.Select((_, step) => schedule.At(step, perEpoch, epochs))], $"{kind}, warm-up {schedule.WarmUpEpochs}", 1e-7);
            cases++;
        }

        Assert.Equal(10, cases);
    }
}
