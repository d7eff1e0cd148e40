"""A loss of one's own on sequences of different lengths: dictionaries as batches, and padding that counts nothing.

python examples/your_own_loss.py
"""

import torch
from torch import nn

import bitsandnats as bn

# Sequences x, x+s, x+2s … modulo 11, of 6 to 12 tokens, padded with zeros to 12.
random = torch.Generator().manual_seed(0)
start, stride = torch.randint(11, (2, 300, 1), generator=random)
length = torch.randint(6, 13, (300, 1), generator=random)
position = torch.arange(12)
valid = (position < length).float()
data = {"tokens": (start + stride * position) % 11 * valid.long(), "valid": valid}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(11, 12), nn.Linear(24, 32), nn.Linear(32, 11)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        e = self.embed(tokens)
        return self.out(torch.tanh(self.hidden(torch.cat([e[:, :-1], e[:, 1:]], dim=-1))))


def loss(model, batch):
    """−log p(x_{t+1} | x_{t−1}, x_t) in nats, one number a sample and token: never reduced, never averaged."""
    logits = model(batch["tokens"])[:, :-1]
    return nn.functional.cross_entropy(logits.transpose(1, 2), batch["tokens"][:, 2:], reduction="none")


def weight(batch):
    return batch["valid"][:, 2:]  # 1 where a token is predicted, 0 on padding; the losses' shape


torch.manual_seed(0)
model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(400):
    optimizer.zero_grad()
    ((loss(model, data) * weight(data)).sum() / weight(data).sum()).backward()
    optimizer.step()

task = bn.Task.from_module(model.eval(), loss, data, weight=weight)
print(f"unit {task.unit}: n = {task.n:.0f} tokens in {len(task.data)} items, padding not counted")

settings = bn.calibrate(task, given={"gamma": 100.0, "chains": 2, "draws": 100, "burn_in": 60})
estimate = bn.estimate_llc(task, settings=settings)
print(estimate)
print(bn.critical_point(bn.compressors.quantize(), task, tolerance=0.1))

# What stands in the padding must not matter: other tokens there, the same number.
other = {**data, "tokens": torch.where(valid > 0, data["tokens"], 7)}
again = bn.estimate_llc(bn.Task.from_module(model, loss, other, weight=weight), settings=settings)
assert abs(again.llc - estimate.llc) < 1e-3 * abs(estimate.llc)
