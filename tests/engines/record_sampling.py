"""Records what exllamav2's own C++ sampler gives: `.venv/engines/bin/python
tests/engines/record_sampling.py`.

Compiles the host part of the extension from the wheel's sources (needs a C++ compiler; CUDA's headers are
left empty, nothing of that part is used) and writes sampling_recorded.json, which `test_sampling.py` reads
everywhere. To be run anew when the version of exllamav2 moves.
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.cpp_extension import include_paths

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "scripted")]
SOURCES = (
    "ext_sampling.cpp",
    "cpp/sampling.cpp",
    "cpp/sampling_avx2.cpp",
    "cpp/profiling.cpp",
    "cpp/generator.cpp",
)
CUDA_HEADERS = ("c10/cuda/CUDAGuard.h", "ATen/cuda/CUDAContext.h", "cuda_runtime.h", "cuda_fp16.h")
BINDINGS = """
#include <torch/extension.h>
#include "ext_sampling.h"
PYBIND11_MODULE(host_ext, m) {
  m.def("apply_rep_penalty", &apply_rep_penalty);
  m.def("sample_basic", &sample_basic);
  m.def("partial_strings_match", &partial_strings_match);
}
"""
VOCABULARY = 96
MATCHES = [
    ("calm sea", ["sea"]), ("calm sea", ["seagull"]), ("calm sea", ["lamp", "a"]), ("calm s", ["old", "sea"]),
    ("aab", ["ab"]), ("aaa", ["aab"]), ("日本", ["本日", "夜"]), ("", ["a"]), ("x", ["xyz", "x"]), ("no",
    ["night"]),
]  # fmt: skip


def compiled(folder: Path) -> Any:
    """The host functions of the extension as a module."""
    spec = importlib.util.find_spec("exllamav2")
    assert spec is not None and spec.submodule_search_locations
    sources = Path(spec.submodule_search_locations[0]) / "exllamav2_ext"
    for name in CUDA_HEADERS:
        header = folder / "empty" / name
        header.parent.mkdir(parents=True, exist_ok=True)
        header.touch()
    (folder / "bindings.cpp").write_text(BINDINGS)
    libraries = Path(torch.__file__).parent / "lib"
    built = folder / "host_ext.so"
    subprocess.run(
        [
            *("c++", "-O2", "-std=c++20", "-shared", "-fPIC", "-w", "-DTORCH_EXTENSION_NAME=host_ext"),
            *(f"-I{path}" for path in (folder / "empty", sources, *include_paths())),
            f"-I{sysconfig.get_paths()['include']}",
            *(str(sources / name) for name in SOURCES),
            str(folder / "bindings.cpp"),
            *(
                f"-L{libraries}",
                f"-Wl,-rpath,{libraries}",
                "-ltorch",
                "-ltorch_cpu",
                "-lc10",
                "-ltorch_python",
            ),
            *("-o", str(built)),
        ],
        check=True,
    )
    found = importlib.util.spec_from_file_location("host_ext", built)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def cases() -> list[dict[str, Any]]:
    """Settings one by one and together, each with several numbers to draw at."""
    settings: list[dict[str, Any]] = [
        {},
        *({"temperature": one} for one in (0.0, 0.3, 1.7)),
        *({"top_k": one} for one in (1, 2, 7, 50)),
        *({"top_p": one} for one in (0.1, 0.5, 0.95)),
        *({"min_p": one} for one in (0.02, 0.3, 0.9)),
        {"allowed": [3, 5, 8, 13, 90]},
        {"allowed": [7], "top": 3},
        *({"top": one} for one in (1, 5, 20)),
        {"top": 8, "top_k": 4},
        {"temperature": 0.6, "top_k": 20, "top_p": 0.8, "min_p": 0.05, "top": 5},
        {"temperature": 1.3, "top_k": 0, "top_p": 0.9, "min_p": 0.1, "top": 10},
        {"penalties": [1.3, 0.0, 0.0], "top": 5},
        {"penalties": [1.0, 0.7, 0.0], "top": 5},
        {"penalties": [1.0, 0.0, 1.5], "top": 5},
        {"penalties": [1.2, 0.4, 0.6], "temperature": 0.8, "top_p": 0.9, "top": 5},
    ]
    numbers = random.Random(7)
    return [
        {"name": f"{number}-{seed}"} | one | {"random": numbers.random(), "seed": seed}
        for number, one in enumerate(settings)
        for seed in range(4)
    ]


def main() -> None:
    """Writes the file, one line a case."""
    with tempfile.TemporaryDirectory() as folder:
        ext = compiled(Path(folder))
        (HERE / "sampling_recorded.json").write_text(
            f'{{"vocabulary": {VOCABULARY}, "cases": [], "matches": []}}'
        )
        from test_sampling import drawn, matched

        lines = [json.dumps(case | {"gives": drawn(ext, case)}) for case in cases()]
        matches = [
            json.dumps(
                {"text": text, "strings": strings, "gives": matched(ext, text, strings)}, ensure_ascii=False
            )
            for text, strings in MATCHES
        ]
    head = f'{{"exllamav2": "{version("exllamav2")}", "vocabulary": {VOCABULARY},\n"cases": [\n'
    text = head + ",\n".join(lines) + '\n],\n"matches": [\n' + ",\n".join(matches) + "\n]}\n"
    (HERE / "sampling_recorded.json").write_text(text)
    print(f"{len(lines)} draws and {len(matches)} matches recorded")


if __name__ == "__main__":
    main()
