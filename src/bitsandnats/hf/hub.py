"""Models of the Hugging Face hub: in the local cache, or fetched into it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bitsandnats.errors import ModelError, message
from bitsandnats.hf._quiet import first_line
from bitsandnats.hf.names import HubName, near, some

_BESIDE = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "tokenizer.model", "vocab.json", "merges.txt",
)  # fmt: skip
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def cached(name: HubName) -> Path | None:
    """The folder of a revision in the local cache, None where it or part of it is missing. Asks no network."""
    from huggingface_hub import try_to_load_from_cache

    sign = name.file or "config.json"
    found = try_to_load_from_cache(name.model, sign, revision=name.at)
    if not isinstance(found, str) or not Path(found).is_file():
        return None
    folder = Path(found).parents[sign.count("/")]
    return folder if name.file is not None or _has_weights(folder) else None


def cached_revisions(model: str) -> list[str]:
    """Branches and tags of a model that the local cache holds."""
    refs = repository(model) / "refs"
    return sorted(p.relative_to(refs).as_posix() for p in refs.rglob("*") if p.is_file())


def repository(model: str) -> Path:
    """Where the local cache keeps a model, there or not."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"


def offline() -> bool:
    """Whether the hub must not be asked (`HF_HUB_OFFLINE`)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def revisions(model: str) -> tuple[list[str], bool]:
    """Branches and tags of a model, and whether the hub was asked: where it must not be, those in the local cache.

    Raises:
        ModelError: there is no such model, it may not be read, or there is no network.
    """
    if not offline():
        from huggingface_hub import HfApi

        try:
            refs = HfApi().list_repo_refs(model)
            return sorted({ref.name for ref in (*refs.branches, *refs.tags)}), True
        except Exception as error:
            # Not what is cached in its place: a study of fewer checkpoints than were asked for must be a choice.
            raise _refused(HubName(model), error) from None
    if not cached_revisions(model):
        raise _not_there(HubName(model))
    return cached_revisions(model), False


def commit(name: HubName) -> tuple[str, list[str]]:
    """The commit that a revision stands for now, and the files in it, as the hub says.

    Raises:
        ModelError: no such model or revision, one that may not be read, or no network.
    """
    if offline():
        raise _not_there(name)
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(name.model, revision=name.at)
    except Exception as error:
        raise _refused(name, error) from None
    return str(info.sha), [file.rfilename for file in info.siblings or ()]


def fetch(name: HubName, files: Sequence[str]) -> Path:
    """Fetches a model with its tokenizer into the local cache; its folder there.

    Args:
        name: the model.
        files: what the revision holds, as `commit` says.

    Raises:
        ModelError: it holds no model, or may not be read, or the network failed.
    """
    wanted = [name.file] if name.file is not None else _wanted(files)
    if not set(wanted) <= set(files) or not wanted:
        kind = name.file or "a model (config.json, and model.safetensors or pytorch_model.bin)"
        others = [f for f in files if f.endswith(".gguf")]
        do = f"name one of its GGUF files, {name.model}/{others[0]}" if others else "name another model"
        raise ModelError(message(expected=f"{kind} in {name}", got=f"only {some(sorted(files))}", do=do))
    from huggingface_hub import snapshot_download
    from tqdm import tqdm

    bar: Any = partial(tqdm, disable=True)
    bar.get_lock = tqdm.get_lock
    try:
        return Path(snapshot_download(name.model, revision=name.at, allow_patterns=wanted, tqdm_class=bar))
    except Exception as error:
        raise _refused(name, error) from None


def _wanted(files: Sequence[str]) -> list[str]:
    """Configuration, tokenizer and one form of the weights, safetensors first."""
    here = [name for name in _BESIDE if name in files]
    for stem, suffix in (("model", ".safetensors"), ("pytorch_model", ".bin")):
        if f"{stem}{suffix}" in files:
            return [*here, f"{stem}{suffix}"]
        if f"{stem}{suffix}.index.json" in files:
            shards = [f for f in files if f.startswith(f"{stem}-") and f.endswith(suffix)]
            return [*here, f"{stem}{suffix}.index.json", *shards]
    return []


def _has_weights(folder: Path) -> bool:
    """Whether all weights are there: a fetch that was cut off leaves a folder without some."""
    import json

    for name in _WEIGHTS:
        file = folder / name
        if not file.is_file():
            continue
        if not name.endswith(".json"):
            return True
        try:
            shards = set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError):
            return True  # damaged, not missing: said when it is read
        return all((folder / shard).is_file() for shard in shards)
    return False


def _not_there(
    name: HubName,
    reason: str = "no network is to be used (HF_HUB_OFFLINE)",
    do: str = "connect once, or give a folder",
) -> ModelError:
    """Not in the cache, and the hub cannot be asked."""
    there = cached_revisions(name.model)
    hint = ""
    if there and name.at not in there:
        hint = f"; of {name.model} it holds {some(near(name.at, there) or there)}"
    elif not there:
        close = near(name.model, _cached_models())
        hint = f"; it holds {some(close)}" if close else ""
    partly = there and name.at in there
    return ModelError(
        message(
            expected=f"{name} in the local cache of Hugging Face",
            got=f"{'only a part of it' if partly else 'nothing of it'}, and {reason}{hint}",
            do=do,
        )
    )


def _refused(name: HubName, error: Exception) -> ModelError:
    """What the hub's answer means, with near matches."""
    from huggingface_hub import errors

    if isinstance(error, ModelError):
        return error
    if isinstance(error, errors.GatedRepoError):
        expected = f"a model that this account may read, for {name}"
        do = f"accept its terms at https://huggingface.co/{name.model} and set HF_TOKEN, or run 'hf auth login'"
        return ModelError(message(expected=expected, got="a gated one", do=do))
    if isinstance(error, errors.RevisionNotFoundError):
        there = _quietly(lambda: revisions(name.model)[0])
        close = near(name.at, there) or there
        got = f"no revision {name.at}" + (f"; near it: {some(close)}" if close else "")
        return ModelError(message(expected=f"a revision of {name.model}", got=got, do="check its spelling"))
    if isinstance(error, errors.RepositoryNotFoundError):
        close = near(name.model, [*_quietly(partial(_search, name.model)), *_cached_models()])
        got = f"no {name.model} (or a private one)" + (f"; near it: {some(close)}" if close else "")
        expected = "the name of a model on the Hugging Face hub, or a folder"
        return ModelError(message(expected=expected, got=got, do="check its spelling, or set HF_TOKEN"))
    do = "connect, or set HF_HUB_OFFLINE=1 to use what is cached" if cached_revisions(name.model) else "connect once"
    return _not_there(name, f"the hub cannot be reached ({first_line(error)})", do)


def _search(model: str) -> list[str]:
    """Models on the hub whose names have something of this one's."""
    from huggingface_hub import HfApi

    org, _, last = model.rpartition("/")
    words = [last, last.rpartition("-")[0]]
    found = [m.id for word in words if word for m in HfApi().list_models(search=word, limit=20)]
    return found or ([m.id for m in HfApi().list_models(author=org, limit=50)] if org else [])


def _quietly(ask: Any) -> list[str]:
    """The answer, or nothing: a hint that fails must not hide the error it belongs to."""
    try:
        return list(ask())
    except Exception:
        return []


def _cached_models() -> list[str]:
    found = repository("x").parent.glob("models--*/refs")
    return sorted(p.parent.name.removeprefix("models--").replace("--", "/") for p in found)
