#!/usr/bin/env bash
# Times one training step of oracle-rlaif and one of TRL on the same workload, alternately, on this
# machine. Prints a table; every single run is kept in `results.jsonl` beside this script.
#
#     benches/peers/run.sh
#
#   PROMPTS   prompt lengths in tokens (default "256 1024")
#   ROUNDS    how often each pair is measured (default 3)
#   STEPS     timed steps of each run after one for warm-up, at least 5 (default 5)
#   THREADS   threads on both sides (default 2)
#   PYTHON    interpreter for the virtual environment (default python3; 3.11 was used)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
prompts=${PROMPTS:-256 1024}
rounds=${ROUNDS:-3}
steps=${STEPS:-5}
threads=${THREADS:-2}
group=5
new=32
results=$here/results.jsonl

if ((steps < 5)); then
    echo "error: STEPS must be at least 5, got $steps" >&2
    exit 2
fi

venv=$here/.venv
if ! "$venv/bin/python" -c 'import trl' 2>/dev/null; then
    echo "making $venv (a download of some gigabytes)" >&2
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet -r "$here/requirements.txt"
fi

(cd "$root" && cargo build --release --locked -p oracle-rlaif)
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac
binary=$target/release/oracle-rlaif

export RAYON_NUM_THREADS=$threads OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads
: >"$results"

keep() { # PROGRAM PROMPT: labels the JSON object on stdin and appends it
    "$venv/bin/python" -c '
import json, sys
program, prompt = sys.argv[1], int(sys.argv[2])
record = json.loads(sys.stdin.read().splitlines()[-1])
if record["prompt"] != prompt:
    sys.exit(f"error: {program} measured prompt {record} instead of {prompt}")
print(json.dumps({"program": program, **record}))
seconds = record["step_seconds"]
print(f"{program}, prompt {prompt}: {seconds:.2f} s a step", file=sys.stderr)
' "$1" "$2" >>"$results"
}

for ((round = 1; round <= rounds; round++)); do
    for prompt in $prompts; do
        echo "round $round of $rounds, prompt $prompt" >&2
        "$binary" --quiet bench step --prompt "$prompt" --group $group --new $new \
            --steps "$steps" --json | keep oracle-rlaif "$prompt"
        "$venv/bin/python" -W ignore "$here/trl_grpo_step.py" --prompt "$prompt" --group $group \
            --new $new --steps $((steps + 1)) --threads "$threads" --json |
            keep trl "$prompt"
    done
done

"$venv/bin/python" - "$results" <<'PY'
import json
import platform
import statistics
import sys

with open(sys.argv[1]) as file:
    runs = [json.loads(line) for line in file]
seconds = {}
for run in runs:
    seconds.setdefault((run["prompt"], run["program"]), []).append(run["step_seconds"])

first = next(run for run in runs if run["program"] == "trl")
versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
print(f"\n{platform.machine()}, {first['threads']} threads, f32, G = {first['group']}, "
      f"{first['new']} new tokens; {versions}")
print("median seconds of a whole step (lowest to highest run)\n")
print(f"{'prompt':>6}  {'oracle-rlaif':>24}  {'TRL':>24}  {'ratio':>6}")
for prompt in sorted({prompt for prompt, _ in seconds}):
    cells, medians = [], []
    for program in ("oracle-rlaif", "trl"):
        values = seconds[prompt, program]
        medians.append(statistics.median(values))
        cells.append(f"{medians[-1]:.2f} ({min(values):.2f} to {max(values):.2f})")
    print(f"{prompt:>6}  {cells[0]:>24}  {cells[1]:>24}  {medians[1] / medians[0]:>5.1f}x")
PY
