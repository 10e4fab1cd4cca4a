using System.Reflection;
using Xunit.v3;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// Marks a test that a real GPU cannot pass, because it looks into the emulated driver. Where another driver is named the test is skipped
/// for this reason. tests/README.md lists all of them.
/// </summary>
/// <param name="why">What a real device cannot have.</param>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class EmulatedOnlyAttribute(string why) : BeforeAfterTestAttribute
{
    public string Why => why;

    public override void Before(MethodInfo methodUnderTest, IXunitTest test) => EmulatedDriver.Require(why);
}

/// <summary>Marks a test of which some cases need several devices: on a machine with one, these are skipped.</summary>
/// <param name="which">Which cases.</param>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class SeveralDevicesAttribute(string which) : Attribute
{
    public string Which => which;
}
