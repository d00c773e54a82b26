"""The layouts that we know: tables of a code base's names of tensors and ours, read both ways.

A template names a family of keys: `layers.{s}.blocks.{b}.` is every key that begins so, `{2s+1}` is an odd number that
stands for s. A template that ends with `$` is one whole key. The names that wrappers of modules put into keys are taken
out before, wherever they stand.

Sources: keys of the official checkpoints (Mask2Former on detectron2, PRO-SCALE), and of
`transformers.Mask2FormerForUniversalSegmentation` with Swin and ResNet backbones.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from proscale_bench.errors import BenchError

_FIELD = re.compile(r"\{(\d*)([a-z])([+-]\d+)?\}")
# Of torch.compile, activation checkpointing, FSDP (old and new), Lightning's strategies, and DataParallel.
_WRAPPER = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|_fpw_module|_forward_module|module)\."
)


@dataclass(frozen=True)
class Template:
    """A family of keys with numbers in them."""

    text: str

    @cached_property
    def _fields(self) -> list[tuple[int, str, int]]:
        """(factor, letter, offset) of each number."""
        return [(int(factor or 1), letter, int(offset or 0)) for factor, letter, offset in _FIELD.findall(self.text)]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        literal = _FIELD.split(self.text.removesuffix("$"))[::4]  # what stands between the fields
        end = "$" if self.text.endswith("$") else ""
        return re.compile(r"(0|[1-9]\d{0,5})".join(map(re.escape, literal)) + end)

    def match(self, key: str) -> tuple[dict[str, int], str] | None:
        """The numbers in a key of this family and what follows them; None for other keys."""
        found = self._pattern.match(key)
        if not found:
            return None
        numbers: dict[str, int] = {}
        for value, (factor, letter, offset) in zip(map(int, found.groups()), self._fields, strict=True):
            number, rest = divmod(value - offset, factor)
            if rest or number < 0 or numbers.setdefault(letter, number) != number:
                return None
        return numbers, key[found.end() :]

    def fill(self, numbers: dict[str, int]) -> str:
        """The key with these numbers."""
        return _FIELD.sub(
            lambda field: str(int(field[1] or 1) * numbers[field[2]] + int(field[3] or 0)),
            self.text.removesuffix("$"),
        )


@dataclass(frozen=True)
class KeyRule:
    """A family of their keys and ours. `part` is the third of our rows that theirs is: query, key, value."""

    theirs: Template
    ours: Template
    part: int | None = None


def rule(theirs: str, ours: str, part: int | None = None) -> KeyRule:
    return KeyRule(Template(theirs), Template(ours), part)


@dataclass(frozen=True)
class KeyLayout:
    """The names that a code base gives the tensors of a Mask2Former.

    Args:
        name: name of the layout.
        anchors: keys of which every checkpoint has one; what stands before it is a wrapper's prefix.
        rules: the first that fits wins, in either direction.
        encoder: a pattern of the keys that are the encoder's, whether they have a place or not.
        older: (pattern, replacement): other spellings, brought to the table's.
        unused: a pattern of keys that matter to training alone.
    """

    name: str
    anchors: tuple[str, ...]
    rules: tuple[KeyRule, ...]
    encoder: str
    older: tuple[tuple[str, str], ...] = ()
    unused: str = r"(?!)"

    def current(self, key: str) -> str:
        """A key in the table's spelling."""
        for pattern, replacement in self.older:
            key = re.sub(pattern, replacement, key)
        return key

    def to_ours(self, key: str) -> tuple[str, int | None] | None:
        """Our key, and which third of it; None where we have no place."""
        for one in self.rules:
            if found := one.theirs.match(key):
                numbers, rest = found
                return one.ours.fill(numbers) + rest, one.part
        return None

    def to_theirs(self, key: str) -> list[str]:
        """The keys there of one of ours: one, or the three that ours joins; none where there is no such tensor."""
        parts: list[str] = []
        for one in self.rules:
            if found := one.ours.match(key):
                numbers, rest = found
                theirs = one.theirs.fill(numbers) + rest
                if one.part is None:
                    return parts or [theirs]
                parts.append(theirs)
        return parts

    def prefixes(self, keys: list[str]) -> list[str]:
        """The prefixes before the layout's keys in a file; empty if it is not of this layout."""
        for anchor in self.anchors:
            found = [key[: -len(anchor)] for key in keys if key.endswith(anchor)]
            if found := [prefix for prefix in found if not prefix or prefix.endswith(".")]:
                return found
        return []

    def is_unused(self, key: str) -> bool:
        return re.match(self.unused, key) is not None


