"""Prints the trajectories that `optimizer.rs` expects (PyTorch, float64): AdamW, SGD with momentum, DP-AdamBC."""

import torch

GRADIENTS = [(0.5, -0.25), (0.1, 0.3), (-0.2, 0.0)]
START = [1.0, -2.0]
RATE, DECAY, BETA1, BETA2 = 0.1, 0.01, 0.9, 0.999


def torch_trajectory(make):
    parameters = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([parameters])
    for gradient in GRADIENTS:
        parameters.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        yield parameters.tolist()


class DecoupledSgd(torch.optim.SGD):
    """torch's SGD with AdamW's decoupled weight decay."""

    def step(self):
        (parameters,) = self.param_groups[0]["params"]
        decay = RATE * DECAY * parameters.detach().clone()
        super().step()
        with torch.no_grad():
            parameters -= decay


def adam_bc(noise=0.2, floor=0.25):
    """Algorithm 1 of arXiv 2312.14334, with decoupled weight decay; the floor is in units of the noise's variance."""
    phi = noise**2
    theta = torch.tensor(START, dtype=torch.float64)
    m, v = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for t, gradient in enumerate(GRADIENTS, start=1):
        g = torch.tensor(gradient, dtype=torch.float64)
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g**2
        m_hat, v_hat = m / (1 - BETA1**t), v / (1 - BETA2**t)
        direction = m_hat / torch.sqrt(torch.clamp(v_hat - phi, min=floor * phi))
        theta = theta - RATE * (direction + DECAY * theta)
        yield theta.tolist()


print("AdamW", *torch_trajectory(lambda p: torch.optim.AdamW(p, lr=RATE, weight_decay=DECAY)), sep="\n")
print("SGD", *torch_trajectory(lambda p: DecoupledSgd(p, lr=RATE, momentum=BETA1)), sep="\n")
print("DP-AdamBC", *adam_bc(), sep="\n")
