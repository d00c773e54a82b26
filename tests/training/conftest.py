"""One thread: trainings are compared bit by bit, and the tests share the machine."""

import torch

torch.set_num_threads(1)
