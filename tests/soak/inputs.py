"""Good inputs, before they are damaged."""

from __future__ import annotations

from functools import cache

SCHEDULE = """\
schema_version: 1
name: mine
description: "a schedule"
encoder: proscale
stages:
  - {levels: [res5], layers: 3}
  - {levels: [res5, res4], layers: 2}
  - {levels: [res5, res4, res3], layers: 1}
recalibration: linear
recalibration_layout: official
recalibration_temperature: 0.1
pixel_embedding: maxpool
residual: false
"""
COMPACT = (
    "3,3,3",
    "baseline",
    "baseline:4",
    "5:3,54:3,543:3+conv",
    "2,1,0+trc:conv+spatial",
    "1,1,1+residual+temp:1.0",
)
BUDGETS = """\
# what we promised
schema_version: 1
defaults: {backbone: resnet50, size: 64x64, rules: fvcore}
budgets:
  - schedule: '3,3,3'   # the headline
    encoder_gflops: {max: 0.5}
    total_gflops:
      max: 100.25
      min: 0.1
    token_layers_gflops: {max_increase_pct: -36, against: baseline}
    params_m: {max: 40, level: warn}
  - schedule: mine.yaml
    backbone: tiny
    total_gflops: {max_increase_pct: 1, against: run, level: warn}
    latency_median_ms: {max: 40.0, size: 640x640, device: a CPU, dtype: fp32, batch_size: 1}
    pq: {min: 51.4, level: warn, published: true, dataset: COCO val2017}
"""
SWEEP = """\
schema_version: 1
name: mine
description: "a sweep"
backbones: [tiny, resnet50]
sizes: [64x64]
schedules: ["3,3,3", mine.yaml]
rules: fvcore
convention: mac
devices: [cpu]
count:
"""
MEASURED_SWEEP = """\
schema_version: 1
name: measured
backbones: tiny
sizes: 64x64
schedules: [baseline, "3,3,3"]
weights: [w.safetensors]
devices: cpu
count:
profile: {batch_sizes: [1, 2], dtype: fp32, sampling: auto, threads: 1, max_seconds: 1.0, repeats: 3}
evaluate: {data: data, split: val, tasks: [panoptic], limit: 2, resize: "64,128", bootstrap: 10}
"""
RECIPE = """\
schema_version: 1
name: mine
description: "a recipe"
data: {source: shapes, images: 4, seed: 1}
backbone: tiny
iterations: 20
batch_size: 4
accumulate: 2
augmentation: {resize: [1.0, 1.75], crop: [64, 64], flip: true, color: false}
optimizer: {learning_rate: 7.0e-4, weight_decay: 0.05, backbone_multiplier: 1.0, clip_norm: 0.01}
schedule: {kind: step, milestones: [10, 15], factor: 0.1, warmup_iterations: 2, warmup_factor: 0.01}
loss: {class_weight: 6.0, points: 512, oversampling: 3.0, importance: 0.75}
drop_path: 0.0
ema: 0.998
precision: fp32
checkpoint_every: 250
start: null
backbone_weights: w.pth
"""
ZOO = """\
schema_version: 1
name: mine
description: "a zoo"
backbone: tiny
trunk: shapes-trunk
branch: mine-recipe.yaml
schedules: [baseline, "3,3,3", mine.yaml]
seeds: [0, 1]
"""
COMMAND_LINES = (
    "check budgets.yaml --format github",
    "check --explain --fail-unstable",
    "flops --schedule 3,3,3 --backbone tiny --size 64x64 --by layer",
    "schedules show 3,3,3 --yaml",
    "models show resnet50 --classes 80",
    "compare old new --fail pq:1",
    "eval --coco data --tasks panoptic",
    "data check folder --split val",
    "sweep paper.yaml --out out",
    "--help",
)


@cache
def records() -> tuple[str, ...]:
    """Records as files: counted, profiled beside its baseline, evaluated."""
    from tests.results.evaluations import evaluated
    from tests.results.records import record
    from tests.sweeps.profiles import profiled_records

    found = [record("baseline"), record("3,3,3"), *profiled_records("3,3,3"), evaluated()]
    return tuple(one.to_json() for one in found)
