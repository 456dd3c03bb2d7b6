"""What all tests share: PyTorch on one thread, for several of them wait for each other on small networks."""

import os

import torch

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the programs that tests start
