#!/usr/bin/env bash
# Builds the GPU kit for a linux-x64 machine with an NVIDIA driver, but without .NET and CUDA: a folder of programs, and an archive of
# it that is unpacked there and runs where it lies.
#
#   bench/gpu-kit/make.sh [FOLDER]      default: artifacts/feedback-gpu-kit; the archive is FOLDER.tar.xz
#
# Needs the .NET SDK, a C compiler (native AOT links with it), CMake, clang or nvcc for the CUDA kernels, tar and xz. With ptxas (installed,
# or unpacked from the distribution's package) the kit has cubins beside the PTX, so that nothing waits for the driver's compiler.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
kit=$(realpath -m "${1:-$root/artifacts/feedback-gpu-kit}")
archive=$kit.tar.xz
work=$root/artifacts/gpu-kit-build
most_bytes=50000000

if [ -e "$kit" ] && [ ! -e "$kit/run.sh" ] && [ -n "$(ls -A "$kit")" ]; then
  echo "make.sh: '$kit' exists and is not a GPU kit; give another folder" >&2
  exit 1
fi
for program in tar xz; do command -v $program >/dev/null || { echo "make.sh: $program is not installed" >&2; exit 1; }; done
mkdir -p "$kit"
rm -f "$archive"
rm -rf "$work/out" "$kit/bin" "$kit/tests" "$kit/peer"

ptxas=$("$root/.ci/ptxas" --path "$work/ptxas")
[ -n "$ptxas" ] || echo "make.sh: no ptxas: the kit has PTX only" >&2

# Keep outputs and lock files apart from those of normal builds: a publish restores other packages than a build.
publish() {
  local project=$1 output=$2
  shift 2
  dotnet publish "$root/$project" -c Release -r linux-x64 --artifacts-path "$work" -o "$work/out/$output" \
    -p:NuGetLockFilePath="$work/lock/\$(MSBuildProjectName).json" -p:DebugType=none -p:Ptxas="$ptxas" "$@"
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
# Native libraries once: each program looks beside itself.
for library in "$work/out/feedback"/lib*.so; do
  cp "$library" "$kit/bin/"
  ln -sf "../bin/$(basename "$library")" "$kit/tests/$(basename "$library")"
done
# A kit tests the driver of its machine.
rm -f "$kit"/tests/libfeedback-emulated-cuda.so "$kit"/tests/libfeedback-emulated-nccl.so
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
# The programs carry the same kernels and libraries: a dictionary of more than all of them finds what comes again.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --exclude="$(basename "$kit")/results" -C "$(dirname "$kit")" "$(basename "$kit")" |
  xz --threads=1 --lzma2=preset=9,dict=128MiB > "$archive"
bytes=$(stat -c %s "$archive")
awk -v bytes="$bytes" -v whole="$(du -sb "$kit" | cut -f1)" -v archive="$archive" 'BEGIN { printf "%s: %.1f MB, unpacked %.1f MB\n", archive, bytes / 1e6, whole / 1e6 }'
if [ "$bytes" -ge $most_bytes ]; then
  echo "make.sh: the archive has $bytes bytes; the limit is $most_bytes" >&2
  exit 1
fi
