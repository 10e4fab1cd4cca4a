#!/usr/bin/env bash
# Tests and measures FeedbackKernels on the GPU of this machine. Needs the NVIDIA driver; uses compute-sanitizer and PyTorch if they
# are installed. A part that fails does not stop the others; the summary lists the failures.
#
#   ./run.sh [--data FOLDER] [--out FOLDER] [--parts "NAME ..."]
#
# --data    cifar-10-batches-bin, or the folder that contains it; without it, the training part is skipped
# --out     folder for the results; run.sh creates a folder named after card, driver and date in it. Default: ./results
# --parts   some of: device tests sanitizer layers steps mirror training. Default: all
#
# Variables that set the extent of the measurements:
MODELS=${MODELS:-resnet18 resnet50}           # models to measure
PRECISIONS=${PRECISIONS:-bf16 fp32}
BATCH=${BATCH:-256}
BUDGET=${BUDGET:-0.3}                         # seconds to measure for each figure of a layer
SAMPLES=${SAMPLES:-10}                        # samples for the step of each rule
INNER=${INNER:-0}                             # steps in a sample; 0 for ten
ROUNDS=${ROUNDS:-3}                           # rounds; in each, ours and PyTorch run in turn
FILTER=${FILTER:-}                            # measure only layers whose name contains this
RULES=${RULES:-backprop feedback-alignment sign-symmetry weight-mirror kolen-pollack direct-feedback-alignment}
TRAIN_MODEL=${TRAIN_MODEL:-resnet20}
TRAIN_RULES=${TRAIN_RULES:-bp,wm,kp,ss,fa,dfa}
TRAIN_OPTIONS=${TRAIN_OPTIONS:---epochs 10 --batch 128 --lr 0.2 --schedule one-cycle}
TEST_OPTIONS=${TEST_OPTIONS:--namespace FeedbackKernels.Tests.Conformance -namespace FeedbackKernels.Tests.Cuda -class- FeedbackKernels.Tests.Conformance.SimdLevelTests}
SANITIZER_OPTIONS=${SANITIZER_OPTIONS:--class FeedbackKernels.Tests.Conformance.BatchNormTests -class FeedbackKernels.Tests.Conformance.PoolingTests -class FeedbackKernels.Tests.Cuda.TensorCoreTests}
PYTHON=${PYTHON:-python3}
PEER_DEVICE=${PEER_DEVICE:-cuda}              # cpu: to check the script without a GPU
PEER_OPTIONS=${PEER_OPTIONS:-}
set -u

kit=$(cd "$(dirname "$0")" && pwd)
data= out=$kit/results parts="device tests sanitizer layers steps mirror training"
while [ $# -gt 0 ]; do
  case $1 in
    --data | --out | --parts)
      [ $# -gt 1 ] || { echo "run.sh: $1 needs a value" >&2; exit 2; }
      case $1 in --data) data=$2 ;; --out) out=$2 ;; --parts) parts=$2 ;; esac
      shift 2 ;;
    -h | --help) sed -n '2,/^PEER_OPTIONS/p' "$0" | sed 's/^# \{0,1\}//'; exit 0 ;;
    *) echo "run.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
  esac
done

# The tests use the emulated driver unless a driver is named. Use the one of the machine.
export FEEDBACK_CUDA_DRIVER=${FEEDBACK_CUDA_DRIVER:-libcuda.so.1}
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
PATH=$kit/bin:$PATH

described=$(feedback info --backend cuda --model lenet 2>&1)
card=$(sed -n 's/^backend cuda: \(.*\), compute capability.*/\1/p' <<<"$described")
driver=$(sed -n 's/^NVRM version.*  \([0-9][0-9.]*\)  .*/\1/p' /proc/driver/nvidia/version 2>/dev/null)
slug() { tr -cs 'A-Za-z0-9.\n' '-' <<<"$1"; }
folder=$out/$(slug "${card:-no card}")_driver-$(slug "${driver:-unknown}")_$(date -u +%Y-%m-%d-%H%M)
mkdir -p "$folder" || exit 1
summary=$folder/summary.txt
cp "$kit/build.txt" "$folder/"
echo "results: $folder"
failures=0

# Runs a command as a part. Its output goes to a file, its outcome to the summary.
part() {
  local name=$1 file=$2 start=$SECONDS status
  shift 2
  "$@" >> "$folder/$file" 2> >(tee -a "$folder/errors.log" >&2)
  status=$?
  note "$([ $status = 0 ] && echo ok || echo "FAILED ($status)")" "$name" "$((SECONDS - start)) s, $file"
  [ $status = 0 ] || failures=$((failures + 1))
  return $status
}

note() { printf '%-12s %-56s %s\n' "$1" "$2" "$3" | tee -a "$summary"; }

skip() { note skipped "$1" "$2"; }

wants() { [[ " $parts " == *" $1 "* ]]; }

# Runs a command and puts the round in front of each line of its output.
round() {
  local number=$1
  shift
  "$@" | sed "s/^/$number,/"
  return "${PIPESTATUS[0]}"
}