EXTRA = "extra."  # in our own files: what the model has no use for and a conversion gives back

# Encoders of other families have names of their own, and a file of ours says which it holds.
NOT_STAGED = re.compile(
    r"encoder\.(?!projections\.|level_embedding$|layers\.\d+\.|recalibration\.score\."
    r"|mask_features\.|lateral\.|pixel_embedding\.)"
)

OURS = KeyLayout(
    "ours",
    anchors=("encoder.mask_features.weight", "decoder.query_features"),
    rules=tuple(rule(part, part) for part in ("backbone.", "encoder.", "decoder.")),
    encoder=r"encoder\.",
    unused=EXTRA.replace(".", r"\."),
)

_PIXEL, _PREDICTOR = "sem_seg_head.pixel_decoder", "sem_seg_head.predictor"
_CROSS, _SELF = f"{_PREDICTOR}.transformer_cross_attention_layers", f"{_PREDICTOR}.transformer_self_attention_layers"

OFFICIAL = KeyLayout(
    "official",
    anchors=tuple(f"{head}.mask_features.weight" for head in (_PIXEL, "sem_seg_head", "pixel_decoder")),
    rules=(
        rule("backbone.stem.conv1.norm.", "backbone.bn1."),
        rule("backbone.stem.conv1.", "backbone.conv1."),
        rule("backbone.res{n+1}.{b}.conv{c}.norm.", "backbone.layer{n}.{b}.bn{c}."),
        rule("backbone.res{n+1}.{b}.shortcut.norm.", "backbone.layer{n}.{b}.downsample.1."),
        rule("backbone.res{n+1}.{b}.shortcut.", "backbone.layer{n}.{b}.downsample.0."),
        rule("backbone.res{n+1}.{b}.", "backbone.layer{n}.{b}."),
        rule("backbone.patch_embed.proj.", "backbone.features.0.0."),
        rule("backbone.patch_embed.norm.", "backbone.features.0.2."),
        rule("backbone.layers.{s}.blocks.{b}.mlp.fc{f}.", "backbone.features.{2s+1}.{b}.mlp.{3f-3}."),
        rule("backbone.layers.{s}.blocks.{b}.", "backbone.features.{2s+1}.{b}."),
        rule("backbone.layers.{s}.downsample.", "backbone.features.{2s+2}."),
        rule("backbone.norm{s}.", "backbone.norms.{s}."),
        rule(f"{_PIXEL}.input_proj.", "encoder.projections."),
        rule(f"{_PIXEL}.transformer.level_embed$", "encoder.level_embedding$"),
        rule(f"{_PIXEL}.transformer.encoder.layers.{{i}}.self_attn.", "encoder.layers.{i}.attention."),
        rule(f"{_PIXEL}.transformer.encoder.layers.{{i}}.", "encoder.layers.{i}."),
        rule(f"{_PIXEL}.transformer.encoder.token_excite.ops.", "encoder.recalibration.score."),
        rule(f"{_PIXEL}.transformer.encoder.gt.head.", "encoder.gate."),  # ECO-M2F
        rule(f"{_PIXEL}.mask_features.", "encoder.mask_features."),
        rule(f"{_PIXEL}.adapter_1.norm.", "encoder.lateral.1."),
        rule(f"{_PIXEL}.adapter_1.", "encoder.lateral.0."),
        rule(f"{_PIXEL}.layer_1.norm.", "encoder.pixel_embedding.1."),
        rule(f"{_PIXEL}.layer_1.", "encoder.pixel_embedding.0."),
        rule(f"{_CROSS}.{{i}}.multihead_attn.", "decoder.layers.{i}.cross_attention."),
        rule(f"{_CROSS}.{{i}}.norm.", "decoder.layers.{i}.cross_norm."),
        rule(f"{_SELF}.{{i}}.self_attn.", "decoder.layers.{i}.self_attention."),
        rule(f"{_SELF}.{{i}}.norm.", "decoder.layers.{i}.self_norm."),
        rule(f"{_PREDICTOR}.transformer_ffn_layers.{{i}}.norm.", "decoder.layers.{i}.ffn_norm."),
        rule(f"{_PREDICTOR}.transformer_ffn_layers.{{i}}.", "decoder.layers.{i}."),
        rule(f"{_PREDICTOR}.decoder_norm.", "decoder.norm."),
        rule(f"{_PREDICTOR}.query_feat.weight$", "decoder.query_features$"),
        rule(f"{_PREDICTOR}.query_embed.weight$", "decoder.query_positions$"),
        rule(f"{_PREDICTOR}.level_embed.weight$", "decoder.level_embedding$"),
        rule(f"{_PREDICTOR}.class_embed.", "decoder.class_head."),
        rule(f"{_PREDICTOR}.mask_embed.layers.{{i}}.", "decoder.mask_head.{2i}."),
    ),
    encoder=r"(sem_seg_head\.)?pixel_decoder\.|sem_seg_head\.(transformer|input_proj|mask_features|adapter_1|layer_1)\.",
    older=(
        (r"^(?=(pixel_decoder|predictor)\.)", "sem_seg_head."),  # a head alone
        (r"^sem_seg_head\.(?!(pixel_decoder|predictor)\.)", f"{_PIXEL}."),  # of Mask2Former's first version
        (rf"^{_PREDICTOR}\.static_query\.", f"{_PREDICTOR}.query_feat."),
    ),
    unused=r"criterion\.|.*\.num_batches_tracked$|.*\.attn_mask$|n_averaged$",
)

