#!/usr/bin/env bash
# The invariants of ARCHITECTURE.md that no compiler checks. Builds nothing; takes seconds.
#
#     tools/check_invariants.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failures=0
fail() {
    echo "FAILED: $1" >&2
    failures=$((failures + 1))
}

# The crates in the order of the data flow.
flow="rlaif-data rlaif-rank rlaif-video rlaif-world rlaif-ops rlaif-model rlaif-rollout rlaif-oracle
      rlaif-annotate rlaif-objective rlaif-train rlaif-eval oracle-rlaif"

# All packages that each needs to be built; tests may look further.
declare -A needs
for crate in $flow; do
    needs[$crate]=$(cargo tree --locked --package "$crate" --edges normal,build --prefix none \
        --format '{p}' | cut -d ' ' -f 1 | sort -u)
done
need() { grep -qE "^$2\$" <<<"${needs[$1]}"; } # CRATE PATTERN

# 1. Rooms without tensors. `cargo tree -p rlaif-rank -i burn` asks the same, but fails alike where
# nothing is found and where a name is misspelt; so there is a crate that must have it.
need rlaif-model 'burn' || fail "rlaif-model should depend on burn: this check cannot see it"
for crate in rlaif-data rlaif-rank rlaif-video rlaif-world rlaif-oracle rlaif-annotate rlaif-eval; do
    if need "$crate" 'burn(-.*)?'; then fail "$crate depends on burn"; fi
done

# 2. Arrows point one way: a crate may need only those that stand before it.
before=" "
for crate in $flow; do
    for needed in $(grep -E '^(rlaif-|oracle-rlaif$)' <<<"${needs[$crate]}"); do
        [[ $needed == "$crate" || $before == *" $needed "* ]] ||
            fail "$crate depends on $needed, which comes after it in the flow"
    done
    before+="$crate "
done
for folder in crates/*/; do
    crate=$(basename "$folder")
    [[ $before == *" $crate "* ]] || fail "$crate has no place in the flow of $0"
done

# 3. What a room must not know, whichever way the arrow points.
must_not_need() { # CRATE OTHER...
    local crate=$1
    shift
    for other in "$@"; do
        if need "$crate" "$other"; then fail "$crate depends on $other"; fi
    done
}
must_not_need rlaif-rank rlaif-data rlaif-video rlaif-world
must_not_need rlaif-model rlaif-rank rlaif-video rlaif-world
must_not_need rlaif-rollout rlaif-rank rlaif-world
must_not_need rlaif-oracle rlaif-video rlaif-model rlaif-rollout
must_not_need rlaif-annotate rlaif-model rlaif-rollout
must_not_need rlaif-objective rlaif-data rlaif-rank rlaif-model
must_not_need rlaif-eval rlaif-train rlaif-model rlaif-rollout rlaif-oracle

# 4. No unsafe outside the module and the file that may: the compiler denies it where the lints are inherited
# and nobody lifts them.
for manifest in crates/*/Cargo.toml; do
    grep -A1 '^\[lints\]' "$manifest" | grep -q '^workspace = true' ||
        fail "$manifest does not inherit the workspace's lints"
done
grep -q '^unsafe_code = "deny"' Cargo.toml || fail "Cargo.toml does not deny unsafe code"
allowed='^crates/rlaif-ops/src/simd/|^crates/rlaif-model/src/hf/weights/map\.rs:'
while IFS= read -r line; do
    [[ $line =~ $allowed ]] || fail "unsafe code outside rlaif-ops' simd module and the mapping of weights: $line"
done < <(grep -rnE --include='*.rs' '\bunsafe_code\b|\bunsafe (\{|fn|impl|trait|extern)|#\[unsafe' crates || true)

# 5. Only the command line talks. Clippy denies printing elsewhere unless somebody lifts the lint;
# tests and examples may.
allowed='^crates/oracle-rlaif/|^crates/[a-z-]+/(examples|benches|tests)/|/tests(/.*)?\.rs:'
while IFS= read -r line; do
    [[ $line =~ $allowed ]] || fail "a library may print: $line"
done < <(find crates -name '*.rs' -exec awk '
    FNR == 1 { in_tests = 0 }
    /#\[cfg\(test\)\]/ { in_tests = 1 }
    !in_tests && /clippy::print_std(out|err)/ { print FILENAME ":" FNR ": " $0 }' {} +)

if ((failures > 0)); then
    echo "$failures invariants do not hold" >&2
    exit 1
fi
echo "invariants hold"
