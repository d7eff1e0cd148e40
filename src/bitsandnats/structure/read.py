"""Structure of any module: transformers by their data flow, plain modules by their linear maps."""

from typing import Any

from torch import nn

from bitsandnats.structure.dataflow import Dataflow, trace
from bitsandnats.structure.heads import Attention, find_heads
from bitsandnats.structure.parts import is_transposed, linear_maps, weight_of
from bitsandnats.structure.types import Layer, Matrix, Role, Structure


def read_structure(module: nn.Module) -> Structure:
    """Layers, heads, matrices and embeddings of a module, which is not changed.

    Of a transformer that has a `config` and takes `input_ids`, the layers are its blocks, `config.num_hidden_layers` of
    them, and heads are found by what attention does (see `heads.find_heads`), not by names; where that does not
    come out there are none. Of any other module each linear map is a layer, in the order of definition.
    Checked by `tests/structure/test_read.py`.
    """
    maps = linear_maps(module)
    blocks = _blocks(module, maps)
    if blocks is None:
        layers = tuple(Layer(i, name, _parameters(module, name)) for i, name in enumerate(maps))
        return Structure(layers, (), *_matrices(module, maps, layers, {}))
    flow = trace(module)
    count: Any = getattr(module.config, "num_attention_heads", None)
    if flow is None or not isinstance(count, int) or count < 1:
        return Structure(blocks, (), *_matrices(module, maps, blocks, {}))
    heads, attentions = find_heads(flow, blocks, count, maps)
    own = {name for name, _ in module.named_parameters()}
    heads = [h for h in heads if own >= {h.query.name, h.key.name, h.value.name, h.output.name}]  # shared layers: once
    return Structure(blocks, tuple(heads), *_matrices(module, maps, blocks, _roles(flow, attentions)))


def _blocks(module: nn.Module, maps: dict[str, nn.Module]) -> tuple[Layer, ...] | None:
    """The list of as many blocks as `config.num_hidden_layers`, all with linear maps in them."""
    count: Any = getattr(getattr(module, "config", None), "num_hidden_layers", None)
    for name, part in module.named_modules():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            names = [f"{name}.{i}" if name else str(i) for i in range(count)]
            if all(any(m.startswith(f"{block}.") for m in maps) for block in names):
                return tuple(Layer(i, block, _parameters(module, block)) for i, block in enumerate(names))
    return None


def _parameters(module: nn.Module, name: str) -> tuple[str, ...]:
    """Names of the parameters in a submodule, those tied to an earlier one left out."""
    return tuple(p for p, _ in module.named_parameters() if p.startswith(f"{name}." if name else ""))


def _roles(flow: Dataflow, attentions: list[Attention]) -> dict[str, Role]:
    """What each linear map does, by submodule, as far as it is known."""
    roles: dict[str, Role] = {flow.calls[i].name: "unembedding" for i in flow.result if flow.calls[i].kind == "linear"}
    for attention in attentions:
        if attention.query == attention.value:
            roles[attention.value] = "query_key_value"
        else:
            roles |= {attention.query: "query", attention.key: "key", attention.value: "value"}
        roles[attention.output] = "attention_output"
    return roles


def _matrices(
    module: nn.Module, maps: dict[str, nn.Module], layers: tuple[Layer, ...], roles: dict[str, Role]
) -> tuple[tuple[Matrix, ...], tuple[Matrix, ...]]:
    """Weights of the linear maps, and embeddings; each tensor once, under its first name."""
    names: dict[int, list[str]] = {}
    for name, p in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(p), []).append(name)
    homes = {parameter: layer.index for layer in layers for parameter in layer.parameters}
    attending = {homes.get(f"{name}.weight") for name, role in roles.items() if role == "attention_output"}
    tables = {name: part for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    matrices, embeddings, seen = [], [], set()
    for name, part in {**tables, **maps}.items():
        weight = weight_of(part)
        if id(weight) in seen or id(weight) not in names:  # tied, or no parameter
            continue
        seen.add(id(weight))
        first, *aliases = names[id(weight)]
        layer, turned = homes.get(first), name in maps and is_transposed(part)
        rows, columns = reversed(weight.shape) if turned else weight.shape
        role: Role = "embedding" if name in tables else roles.get(name, "linear")
        if role == "linear" and layer is not None and layer in attending:
            role = "mlp"
        (embeddings if name in tables else matrices).append(
            Matrix(first, rows, columns, turned, layer, role, tuple(aliases))
        )
    return tuple(matrices), tuple(embeddings)