_LEVEL, _TRANSFORMER = "model.pixel_level_module", "model.transformer_module"
_SWIN, _RESNET = f"{_LEVEL}.encoder.encoder.layers.{{s}}", f"{_LEVEL}.encoder.encoder.stages.{{s}}.layers.{{b}}"
_TOKEN, _QUERY = f"{_LEVEL}.decoder.encoder.layers.{{i}}", f"{_TRANSFORMER}.decoder.layers.{{i}}"


def _thirds(theirs: str, names: tuple[str, str, str], ours: str) -> tuple[KeyRule, ...]:
    """Query, key and value, which we join."""
    return tuple(rule(f"{theirs}.{name}.", ours, part) for part, name in enumerate(names))


HUGGING_FACE = KeyLayout(
    "huggingface",
    anchors=(f"{_LEVEL}.decoder.mask_projection.weight",),
    rules=(
        rule(f"{_LEVEL}.encoder.embedder.embedder.convolution.", "backbone.conv1."),
        rule(f"{_LEVEL}.encoder.embedder.embedder.normalization.", "backbone.bn1."),
        rule(f"{_RESNET}.layer.{{c}}.convolution.", "backbone.layer{s+1}.{b}.conv{c+1}."),
        rule(f"{_RESNET}.layer.{{c}}.normalization.", "backbone.layer{s+1}.{b}.bn{c+1}."),
        rule(f"{_RESNET}.shortcut.convolution.", "backbone.layer{s+1}.{b}.downsample.0."),
        rule(f"{_RESNET}.shortcut.normalization.", "backbone.layer{s+1}.{b}.downsample.1."),
        rule(f"{_LEVEL}.encoder.embeddings.patch_embeddings.projection.", "backbone.features.0.0."),
        rule(f"{_LEVEL}.encoder.embeddings.norm.", "backbone.features.0.2."),
        *_thirds(
            f"{_SWIN}.blocks.{{b}}.attention.self", ("query", "key", "value"), "backbone.features.{2s+1}.{b}.attn.qkv."
        ),
        rule(
            f"{_SWIN}.blocks.{{b}}.attention.self.relative_position_",
            "backbone.features.{2s+1}.{b}.attn.relative_position_",
        ),
        rule(f"{_SWIN}.blocks.{{b}}.attention.output.dense.", "backbone.features.{2s+1}.{b}.attn.proj."),
        rule(f"{_SWIN}.blocks.{{b}}.layernorm_before.", "backbone.features.{2s+1}.{b}.norm1."),
        rule(f"{_SWIN}.blocks.{{b}}.layernorm_after.", "backbone.features.{2s+1}.{b}.norm2."),
        rule(f"{_SWIN}.blocks.{{b}}.intermediate.dense.", "backbone.features.{2s+1}.{b}.mlp.0."),
        rule(f"{_SWIN}.blocks.{{b}}.output.dense.", "backbone.features.{2s+1}.{b}.mlp.3."),
        rule(f"{_SWIN}.downsample.", "backbone.features.{2s+2}."),
        rule(f"{_LEVEL}.encoder.hidden_states_norms.stage{{s+1}}.", "backbone.norms.{s}."),
        rule(f"{_LEVEL}.decoder.input_projections.", "encoder.projections."),
        rule(f"{_LEVEL}.decoder.level_embed$", "encoder.level_embedding$"),
        rule(f"{_TOKEN}.self_attn.", "encoder.layers.{i}.attention."),
        rule(f"{_TOKEN}.self_attn_layer_norm.", "encoder.layers.{i}.norm1."),
        rule(f"{_TOKEN}.fc{{f}}.", "encoder.layers.{i}.linear{f}."),
        rule(f"{_TOKEN}.final_layer_norm.", "encoder.layers.{i}.norm2."),
        rule(f"{_LEVEL}.decoder.mask_projection.", "encoder.mask_features."),
        rule(f"{_LEVEL}.decoder.adapter_1.", "encoder.lateral."),
        rule(f"{_LEVEL}.decoder.layer_1.", "encoder.pixel_embedding."),
        rule(f"{_QUERY}.cross_attn.", "decoder.layers.{i}.cross_attention."),
        rule(f"{_QUERY}.cross_attn_layer_norm.", "decoder.layers.{i}.cross_norm."),
        *_thirds(f"{_QUERY}.self_attn", ("q_proj", "k_proj", "v_proj"), "decoder.layers.{i}.self_attention.in_proj_"),
        rule(f"{_QUERY}.self_attn.", "decoder.layers.{i}.self_attention."),
        rule(f"{_QUERY}.self_attn_layer_norm.", "decoder.layers.{i}.self_norm."),
        rule(f"{_QUERY}.fc{{f}}.", "decoder.layers.{i}.linear{f}."),
        rule(f"{_QUERY}.final_layer_norm.", "decoder.layers.{i}.ffn_norm."),
        rule(f"{_TRANSFORMER}.decoder.layernorm.", "decoder.norm."),
        rule(f"{_TRANSFORMER}.queries_features.weight$", "decoder.query_features$"),
        rule(f"{_TRANSFORMER}.queries_embedder.weight$", "decoder.query_positions$"),
        rule(f"{_TRANSFORMER}.level_embed.weight$", "decoder.level_embedding$"),
        rule(f"{_TRANSFORMER}.decoder.mask_predictor.mask_embedder.{{i}}.0.", "decoder.mask_head.{2i}."),
        rule("class_predictor.", "decoder.class_head."),
    ),
    encoder=rf"{_LEVEL}\.decoder\.",
    older=(  # Swin as transformers 5 has it in memory; its files keep the names above
        (rf"^({_LEVEL}\.encoder)\.swin\.(?=embeddings|encoder)", r"\1."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.q_proj\.", r"\1.self.query."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.k_proj\.", r"\1.self.key."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.v_proj\.", r"\1.self.value."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.o_proj\.", r"\1.output.dense."),
        (rf"^({_LEVEL}\.encoder\..*\.attention)\.relative_position_bias\.", r"\1.self."),
        (rf"^({_LEVEL}\.encoder\..*)\.mlp\.fc1\.", r"\1.intermediate.dense."),
        (rf"^({_LEVEL}\.encoder\..*)\.mlp\.fc2\.", r"\1.output.dense."),
    ),
    unused=rf"criterion\.|.*\.num_batches_tracked$|{_LEVEL}\.encoder\.(swin\.)?layernorm\.",
)

