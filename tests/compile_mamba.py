"""Registers of the Mamba layer's kernels on GPUs that need not be there.

Each line has compute capability, kernel, bytes of registers that did not fit,
and registers, as the assembler in Triton's wheel prints them.
"""

import re
import subprocess
import tempfile
from pathlib import Path

import triton
from polsess.models.mamba import triton as ours
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

CAPABILITIES = (80, 90, 120)
NUMBERS = {"batch", "length", "tokens", "channels", "n_states", "rank", "slot"}
CONVOLUTION = {"WIDTH": 4, **ours.CONVOLUTION}
KERNELS = {
    ours.convolve: CONVOLUTION,
    ours.convolve_backward: CONVOLUTION,
    ours.convolve_input_backward: CONVOLUTION,
    ours.scan: ours.SCAN,
    ours.scan_backward: ours.SCAN,
}


def compile_kernel(kernel, constants, capability):
    """Compile to PTX."""
    types = {
        name: "i32" if name in NUMBERS else "*fp32" for name in kernel.arg_names
    }
    types |= {name: "constexpr" for name in types if name in constants}
    values = {
        (i,): constants[name]
        for i, name in enumerate(types)
        if name in constants
    }
    return triton.compile(
        ASTSource(fn=kernel, signature=types, constexprs=values),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": constants["num_warps"]},
    ).asm["ptx"]


def assemble(ptx, capability):
    """Assemble, and read bytes spilled and registers from the report."""
    folder = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    ptxas = folder / ("ptxas-blackwell" if capability >= 100 else "ptxas")
    name = f"sm_{capability}" + ("a" if capability >= 90 else "")
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        report = subprocess.run(
            [ptxas, "-v", f"--gpu-name={name}", file.name, "-o", "/dev/null"],
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        ).stderr
    patterns = r"(\d+) bytes spill stores", r"Used (\d+) registers"
    return [re.search(pattern, report)[1] for pattern in patterns]


if __name__ == "__main__":
    for capability in CAPABILITIES:
        for kernel, constants in KERNELS.items():
            ptx = compile_kernel(kernel, constants, capability)
            print(capability, kernel.__name__, *assemble(ptx, capability))
