"""Prints the AdamW trajectory that `optimizer.rs` expects (PyTorch, float64)."""

import torch

parameters = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.AdamW([parameters], lr=0.1, weight_decay=0.01)
for gradient in [(0.5, -0.25), (0.1, 0.3), (-0.2, 0.0)]:
    parameters.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()
    print(parameters.tolist())
