# What `check` runs. Continuous integration runs the same recipes.
checks := "lint format types contracts"

# List the recipes
default:
    @just --list

# Make the virtual environment with everything that development needs
setup:
    python3 -m venv .venv
    .venv/bin/pip install -e '.[dev]'

# Lint, look at the format, check types, and check who may import whom
check:
    @{{ just_executable() }} {{ checks }}

# Find likely mistakes
lint:
    .venv/bin/ruff check .

# Check that every file is formatted
format:
    .venv/bin/ruff format --check .

# Check the types of the package and of the tests
types:
    .venv/bin/mypy

# Check who may import whom
contracts:
    .venv/bin/lint-imports

# Run the tests, on all cores; arguments go to pytest: just test tests/core -k query
test *arguments:
    .venv/bin/pytest {{ arguments }}

# Feed readers, parsers and arithmetic with other random input, round after round (every failure prints its example)
fuzz rounds="20":
    for round in $(seq {{ rounds }}); do \
        .venv/bin/pytest --timeout 0 --hypothesis-seed="$round" -k "fuzz or damaged or truncated or raises or random" || exit 1; \
    done
    TUI_PARAMS_FUZZ_KEYS=5000 .venv/bin/pytest --timeout 0 tests/tui/screens/tensor/test_random_keys.py

# Compare so many damaged safetensors headers with what the real library says of them
fuzz-headers number="200000" seed="1":
    TUI_PARAMS_FUZZ_HEADERS={{ number }} TUI_PARAMS_FUZZ_SEED={{ seed }} \
        .venv/bin/pytest --timeout 0 -n0 -s tests/sources/safetensors/test_against_library.py -k fuzz

# Compare so many damaged files of each torch format, and bare pickles, with what torch and pickle say of them
fuzz-torch number="200000" seed="1":
    TUI_PARAMS_FUZZ_TORCH={{ number }} TUI_PARAMS_FUZZ_SEED={{ seed }} \
        .venv/bin/pytest --timeout 0 -n0 -s tests/sources/torch_save/test_against_library.py -k fuzz

# Damage so many copies of the metadata and of the pieces of a distributed checkpoint
fuzz-dcp number="20000":
    TUI_PARAMS_FUZZ_DCP={{ number }} .venv/bin/pytest --timeout 0 tests/sources/folder/dcp -k fuzz

# Damage so many folders of each layout of DeepSpeed, and of files by rank; deepspeed is asked if `formats` has installed it
fuzz-folders number="1000" seed="1":
    python=.venv/bin/python; test ! -x .venv-formats/bin/pytest || python=.venv-formats/bin/python; \
        TUI_PARAMS_FUZZ_FOLDERS={{ number }} TUI_PARAMS_FUZZ_SEED={{ seed }} $python -m pytest --timeout 0 -n0 -s \
        tests/sources/folder/deepspeed/test_fuzz.py tests/sources/folder/by_rank/test_by_rank.py -k fuzz

# Damage so many NPY, NPZ, GGUF and ONNX files, and a fiftieth of HDF5; their libraries are asked if `formats` has them
fuzz-far number="200000" seed="1":
    python=.venv/bin/python; test ! -x .venv-formats/bin/pytest || python=.venv-formats/bin/python; \
        TUI_PARAMS_FUZZ_FAR={{ number }} TUI_PARAMS_FUZZ_SEED={{ seed }} $python -m pytest --timeout 0 -n0 -s -m formats \
        -rfs tests/formats/test_far_against_library.py

# Compare with what real libraries write; those that install are put into an environment of their own, which takes minutes
formats *arguments:
    test -x .venv-formats/bin/pytest || { python3 -m venv .venv-formats && \
        .venv-formats/bin/pip install -e '.[dev]' transformers accelerate peft diffusers sentence-transformers \
        stable-baselines3 deepspeed gguf onnx onnxruntime onnx_ir joblib lightning pytorch_lightning \
        bitsandbytes compressed-tensors torchao optimum-quanto hqq keras lz4 'mlx[cpu]'; }
    .venv-formats/bin/pytest --timeout 0 -n0 -m formats -rfs tests/formats {{ arguments }}
    .venv-formats/bin/pytest --timeout 0 -n0 -rfs tests/integrations
    TUI_PARAMS_FORMATS=1 .venv-formats/bin/pytest --timeout 0 -n0 -rfs tests/sources/folder/dcp/test_ranks.py \
        tests/sources/folder/by_rank

# Open the pages of `report` in Chromium (which must be installed), and compare their figures with those of the commands
browser *arguments:
    .venv/bin/pytest -n0 -m browser tests/reports {{ arguments }}

# Start jobs of several ranks by torchrun: versions and files that differ, ranks that die or stop, two nodes
ranks *arguments:
    .venv/bin/pytest -n0 -m ranks tests/ranks {{ arguments }}

# Look at models on a GPU: what is copied from there, and that training goes on as if nobody looked
gpu *arguments:
    .venv/bin/pytest -n0 -m gpu -rs tests/live/inside/test_on_cuda.py {{ arguments }}

# Draw the picture of a report, with Chromium
report-picture:
    .venv/bin/python -m tests.reports.picture screenshots/report.png

# Accept what the screens look like now (look at the differences first: snapshot_report.html)
snapshots:
    .venv/bin/pytest -n0 tests/tui --snapshot-update

# Draw the pictures of the README from the scenes that are tested
screenshots:
    .venv/bin/python -m tests.scenes screenshots/

# Measure the promises about speed and memory; arguments: --only start
bench *arguments:
    .venv/bin/python -m tests.bench {{ arguments }}

# Explore a made-up checkpoint with faults to find
demo:
    .venv/bin/tui-params demo

# Everything that continuous integration runs, in a clean copy of HEAD
ci:
    bash .ci/run
