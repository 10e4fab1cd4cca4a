#!/usr/bin/env bash
# Builds the GPU kit: a folder of programs for a linux-x64 machine with an NVIDIA driver, but without .NET and CUDA.
#
#   bench/gpu-kit/make.sh [FOLDER]      default: artifacts/gpu-kit
#
# Needs the .NET SDK, a C compiler (native AOT links with it), CMake, and clang or nvcc for the CUDA kernels.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
kit=$(realpath -m "${1:-$root/artifacts/gpu-kit}")
work=$root/artifacts/gpu-kit-build
most_bytes=60000000

if [ -e "$kit" ] && [ ! -e "$kit/run.sh" ] && [ -n "$(ls -A "$kit")" ]; then
  echo "make.sh: '$kit' exists and is not a GPU kit; give another folder" >&2
  exit 1
fi
mkdir -p "$kit"
rm -rf "$work/out" "$kit/bin" "$kit/tests" "$kit/peer"

# Keep outputs and lock files apart from those of normal builds: a publish restores other packages than a build.
publish() {
  local project=$1 output=$2
  shift 2
  dotnet publish "$root/$project" -c Release -r linux-x64 --artifacts-path "$work" -o "$work/out/$output" \
    -p:NuGetLockFilePath="$work/lock/\$(MSBuildProjectName).json" -p:DebugType=none "$@"
}

# By default, native AOT compiles for an x86-64 without AVX2.
native=(-p:PublishAot=true -p:IlcInstructionSet=x86-64-v3)
publish managed/FeedbackKernels.Cli feedback "${native[@]}"
publish bench/FeedbackKernels.Bench.Runner bench "${native[@]}"
# The test framework finds tests by reflection, so trim only assemblies that declare that they support it.
publish tests/FeedbackKernels.Tests tests --self-contained -p:PublishTrimmed=true -p:TrimMode=partial -p:SuppressTrimAnalysisWarnings=true

mkdir -p "$kit/bin" "$kit/peer"
cp "$work/out/feedback/feedback" "$work/out/bench/bench" "$kit/bin/"
cp -r "$work/out/tests" "$kit/tests"
rm -f "$kit"/tests/*.xml "$kit"/tests/*.pdb
# Parts of the runtime for debuggers, and optional garbage collectors: 7 MB.
(cd "$kit/tests" && rm -f createdump libmscordaccore.so libmscordbi.so libcoreclrtraceptprovider.so libclrgc.so libclrgcexp.so)
cp "$root/bench/peers/gpu/torch_resnet.py" "$kit/peer/"
cp "$root/bench/gpu-kit/run.sh" "$root/bench/gpu-kit/compare.awk" "$kit/"
{
  echo "commit $(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)$(git -C "$root" diff --quiet HEAD 2>/dev/null || echo ', with changes')"
  "$kit/bin/feedback" info --backend cpu --model lenet | grep '^CUDA kernels'
} > "$kit/build.txt"

if grep -q ': none' "$kit/build.txt"; then
  echo "make.sh: $(tail -n 1 "$kit/build.txt"): a kit without kernels is useless" >&2
  exit 1
fi
bytes=$(du -sb "$kit/bin" "$kit/tests" "$kit/peer" | awk '{ sum += $1 } END { print sum }')
awk -v bytes="$bytes" -v kit="$kit" 'BEGIN { printf "%s: %.1f MB\n", kit, bytes / 1e6 }'
if [ "$bytes" -ge $most_bytes ]; then
  echo "make.sh: the kit has $bytes bytes; the limit is $most_bytes" >&2
  exit 1
fi
