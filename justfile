# What continuous integration runs, in parts.

default: check

# Format, lints and docs
check:
    bash .ci/run format lint docs

lint:
    bash .ci/run lint

doc:
    bash .ci/run docs

test:
    cargo test --workspace

# One command from nothing to a trained model
quickstart:
    cargo run --release -- train

# The networks against their references, with the deviations printed
golden:
    cargo test --release -p pyrograph-model --test golden -- --nocapture

# The same steps on three backends
backends:
    bash .ci/run wgpu

# The operations under valgrind
valgrind:
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='valgrind -q --error-exitcode=9' cargo test -p pyrograph-model --lib -- ops:: loss:: --test-threads 1

deny:
    cargo deny check

ci:
    bash .ci/run
