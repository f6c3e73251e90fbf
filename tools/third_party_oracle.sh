#!/usr/bin/env bash
# A short training run whose Oracle is a checkpoint of this project behind somebody else's server:
# `transformers serve`, on the loopback, through its OpenAI-compatible endpoint.
#
#     tools/third_party_oracle.sh PROGRAM SCRATCH [JUDGE]
#
#     PROGRAM   an oracle-rlaif binary, for instance target/release/oracle-rlaif
#     SCRATCH   a folder for the virtual environment, the checkpoints, the runs and the logs. What a former
#               call made there is used again, but for the runs
#     JUDGE     a checkpoint folder to serve instead of the one that is made here. It says `A` or `B` to
#               the prompt of tools/third_party/pairwise.j2
#
# Needs Python 3.11 or later ($PYTHON, else python3) and a package index; no model hub. From nothing it takes
# some ten minutes on two cores and 6 GB of disk, nearly all of it for torch. The steps:
#
#     1  the server's packages (tools/third_party/requirements.txt)
#     2  a policy and, from it, a judge of pairs, both trained here on ClipWorld
#     3  `transformers serve` in front of the judge, which must judge known pairs well enough (probe.py)
#     4  `oracle-rlaif train` with that server as its Oracle
#     5  the same run again from the start, on the ledger of the first
#     6  what must hold of both: no group without a verdict, every reply in the ledger, nothing asked twice,
#        not one request in the second run, the same weights at the end of both (check_run.py)
set -euo pipefail

usage() {
    sed -n 's/^# \{0,1\}//; 2,/^The steps:/p' "${BASH_SOURCE[0]}" | sed '/^Needs/,$d' >&2
    exit 2
}
[[ $# -eq 2 || $# -eq 3 ]] || usage
[[ -x $1 ]] || { echo "error: $1 is no program; build it with cargo build --release -p oracle-rlaif" >&2; exit 2; }
program=$(realpath "$1")
mkdir -p "$2"
scratch=$(realpath "$2")
if [[ $# -eq 3 ]]; then
    [[ -f $3/config.json ]] || { echo "error: $3 holds no config.json" >&2; exit 2; }
    judge=$(realpath "$3")
else
    judge=$scratch/judge
fi
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")/third_party")
# In a value of --set these would end the string, or the table.
for path in "$scratch" "$judge" "$here"; do
    [[ $path != *[\"\\]* ]] || { echo "error: $path holds a quote or a backslash" >&2; exit 2; }
done

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

step "packages"
system_python=${PYTHON:-python3}
"$system_python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "error: $system_python is older than 3.11; name another one in PYTHON" >&2; exit 2; }
python=$scratch/venv/bin/python
if ! cmp -s "$here/requirements.txt" "$scratch/venv/installed.txt"; then
    "$system_python" -m venv --clear "$scratch/venv"
    "$python" -m pip install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$scratch/venv/installed.txt"
fi
"$python" -m pip list 2>/dev/null | grep -E '^(torch|transformers|fastapi|uvicorn) '

# Whole or not there, so that a call that was stopped is not taken for one that ended.
sft() { # NAME RECIPE ARGUMENT...
    local name=$1 recipe=$2
    shift 2
    rm -rf "$scratch/$name.part"
    "$program" sft --quiet --recipe "$here/$recipe" --out "$scratch/$name.part" "$@" >"$scratch/$name.log"
    mv "$scratch/$name.part" "$scratch/$name"
}
if [[ ! -d $scratch/see ]]; then
    step "a policy: supervised fine-tuning from random weights"
    sft see see.toml
fi
if [[ ! -d $judge ]]; then
    step "a judge: supervised fine-tuning on pairs"
    "$python" "$here/judge_rows.py" "$program" "$scratch/judge.jsonl"
    sft judge judge.toml --set "model={path=\"$scratch/see\"}" \
        --set "data.train.path=\"$scratch/judge.jsonl\""
fi

# transformers' LLaVA knows no pooling: it would serve such a judge without a word, and badly.
"$python" - "$judge" <<'PYTHON'
import json, sys
with open(sys.argv[1] + "/config.json") as file:
    pooling = json.load(file).get("video_pooling", "none")
if pooling != "none":
    sys.exit(f"error: {sys.argv[1]}/config.json has video_pooling {pooling!r}, which transformers ignores: "
             "serve a checkpoint that was made with clip_world.pooling = false")
PYTHON

step "the server"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port
log=$scratch/server.log
env HF_HUB_OFFLINE=1 HF_HOME="$scratch/hf" "$scratch/venv/bin/transformers" serve "$judge" \
    --host 127.0.0.1 --port "$port" --device cpu >"$log" 2>&1 &
server=$!
stop() {
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 130' INT TERM
ready() { # The model is loaded before the server listens.
    "$python" - "$url" "$judge" <<'PYTHON' 2>/dev/null
import json, sys, urllib.request
with urllib.request.urlopen(sys.argv[1] + "/v1/models", timeout=5) as response:
    models = json.load(response)["data"]
sys.exit(not any(model["id"] == sys.argv[2] for model in models))
PYTHON
}
deadline=$((SECONDS + 300))
until ready; do
    if ! kill -0 "$server" 2>/dev/null || ((SECONDS > deadline)); then
        echo "error: the server did not come up; the end of $log:" >&2
        tail -n 30 "$log" >&2
        exit 1
    fi
    sleep 0.5
done
echo "transformers serve $judge at $url"

step "the judge on known pairs"
"$python" "$here/probe.py" "$program" "$url/v1" "$judge"

# Chats that the server took, by its own log.
chats() { grep -c '"POST /v1/chat/completions' "$log" || true; }
ledger=$scratch/ledger.sqlite
rm -rf "$scratch/first" "$scratch/second" "$ledger" "$ledger-wal" "$ledger-shm"
train() { # NAME
    "$program" train --quiet --recipe "$here/recipe.toml" --out "$scratch/$1" \
        --set "model={path=\"$scratch/see\"}" \
        --set "oracle.base_url=\"$url/v1\"" \
        --set "oracle.model=\"$judge\"" \
        --set "ranking.ledger=\"$ledger\""
}
before=$(chats)
step "a training run"
train first
between=$(chats)
step "the same run again"
train second

step "what must hold"
"$python" "$here/check_run.py" "$scratch/first" "$scratch/second" "$ledger" "$log" "$before" "$between"
step "done"
