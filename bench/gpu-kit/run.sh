#!/usr/bin/env bash
# Tests and measures FeedbackKernels on the GPU of this machine. Needs the NVIDIA driver; uses compute-sanitizer and PyTorch if they
# are installed. The first part, the list, answers within nine minutes what is most in doubt on a card that has not run the kernels
# yet, and stops at the first fault. Of the other parts one that fails does not stop those after it; the summary lists the failures.
#
#   ./run.sh [--data FOLDER] [--out FOLDER] [--parts "NAME ..."]
#
# --data    cifar-10-batches-bin, or the folder that contains it; without it, the list trains on drawn images, and the training part is
#           skipped
# --out     folder for the results; run.sh creates a folder named after card, driver and date in it. Default: ./results
# --parts   some of: list device tests sanitizer layers steps mirror training. Default: all
#
# Exit code: 0; 1 if a part failed; 2 for a wrong argument; 3 if the list found a fault.
#
# Variables that set the extent of the measurements:
LIST_SECONDS=${LIST_SECONDS:-540}             # for the whole list
LIST_BATCH=${LIST_BATCH:-8}                   # images where the list compares kernels
LIST_EPOCH=${LIST_EPOCH:---epochs 1 --batch 128 --lr 0.1}
# What the list compares first: strides of 2 with padding, whose boxes start outside of the map; then fewer channels than a box of the TMA
# has; then shapes with tiles of 256 columns.
LIST_STRIDED=${LIST_STRIDED:-2,14,14,64,128,3,3,2,1 3,9,7,64,64,3,3,2,1 8,56,56,128,128,3,3,2,1 2,28,28,256,512,3,3,2,1}
LIST_NARROW=${LIST_NARROW:-8,16,16,32,32,3,3,1,1 2,6,5,48,72,1,1,1,0 2,9,7,40,48,3,3,2,1}
LIST_WIDE=${LIST_WIDE:-11,56,56,512,256,1,1,1,0 11,56,56,64,256,3,3,1,1 11,56,56,256,64,3,3,1,1 11,56,56,256,512,1,1,1,0}
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
# Classes elsewhere that compute on the device. The test framework takes them in a run of their own.
OTHER_TESTS=${OTHER_TESTS:-Interop.CallerTests Interop.MemorySafetyTests Interop.Operations.OperationTests KnownAnswers.OperationAnswerTests KnownAnswers.RandomAnswerTests Models.ResizeTests Training.ResumeTests Training.UpdateNoiseTests}
SANITIZER_OPTIONS=${SANITIZER_OPTIONS:--class FeedbackKernels.Tests.Conformance.BatchNormTests -class FeedbackKernels.Tests.Conformance.PoolingTests -class FeedbackKernels.Tests.Cuda.TensorCoreTests}
PYTHON=${PYTHON:-python3}
PEER_DEVICE=${PEER_DEVICE:-cuda}              # cpu: to check the script without a GPU
PEER_OPTIONS=${PEER_OPTIONS:-}
set -u

kit=$(cd "$(dirname "$0")" && pwd)
data= out=$kit/results parts="list device tests sanitizer layers steps mirror training"
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

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | tail -n 1)
[ ! -d "$data/cifar-10-batches-bin" ] || data=$data/cifar-10-batches-bin

# What is left of the list's time.
left() { echo $((LIST_SECONDS - (SECONDS - list_start))); }

