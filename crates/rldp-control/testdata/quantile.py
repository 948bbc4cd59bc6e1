"""Prints the thresholds that `quantile.rs` expects, by Opacus 1.6's own update from a released count."""

import torch
from opacus.optimizers.adaclipoptimizer import AdaClipDPOptimizer

optimizer = AdaClipDPOptimizer.__new__(AdaClipDPOptimizer)
optimizer.target_unclipped_quantile = 0.5
optimizer.clipbound_learning_rate = 0.2
optimizer.max_clipbound, optimizer.min_clipbound = 1e9, 1e-9
optimizer.max_grad_norm = torch.tensor(1.0, dtype=torch.float64)
optimizer.sample_size = 200
for clipped in [1.0, 0.75, 0.5, 0.1, 0.0]:
    optimizer.unclipped_num = torch.tensor(200 * (1 - clipped), dtype=torch.float64)
    optimizer.update_max_grad_norm()
    print(clipped, float(optimizer.max_grad_norm))