has_torch() {
  "$PYTHON" - "$1" <<<"import sys, torch
if sys.argv[1] == 'cuda' and not torch.cuda.is_available(): raise SystemExit('PyTorch sees no GPU')" 2>&1
}

if reason=$(has_torch "$PEER_DEVICE"); then peer="$PYTHON $kit/peer/torch_resnet.py"; else peer=; fi
without_peer="$PYTHON cannot run the peer: $(tail -n 1 <<<"$reason")"
# The peer's name of a precision.
dtype() { [ "$1" = bf16 ] && echo bfloat16 || echo float32; }

describe() {
  date -u +%Y-%m-%dT%H:%M:%SZ
  uname -srm
  if command -v nvidia-smi >/dev/null; then nvidia-smi; nvidia-smi -q -d CLOCK,POWER; else echo "no nvidia-smi"; fi
  [ -z "$peer" ] || "$PYTHON" -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())'
  echo "$described"
  [ -n "$card" ]
}

peer_layers() { bench shapes --model "$1" | grep -F "$FILTER" | $peer conv --batch "$BATCH" --dtype "$(dtype "$2")" --device "$PEER_DEVICE" $PEER_OPTIONS; }

if wants device; then part "device" device.txt describe; fi

if wants tests; then part "conformance tests" tests.log "$kit/tests/FeedbackKernels.Tests" -noColor $TEST_OPTIONS; fi

if wants sanitizer; then
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -n 1)
  for tool in memcheck racecheck; do
    if [ -z "$sanitizer" ]; then skip "compute-sanitizer $tool" "compute-sanitizer is not installed"; continue; fi
    part "compute-sanitizer $tool" "sanitizer-$tool.log" "$sanitizer" --tool $tool --error-exitcode 1 \
      "$kit/tests/FeedbackKernels.Tests" -noColor $SANITIZER_OPTIONS
  done
fi

if wants layers; then
  [ -n "$peer" ] || skip "PyTorch layers" "$without_peer"
  [ -z "$peer" ] || part "PyTorch ceilings" ceilings.csv $peer ceilings --device "$PEER_DEVICE" $PEER_OPTIONS
  for model in $MODELS; do
    for precision in $PRECISIONS; do
      file=layers-$model-$precision-n$BATCH.csv
      for ((i = 1; i <= ROUNDS; i++)); do
        part "layers $model $precision, round $i" "$file" round $i \
          bench layers --backend cuda --precision $precision --model $model --batch "$BATCH" --budget "$BUDGET" --filter "$FILTER"
        [ -z "$peer" ] || part "PyTorch layers $model $precision, round $i" "$file" round $i peer_layers $model $precision
      done
    done
  done
fi

if wants steps; then
  [ -n "$peer" ] || skip "PyTorch steps" "$without_peer"
  for model in $MODELS; do
    for precision in $PRECISIONS; do
      file=steps-$model-$precision-n$BATCH.csv
      for ((i = 1; i <= ROUNDS; i++)); do
        step=(bench step --backend cuda --precision $precision --model $model --batch "$BATCH" --rounds "$SAMPLES" --inner "$INNER")
        # One process per rule: six ResNet-50 models at once do not fit on any card.
        for rule in $RULES; do
          part "step $rule $model $precision, round $i" "$file" round $i "${step[@]}" --rule $rule
        done
        for mode in eager compile graph; do
          [ -z "$peer" ] || part "PyTorch step $mode $model $precision, round $i" "$file" round $i \
            $peer step --model $model --batch "$BATCH" --mode $mode --dtype "$(dtype $precision)" --device "$PEER_DEVICE" $PEER_OPTIONS
        done
      done
    done
  done
fi

if wants mirror; then
  for model in $MODELS; do
    part "mirror $model" "mirror-$model-n$BATCH.csv" \
      bench mirror --backend cuda --precision bf16 --model $model --batch "$BATCH" --budget "$BUDGET" --filter "$FILTER"
  done
fi

if wants training; then
  [ ! -d "$data/cifar-10-batches-bin" ] || data=$data/cifar-10-batches-bin
  if [ -z "$data" ]; then
    skip "training" "needs --data with the CIFAR-10 folder"
  else
    for precision in $PRECISIONS; do
      part "training $TRAIN_MODEL $precision, every rule" "training-$precision.log" \
        feedback compare --backend cuda --precision $precision --rules "$TRAIN_RULES" --model "$TRAIN_MODEL" --data "cifar10:$data" \
        $TRAIN_OPTIONS --out "$folder/training-$precision"
    done
    # Delete the models: they are larger than all results together.
    find "$folder" -name model.safetensors -delete
  fi
fi

for file in "$folder"/layers-*.csv "$folder"/steps-*.csv; do
  [ ! -e "$file" ] || { echo; echo "## $(basename "$file" .csv)"; echo; awk -f "$kit/compare.awk" "$file"; } >> "$folder/results.md"
done
[ -s "$folder/errors.log" ] || rm -f "$folder/errors.log"
echo "$failures parts failed" | tee -a "$summary"
[ "$failures" = 0 ]
