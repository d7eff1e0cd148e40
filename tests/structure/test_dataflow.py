import pytest
import torch
from torch import nn

from bitsandnats.structure.dataflow import trace


class Config:
    vocab_size = 7


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = Config()
        self.embed, self.norm = nn.Embedding(7, 4), nn.LayerNorm(4)
        self.first, self.gate, self.second = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 4)
        self.out = nn.Linear(4, 7)

    def forward(self, input_ids, use_cache=False):
        x = self.embed(input_ids)
        y = self.norm(x).view(-1, 4)
        h = self.first(y)
        h *= torch.sigmoid(self.gate(y))
        return {"logits": self.out(x + self.second(h).view_as(x)), "hidden": (h, None)}


def test_calls_and_sources():
    flow = trace(Model())
    seen = [(c.name, c.kind, sorted(c.sources), c.verbatim) for c in flow.calls]
    assert seen == [
        ("norm", "norm", [], None),
        ("first", "linear", [0], 0),
        ("gate", "linear", [0], 0),
        ("second", "linear", [1, 2], None),
        ("out", "linear", [3], None),
    ]
    assert sorted(flow.result) == [1, 2, 4]


@pytest.mark.parametrize("module", [nn.Linear(3, 3), nn.Sequential()])
def test_no_model_of_tokens(module):
    assert trace(module) is None


def test_a_module_that_wants_other_inputs():
    module = nn.Linear(3, 3)
    module.config = Config()
    assert trace(module) is None


def test_buffers_are_not_written():
    class Counting(Model):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, input_ids, use_cache=False):
            self.calls += 1
            return super().forward(input_ids, use_cache)

    model = Counting()
    assert len(trace(model).calls) == 5
    assert model.calls == 0
