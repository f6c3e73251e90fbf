#!/usr/bin/env bash
# One training step and one evaluation on another device than the CPU, compared with the CPU's.
#
#     tools/device_smoke.sh wgpu       any Vulkan driver; Mesa's lavapipe runs it on the CPU
#     tools/device_smoke.sh vulkan     the same with shaders in SPIR-V; old drivers crash on them
#     tools/device_smoke.sh cuda       needs an NVIDIA driver and NVRTC
#     tools/device_smoke.sh metal      macOS
#
# Builds with the device's feature (some 25 minutes on one core the first time). Where the machine has no such
# device it says SKIPPED and why, and ends with 0; it never passes without having run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=${1:-}
skip() {
    echo "SKIPPED: $1"
    exit 0
}
case $device in
vulkan | wgpu)
    command -v vulkaninfo >/dev/null ||
        skip "no vulkaninfo; install vulkan-tools and a driver (mesa-vulkan-drivers has lavapipe)"
    # Without a driver it fails; that is no device, not the end of this script.
    name=$(vulkaninfo --summary 2>/dev/null | sed -n 's/.*deviceName *= *//p' | head -n 1) || true
    [[ -n $name ]] || skip "no Vulkan device; mesa-vulkan-drivers has one in software (lavapipe)"
    ;;
cuda)
    command -v nvidia-smi >/dev/null || skip "no nvidia-smi: no NVIDIA driver on this machine"
    name=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1) || true
    [[ -n $name ]] || skip "nvidia-smi finds no GPU"
    ;;
metal)
    [[ $(uname) == Darwin ]] || skip "Metal is macOS's; this is $(uname)"
    name=Metal
    ;;
*)
    echo "usage: $0 wgpu|vulkan|cuda|metal" >&2
    exit 2
    ;;
esac
echo "device: $name"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
ORACLE_RLAIF_DEVICE=$device cargo test --package oracle-rlaif --features "$device" --test it -- \
    --nocapture device:: 2>&1 | tee "$log"
grep -qE '^test result: ok\. [1-9][0-9]* passed' "$log" || {
    echo "error: no test of the device ran" >&2
    exit 1
}
