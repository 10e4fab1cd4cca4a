using System.Text.Json.Nodes;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;
using Microsoft.AspNetCore.Builder;

namespace FeedbackKernels.Watch.Tests;

/// <summary>The page in a real browser, while runs train.</summary>
public sealed class BrowserTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-browser").FullName;
    private readonly WebApplication _app;

    public BrowserTests() => _app = WatchServer.Create(new WatchSettings(_folder) { Pause = TimeSpan.FromMilliseconds(50) });

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private Uri Address => new(_app.Urls.Single());

    public async ValueTask InitializeAsync() => await _app.StartAsync(Cancel);

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Curves_grow_while_the_page_is_open()
    {
        var run = new WrittenRun(Path.Combine(_folder, "first"));
        run.AddEpoch();
        run.AddEpoch();
        await using Browser browser = await Browser.Open(Address, 1400, 1800);
        await browser.WaitFor("document.getElementById('accuracy').dataset.points === '2'");
        await browser.WaitFor("document.getElementById('connection').textContent === 'live'");
        Assert.Equal("3", await Data(browser, "weight-angle", "points"));
        // Two of the three layers have a B, all have an error.
        Assert.Equal(("6", "9"), (await Data(browser, "weight-map", "cells"), await Data(browser, "error-map", "cells")));
        int before = await Coloured(browser, "accuracy");
        Assert.True(before > 100, $"{before} pixels of the curve's colour");
        // An epoch ends.
        run.AddEpoch();
        await browser.WaitFor("document.getElementById('accuracy').dataset.points === '3'");
        Assert.Equal(("6", "12"), (await Data(browser, "loss", "points"), await Data(browser, "error-map", "cells")));
        Assert.Contains("epoch 3/12", (await browser.Evaluate("document.getElementById('log').textContent"))!.GetValue<string>());
        await browser.WaitFor("document.querySelector('#runs tr[data-run=first]').cells[5].textContent === '83.33 %'");
        Assert.Equal("3 / 12", await Cell(browser, "first", 4));
        Assert.Equal("10.0 %", await Cell(browser, "first", 9));
        // Another run begins; its name is text, whatever is in it.
        const string Name = "<img src=x onerror=alert(1)>";
        var second = new WrittenRun(Path.Combine(_folder, Name), "kolen-pollack");
        second.AddEpoch();
        second.Write("report.html", "<p>done</p>");
        await browser.WaitFor("document.getElementById('accuracy').dataset.curves === '2'");
        Assert.Equal(2, (await browser.Evaluate("document.querySelectorAll('#runs tbody tr').length"))!.GetValue<int>());
        Assert.Equal(0, (await browser.Evaluate("document.querySelectorAll('#runs img').length"))!.GetValue<int>());
        await browser.WaitFor("document.querySelectorAll('#runs a').length === 1");
        Assert.Equal("<p>done</p>", (await browser.Evaluate("fetch(document.querySelector('#runs a').href).then(r => r.text())"))!.GetValue<string>());
        await AssertAxes(browser);
        await browser.Screenshot(Path.Combine(Results(), "watch.png"));
        await AssertHiding(browser);
        // A run that is deleted goes.
        Directory.Delete(second.Folder, recursive: true);
        await browser.WaitFor("document.querySelectorAll('#runs tbody tr').length === 1");
        Assert.Empty(browser.Errors);
        Assert.All(browser.Requests, address => Assert.StartsWith(Address.ToString(), address));
        Assert.Contains(browser.Requests, address => address.EndsWith("/events", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_run_that_starts_while_the_page_is_open_appears_and_trains_before_ones_eyes()
    {
        await using Browser browser = await Browser.Open(Address, 1400, 1800);
        await browser.WaitFor("document.getElementById('connection').textContent === 'live'");
        Assert.False((await browser.Evaluate("document.getElementById('none').hidden"))!.GetValue<bool>());
        var config = new RunConfig { Model = "lenet", Rule = new Rules.WeightMirror(), Training = new TrainingOptions { Epochs = 3, Batch = 20 } };
        DataSet data = DataSet.Open("synthetic", 6, 60, 40);
        using var backend = new CpuBackend(1);
        using var pause = new PauseAfterEpoch();
        Task training = Task.Run(() => Experiment.Train(config, data, backend, new RunPlace(Path.Combine(_folder, "live")), pause, cancel: Cancel), Cancel);
        for (int epoch = 1; epoch <= 3; epoch++)
        {
            await browser.WaitFor($"document.getElementById('accuracy').dataset.points === '{epoch}'");
            // The start is measured too, and conv1 has no B.
            Assert.Equal($"{4 * (epoch + 1)}", await Data(browser, "weight-map", "cells"));
            pause.GoOn();
        }

        await training;
        await browser.WaitFor("document.querySelector('#runs tbody tr').cells[10].textContent === 'finished'");
        Assert.Equal("weight-mirror", await Cell(browser, "live", 2));
        await browser.WaitFor("document.getElementById('log').textContent.includes('finished: 3 of 3 epochs')");
        await browser.Screenshot(Path.Combine(Results(), "watch-live.png"));
        Assert.Empty(browser.Errors);
    }

    [Fact]
    public async Task A_page_whose_server_is_gone_says_so()
    {
        await using Browser browser = await Browser.Open(Address, 800, 600);
        await browser.WaitFor("document.getElementById('connection').textContent === 'live'");
        await _app.StopAsync(Cancel);
        await browser.WaitFor("document.getElementById('connection').textContent.startsWith('connection lost')");
    }

    private static async Task AssertAxes(Browser browser)
    {
        // Over steps and time the curves are where the other columns say: the tips tell the values.
        foreach ((string axis, string tip) in new[] { ("step", "first\nstep 300: 83.333"), ("seconds", "first\nseconds 180: 83.333"), ("epoch", "first\nepoch 3: 83.333") })
        {
            await browser.Evaluate($"document.querySelector('input[value={axis}]').click()");
            JsonNode? tips = await browser.Evaluate("document.getElementById('accuracy').targets.map(target => target.text)");
            Assert.Contains(tip, tips!.AsArray().Select(text => text!.GetValue<string>()));
        }

        // The pointer over the last point shows its tip.
        string shown = (await browser.Evaluate(
            """
            (() => {
              const figure = document.getElementById('accuracy'), target = figure.targets.find(t => t.text.includes('epoch 3')), canvas = figure.querySelector('canvas'), box = canvas.getBoundingClientRect();
              canvas.dispatchEvent(new MouseEvent('mousemove', { clientX: box.left + target.x, clientY: box.top + target.y, bubbles: true }));
              return document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent;
            })()
            """))!.GetValue<string>();
        Assert.Equal("first\nepoch 3: 83.333", shown);
    }

    private static async Task AssertHiding(Browser browser)
    {
        await browser.Evaluate("document.querySelector('#runs tr[data-run=first] input').click()");
        await browser.WaitFor("document.getElementById('accuracy').dataset.curves === '1'");
        await browser.Evaluate("document.querySelector('#runs tr[data-run=first] input').click()");
        await browser.WaitFor("document.getElementById('accuracy').dataset.curves === '2'");
    }

    private static async Task<string> Data(Browser browser, string figure, string name) =>
        (await browser.Evaluate($"document.getElementById('{figure}').dataset.{name}"))!.GetValue<string>();

    private static async Task<string> Cell(Browser browser, string run, int column) =>
        (await browser.Evaluate($"document.querySelector('#runs tr[data-run={run}]').cells[{column}].textContent"))!.GetValue<string>();

    /// <summary>Pixels of a chart in the first colour of the palette, #0072b2.</summary>
    private static async Task<int> Coloured(Browser browser, string figure) => (await browser.Evaluate(
        $$"""
        (() => {
          const canvas = document.getElementById('{{figure}}').querySelector('canvas'), data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let i = 0; i < data.length; i += 4) if (data[i] < 30 && Math.abs(data[i + 1] - 114) < 30 && Math.abs(data[i + 2] - 178) < 30 && data[i + 3] > 128) count++;
          return count;
        })()
        """))!.GetValue<int>();

    /// <summary>The folder for pictures, which git ignores.</summary>
    private static string Results()
    {
        string root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "Kernels.sln"))) root = Path.GetDirectoryName(root) ?? throw new FileNotFoundException("Kernels.sln");
        return Path.Combine(root, "TestResults");
    }

    /// <summary>Holds the training up after each epoch.</summary>
    private sealed class PauseAfterEpoch : ITrainingObserver, IDisposable
    {
        private readonly SemaphoreSlim _next = new(0);

        public void Dispose() => _next.Dispose();

        public void GoOn() => _next.Release();

        public void OnEpoch(EpochReport report) => _next.Wait(TimeSpan.FromSeconds(60), Cancel);
    }
}
