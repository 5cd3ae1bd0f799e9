#!/usr/bin/env bash
# h5py 3.16.0 (HDF5 2.0.0): in a file with a user block, a dataset that was never written seems to lie at a place.
#
# DatasetID.get_offset() is None for a contiguous dataset without storage. In a file with a user block of n bytes it is
# n - 1: the address that stands for "undefined" (-1), moved by the user block as every address is. Who reads the values
# at that place reads other bytes of the file. get_storage_size() is 0 in both files, so tui-params asks for that first.
#
# Seen: 0 None 0 / 512 511 0 / 2048 2047 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet h5py==3.16.0 numpy==2.2.6
cd "$folder"
seen=$("$folder/venv/bin/python" - <<'PYTHON'
import h5py

found = []
for block in (0, 512, 2048):
    with h5py.File("x.h5", "w", userblock_size=block) as file:
        file.create_dataset("never written", (5,), "f4")
    with h5py.File("x.h5") as file:
        dataset = file["never written"].id
        found.append(f"{block} {dataset.get_offset()} {dataset.get_storage_size()}")
print(" / ".join(found))
PYTHON
)
echo "$seen"
[[ $seen == "0 None 0 / 512 511 0 / 2048 2047 0" ]] || { echo "changed"; exit 1; }