# Runs a command as an entry of the list, for as many seconds as it is given and the list has left. What it writes goes to a file and to
# the terminal at once. Kinds: of a `check` every failure is a fault, running out of time too (a kernel that hangs looks like that);
# a `measure` may run out of time; what a `peer` does is no fault of what is in use.
entry() {
  local kind=$1 limit=$2 name=$3 file=list-$4 start=$SECONDS status found
  shift 4
  # Cut short by the others, no entry says anything by not ending.
  [ "$limit" -le "$(left)" ] || { limit=$(left); kind=measure; }
  if [ "$limit" -le 0 ]; then
    skip "$name" "the list has had its $LIST_SECONDS s"
    unfinished=$((unfinished + 1))
    return
  fi
  echo "--- $name, at most $limit s: $*" | tee -a "$folder/$file"
  timeout --kill-after=5 "$limit" "$@" 2>&1 | tee -a "$folder/$file"
  status=${PIPESTATUS[0]}
  found=$(grep -oE 'Total: [0-9]+, Errors.*|[0-9]+ comparisons, .*|CUDA kernels loaded: .*' "$folder/$file" | tail -n 1)
  case $status:$kind in
    0:*) note ok "$name" "$((SECONDS - start)) s, $file${found:+: $found}" ;;
    124:measure | 137:measure)
      note "out of time" "$name" "$((SECONDS - start)) s, $file"
      unfinished=$((unfinished + 1)) ;;
    *:peer) note "FAILED ($status)" "$name" "$((SECONDS - start)) s, $file" ;;
    *)
      note "FAULT ($status)" "$name" "$((SECONDS - start)) s, $file${found:+: $found}"
      grep -E 'WRONG|^  [^ ].* is .* by .* and |\[FAIL\]|expected .*found|CUDA_ERROR|failed with' "$folder/$file" | head -n 12 | tee -a "$summary"
      explain "$folder/$file" "$@"
      echo "the list ends here: $name" | tee -a "$summary"
      exit 3 ;;
  esac
}

