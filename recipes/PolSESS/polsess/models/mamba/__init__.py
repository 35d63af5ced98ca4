"""The Mamba layer: mamba-ssm's kernels on a GPU, our own on the CPU."""
