"""The named experiments of this field, each as data. Importing this package does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae.common.errors import UserError
from sae.experiments.absorption import ABSORPTION
from sae.experiments.architectures import ARCHITECTURES_KIND
from sae.experiments.concepts import CONCEPTS
from sae.experiments.core import CORE
from sae.experiments.cosine import COSINE
from sae.experiments.equal_bits import EQUAL_BITS
from sae.experiments.error_prediction import ERROR_PREDICTION
from sae.experiments.first_letter import FIRST_LETTER
from sae.experiments.layer_position_sweep import LAYER_POSITION_SWEEP
from sae.experiments.measurement import Measurement
from sae.experiments.orthogonality import ORTHOGONALITY_KINDS
from sae.experiments.patching import PATCHING
from sae.experiments.plan import Kind
from sae.experiments.scaling import SCALING, STABILITY
from sae.experiments.scr import SCR
from sae.experiments.slices_and_depth import CROSSCODERS, DEPTH, TRANSCODERS
from sae.experiments.sparse_probing import SPARSE_PROBING
from sae.experiments.specificity import SPECIFICITY
from sae.experiments.topk_grid import TOPK_GRID
from sae.experiments.topk_vs_l1 import L1_SENSITIVITY, TOPK_VS_L1
from sae.experiments.tpp import TPP

#: Experiments that train SAEs.
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        TOPK_GRID,
        LAYER_POSITION_SWEEP,
        SCALING,
        STABILITY,
        *COSINE,
        *ORTHOGONALITY_KINDS,
        ARCHITECTURES_KIND,
        TOPK_VS_L1,
        L1_SENSITIVITY,
        TRANSCODERS,
        CROSSCODERS,
        DEPTH,
    )
}
#: Experiments that measure the SAEs of others.
MEASUREMENTS: dict[str, Measurement] = {
    kind.name: kind
    for kind in (
        ERROR_PREDICTION,
        PATCHING,
        SPECIFICITY,
        CONCEPTS,
        EQUAL_BITS,
        CORE,
        ABSORPTION,
        FIRST_LETTER,
        SPARSE_PROBING,
        SCR,
        TPP,
    )
}


def kind_of(name: str) -> Kind:
    """The experiment kind of that name. Raises UserError for an unknown one."""
    if name not in KINDS:
        raise UserError(f"experiment kind {name!r} is not known: take one of {', '.join([*KINDS, *MEASUREMENTS])}")
    return KINDS[name]


def kind_of_spec(spec: Mapping[str, Any]) -> Kind:
    """The kind that a specification is of (`sae.experiments.plan.Spec` as a dict): built in, or defined with it.

    Raises:
        UserError: for an unknown one, or a definition that is none.
    """
    if spec.get("definition") is None:
        return kind_of(str(spec["kind"]))
    from sae.experiments.definition import kind_from

    kind = kind_from(spec["definition"])
    if kind.name != spec["kind"]:
        raise UserError(f"the definition is of {kind.name!r}, not of {spec['kind']!r}")
    return kind


def measurement_of(name: str) -> Measurement:
    """The measurement of that name. Raises UserError for an unknown one."""
    if name not in MEASUREMENTS:
        raise UserError(f"measurement {name!r} is not known: take one of {', '.join(MEASUREMENTS)}")
    return MEASUREMENTS[name]
