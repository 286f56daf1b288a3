"""The kernels for the GPU, in Triton, which is imported when `host` or `kernels` are."""
