"""A model of `transformers` from its configuration alone: random weights, nothing downloaded, no remote code."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proscale_bench.bench.loader import LoadedModel, faults_of, random_images, source_digest
from proscale_bench.errors import BenchError, did_you_mean
from proscale_bench.files import read_regular_file
from proscale_bench.results.registry import convention_note
from proscale_bench.units import Size

if TYPE_CHECKING:
    from torch import nn

    from proscale_bench.measure.any_model import Inputs

MAX_BYTES = 4 << 20  # of a configuration
INSTALL = 'python -m pip install "proscale-bench[hf]"'
# Where a configuration does not name its class: the first of these tasks that transformers has one for.
TASKS = (
    *("_for_universal_segmentation", "_for_instance_segmentation", "_for_object_detection"),
    *("_for_semantic_segmentation", "_for_depth_estimation", "_for_mask_generation", "_for_image_classification", ""),
)


def load_configuration(path: Path, changes: dict[str, Any]) -> LoadedModel:
    """Read a configuration and find its class.

    Args:
        path: a `config.json`, or a folder with one.
        changes: keys of the configuration that have another value, dotted where they are nested; a name that is a
            buffer of the model instead fills that buffer.

    Raises:
        BenchError: transformers is not installed, or the configuration is not one of its own.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when it is imported
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers
        from transformers import CONFIG_MAPPING
    except ImportError as error:
        raise BenchError("hf: needs transformers, which is not installed", INSTALL) from error

    file = path / "config.json" if path.is_dir() else path
    document = _read(file)
    kind = document.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        message = f"{file}: model_type {kind!r} is none of transformers {transformers.__version__}"
        raise BenchError(message, did_you_mean(str(kind), list(CONFIG_MAPPING), "remote code is never executed"))
    buffers = {}
    with faults_of(str(file)):
        document = _without_downloads(document)
        config_class = CONFIG_MAPPING[kind]
        known = set(config_class(**{}).to_dict()) | set(document) | {"_attn_implementation"}
        for key, value in changes.items():
            if key.partition(".")[0] in known:
                _set(document, key, value)
            else:
                buffers[key] = value
        attention = document.pop("_attn_implementation", None)
        config = config_class.from_dict(document)
        if attention is not None:
            config._attn_implementation = attention
    model_class = _class_of(config, document, file)

    def build() -> nn.Module:
        model: nn.Module = model_class(config).eval()
        for name, value in buffers.items():
            _fill(model, name, value, file)
        return model

    notes = [f"{model_class.__name__} of transformers {transformers.__version__}, random weights"]
    if kind.startswith("eomt") and buffers.get("attn_mask_probs") != 0:
        notes.append(
            "its masks are kept on in eval, and each is predicted: released models run without, "
            "which is --model-args attn_mask_probs=0"
        )
    if told := convention_note(kind):
        notes.append(told)
    side = getattr(config, "image_size", None) or getattr(getattr(config, "vision_config", None), "image_size", None)
    digest = source_digest(json.dumps([document, transformers.__version__], sort_keys=True, default=str).encode())
    return LoadedModel(digest, build, _inputs, _sides(side), tuple(notes), ("network",))


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_regular_file(file, MAX_BYTES).decode("utf-8"))
    except ValueError as error:
        raise BenchError(f"{file}: not JSON: {error}", "give a config.json, or a folder with one") from error
    if not isinstance(document, dict):
        raise BenchError(f"{file}: not a configuration", "give a config.json, or a folder with one")
    return document


def _without_downloads(document: dict[str, Any]) -> dict[str, Any]:
    """The configuration with no pretrained backbone asked for, at any depth, and no code of somebody else's."""
    found = {key: _without_downloads(one) if isinstance(one, dict) else one for key, one in document.items()}
    found.pop("auto_map", None)
    for key in ("use_pretrained_backbone", "pretrained"):
        if key in found:
            found[key] = False
    return found


def _set(document: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for name in above:
        document = document.setdefault(name, {})
    document[last] = value


def _class_of(config: Any, document: dict[str, Any], file: Path) -> Any:
    """The class that a configuration names, else the one that transformers has for it."""
    import transformers
    from transformers.models.auto import modeling_auto

    names = document.get("architectures") or []
    for name in names:
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    mappings = [f"MODEL{task.upper()}_MAPPING" for task in TASKS]
    for mapping in (getattr(modeling_auto, name, {}) for name in mappings):
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise BenchError(f"{file}: transformers has no model {' or '.join(map(str, names)) or type(config).__name__}")


def _fill(model: nn.Module, name: str, value: Any, file: Path) -> None:
    import torch

    buffers = dict(model.named_buffers())
    if name not in buffers or not isinstance(value, (int, float)):
        hint = did_you_mean(name, list(buffers), "keys of the configuration, or names of the model's buffers")
        raise BenchError(f"--model-args {name}={value}: {file} has no such key or buffer", hint)
    above, _, last = name.rpartition(".")
    # A value that the model asks for stays known where other tensors have none.
    filled = torch.full(buffers[name].shape, value, dtype=buffers[name].dtype, device="cpu")
    model.get_submodule(above).register_buffer(last, filled)


def _sides(side: Any) -> Size | None:
    if isinstance(side, int):
        return side, side
    if isinstance(side, (list, tuple)) and len(side) == 2 and all(isinstance(one, int) for one in side):
        return int(side[0]), int(side[1])
    return None


def _inputs(model: nn.Module, sides: Size, batch_size: int) -> Inputs:
    """Images under the name that the model has for them, and what else it cannot run without.

    Raises:
        BenchError: it needs what nobody could guess.
    """
    import torch

    from proscale_bench.measure.any_model import Inputs

    config: Any = model.config
    named = getattr(model, "main_input_name", "pixel_values")
    main = named if isinstance(named, str) else named[0]  # OneFormer's is a list
    made: dict[str, Any] = {main: random_images(batch_size, getattr(config, "num_channels", None) or 3, *sides)}
    needed = [
        name
        for name, one in inspect.signature(model.forward).parameters.items()
        if one.default is inspect.Parameter.empty and one.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    for name in needed:
        if name == "task_inputs":
            made[name] = torch.zeros(batch_size, config.task_seq_len, dtype=torch.int64)
        elif name not in made:
            hint = "make it with --inputs my_file.py:make_inputs"
            raise BenchError(f"{type(model).__name__} takes {', '.join(needed)}: nobody says what '{name}' is", hint)
    if main != "pixel_values":
        hint = "make it with --inputs my_file.py:make_inputs"
        raise BenchError(f"{type(model).__name__} takes {main} and no images", hint)
    return Inputs((), made)
