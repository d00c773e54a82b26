"""One thread: the goldens were made with one, and the tests share the machine."""

import torch

torch.set_num_threads(1)