# Runs what has failed under compute-sanitizer, which names the kernel, thread and address of a wrong access: of tests those that failed,
# of a comparison the shape that did.
explain() {
  local log=$1 seconds wrong test tests=()
  shift
  seconds=$(left)
  if [ -z "$sanitizer" ]; then skip "compute-sanitizer" "it is not installed"; return; fi
  if [ "$seconds" -le 10 ]; then skip "compute-sanitizer" "the list has had its $LIST_SECONDS s"; return; fi
  wrong=$(awk -F, '$8 == "WRONG" { print $3; exit }' "$log")
  for test in $(sed -nE 's/^ *(FeedbackKernels\.[A-Za-z0-9_.]+)(\(.*)? \[FAIL\].*/\1/p' "$log" | sort -u | head -n 3); do tests+=(-method "$test"); done
  if [ ${#tests[@]} -gt 0 ]; then set -- "$kit/tests/FeedbackKernels.Tests" -noColor "${tests[@]}"
  elif [[ $wrong == [0-9]*x* ]]; then set -- bench check --precision bf16 --shape "${wrong//x/,}"
  elif [ -n "$wrong" ]; then
    if [ -n "$FILTER" ]; then set -- "${@:1:$#-2}"; fi
    set -- "$@" --filter "$wrong"
  fi
  echo "--- compute-sanitizer: $*" | tee -a "$folder/list-sanitizer.log"
  timeout --kill-after=5 "$seconds" "$sanitizer" --tool memcheck --error-exitcode 1 "$@" 2>&1 | tee -a "$folder/list-sanitizer.log"
  note "exit ${PIPESTATUS[0]}" "compute-sanitizer memcheck" "list-sanitizer.log"
}

# The words of the driver's compiler that cost speed and nothing else.
note_serialised() {
  local count
  count=$(grep -ic 'seriali[sz]' "$folder/list-jit.log" 2>/dev/null)
  [ "${count:-0}" = 0 ] || note "SLOW" "wgmma is serialised in $count kernels" "list-jit.log"
}

source_of() { if [ -n "$1" ]; then echo "cifar10:$1"; else echo synthetic; fi; }

shapes() { for shape in $1; do echo --shape "$shape"; done; }

run_list() {
  local tests=$kit/tests/FeedbackKernels.Tests class=FeedbackKernels.Tests.Cuda model
  local list_start=$SECONDS unfinished=0 info=(feedback info --backend cuda --precision bf16 --model resnet50 --load-kernels)
  # Where the driver takes no cubins, it compiles all PTX.
  entry check 90 "kernels: which are loaded, and how" kernels.txt "${info[@]}"
  entry measure 60 "kernels: what the driver's compiler says" compiled.txt \
    env FEEDBACK_CUDA_IMAGE=ptx CUDA_CACHE_DISABLE=1 FEEDBACK_CUDA_LOG="$folder/list-jit.log" "${info[@]}"
  note_serialised
  entry check 20 "compare: stride 2 with padding" strided.csv bench check --precision bf16 $(shapes "$LIST_STRIDED")
  # The other way, which no public example has: what a card says of it is worth knowing, and no fault.
  entry peer 15 "compare: stride 2 by element strides" traversal.csv bench check --precision bf16 --traversal-strides $(shapes "$LIST_STRIDED")
  entry check 15 "compare: boxes larger than the tensor" narrow.csv bench check --precision bf16 $(shapes "$LIST_NARROW")
  entry check 20 "compare: 256 columns" wide.csv bench check --precision bf16 $(shapes "$LIST_WIDE")
  entry check 45 "tests: Hopper" hopper.log "$tests" -noColor -class $class.HopperTests
  entry check 70 "tests: pipelines and few channels" pipelined.log "$tests" -noColor -class $class.FewChannelsTests -class $class.PipelinedTests
  for model in $MODELS; do
    entry check 45 "compare: every layer of $model, bf16" "compare-$model-bf16.csv" \
      bench check --precision bf16 --model "$model" --batch "$LIST_BATCH" ${FILTER:+--filter "$FILTER"}
  done
  model=${MODELS%% *}
  entry check 25 "compare: every layer of $model, fp32" "compare-$model-fp32.csv" \
    bench check --precision fp32 --model "$model" --batch "$LIST_BATCH" ${FILTER:+--filter "$FILTER"}
  model=${MODELS##* }
  entry measure 40 "speed: 3x3 of $model" layers.csv \
    bench layers --backend cuda --precision bf16 --model "$model" --batch "$BATCH" --budget "$BUDGET" --filter "${FILTER:-3x3}"
  entry measure 30 "step of $model as a graph" step-graph.csv bench step --backend cuda --precision bf16 --model "$model" --batch "$BATCH" --rounds "$SAMPLES" --inner "$INNER"
  entry measure 30 "step of $model, kernel by kernel" step-launches.csv \
    bench step --backend cuda --precision bf16 --model "$model" --batch "$BATCH" --rounds "$SAMPLES" --inner "$INNER" --no-cuda-graph
  entry measure 40 "an epoch under six rules" epoch.log feedback compare --backend cuda --precision bf16 --rules "$TRAIN_RULES" --model "$TRAIN_MODEL" \
    --data "$(source_of "$data")" $LIST_EPOCH --out "$folder/list-epoch"
  if [ -n "$peer" ]; then
    entry peer 30 "PyTorch's step of $model" step-torch.csv \
      $peer step --model "$model" --batch "$BATCH" --mode graph --dtype bfloat16 --device "$PEER_DEVICE" $PEER_OPTIONS
  else
    skip "PyTorch's step" "$without_peer"
  fi
  find "$folder/list-epoch" -name model.safetensors -delete 2>/dev/null
  echo "the list took $((SECONDS - list_start)) s and found no fault; $unfinished entries did not end in its time" | tee -a "$summary"
}

if wants list; then run_list; fi

if wants device; then part "device" device.txt describe; fi

if wants tests; then
  part "conformance tests" tests.log "$kit/tests/FeedbackKernels.Tests" -noColor $TEST_OPTIONS
  part "other tests on the device" tests-other.log "$kit/tests/FeedbackKernels.Tests" -noColor $(for class in $OTHER_TESTS; do echo -class "FeedbackKernels.Tests.$class"; done)
fi

if wants sanitizer; then
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