LAYOUTS = {layout.name: layout for layout in (OURS, OFFICIAL, HUGGING_FACE)}


def recognise(keys: list[str]) -> tuple[KeyLayout, str]:
    """The layout of a file's keys, and a wrapper's prefix that its keys have: `module.`, `model.`, ...

    Where two sets of weights lie in one file, the averaged one is meant.

    Args:
        keys: without the names of wrappers.

    Raises:
        BenchError: none that we know, or several models that nothing chooses between.
    """
    for layout in LAYOUTS.values():
        if prefixes := sorted(set(layout.prefixes(keys)), key=lambda prefix: ("ema" not in prefix, len(prefix))):
            first, *others = prefixes
            if others and first not in ("", "model.") and "ema" not in first:
                raise BenchError(
                    f"several models in it, under {', '.join(sorted(prefixes))}", "save the one that is meant by itself"
                )
            return layout, first
    raise BenchError(
        f"no Mask2Former in it: {len(keys)} tensors, the first is {min(keys, default='none')[:200]}",
        "known layouts: official (detectron2), Hugging Face, and our own",
    )


@dataclass(frozen=True)
class KeyMap:
    """The places of a file's keys.

    Args:
        layout: layout of the keys.
        prefix: what stands before them, as the file spells it.
        sources: the file's keys of each of ours: one, or three that it joins.
        unused, unexpected: the file's keys that matter to training alone, and those that we do not know.
    """

    layout: KeyLayout
    prefix: str
    sources: dict[str, tuple[str, ...]]
    unused: list[str]
    unexpected: list[str]

    def bare(self, key: str) -> str:
        """A key of the file as its layout has it."""
        return unwrapped(key).removeprefix(unwrapped(self.prefix))

    def strays_of_encoder(self) -> list[str]:
        """The file's keys that are the encoder's and that we do not know."""
        return [key for key in self.unexpected if re.match(self.layout.encoder, self.bare(key))]


