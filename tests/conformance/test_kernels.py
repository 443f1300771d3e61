from late_rerank.maxsim import NumpyKernel, kernel
from late_rerank.testing import KernelTests


class TestNumpyKernel(KernelTests):
    def make_kernel(self):
        return NumpyKernel()


class TestTorchKernel(KernelTests):
    def make_kernel(self):
        return kernel("torch", "cpu")