def unwrapped(key: str) -> str:
    """A key without the names that wrappers have put into it."""
    return _WRAPPER.sub("", key)


def map_keys(keys: list[str]) -> KeyMap:
    """Find every key's place.

    Raises:
        BenchError: a layout that we do not know.
    """
    layout, prefix = recognise([unwrapped(key) for key in keys])
    spelt = (key.removesuffix(anchor) for key in keys for anchor in layout.anchors if key.endswith(anchor))
    prefixes = (before for before in spelt if unwrapped(before) == prefix)
    found = KeyMap(layout, next(prefixes, prefix), {}, [], [])
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    for key in keys:
        bare = layout.current(found.bare(key))
        place = layout.to_ours(bare) if unwrapped(key).startswith(prefix) else None
        if place is None:
            (found.unused if layout.is_unused(bare) else found.unexpected).append(key)
            continue
        ours, part = place
        if part is not None and part not in parts[ours]:
            parts[ours][part] = key
        elif ours in found.sources or part is not None:  # a second spelling of the same tensor
            found.unexpected.append(key)
        elif layout.is_unused(bare):
            found.unused.append(key)
        else:
            found.sources[ours] = (key,)
    for ours, thirds in parts.items():
        if len(thirds) < 3 or ours in found.sources:
            found.unexpected.extend(thirds.values())
        else:
            found.sources[ours] = (thirds[0], thirds[1], thirds[2])
    return found


def shapes_under_our_keys(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors under our keys, as `translate` would find them.

    Raises:
        BenchError: a layout that we do not know, or an encoder that has tensors without a place.
    """
    found = {}
    keys = map_keys(list(shapes))
    if strays := keys.strays_of_encoder():
        raise BenchError(f"{strays[0]} has no place in the encoder")
    for key, sources in keys.sources.items():
        first, *others = (shapes[source] for source in sources)
        found[key] = (first[0] + sum(shape[0] for shape in others), *first[1:]) if others else first
    return found
