"""Edits of a model while it decodes: one file a method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlmsal.lazy import lazy_names

if TYPE_CHECKING:
    from lvlmsal.interventions.ad_hh import AdHH
    from lvlmsal.interventions.agla import AGLA
    from lvlmsal.interventions.allpath import AllPath
    from lvlmsal.interventions.avisc import AvisC
    from lvlmsal.interventions.base import (
        AttentionIntervention,
        FeedForwardIntervention,
        HiddenStateIntervention,
        Intervention,
        LogitsIntervention,
    )
    from lvlmsal.interventions.causalmm import CausalMM
    from lvlmsal.interventions.cicd import CICD
    from lvlmsal.interventions.clva import ClvaReconstruction
    from lvlmsal.interventions.crops import CRoPS
    from lvlmsal.interventions.damro import DAMRO
    from lvlmsal.interventions.deco import DeCo
    from lvlmsal.interventions.dola import DoLa
    from lvlmsal.interventions.eah import EAH
    from lvlmsal.interventions.farsight import FarSight
    from lvlmsal.interventions.hgai import HGAI
    from lvlmsal.interventions.icd import ICD
    from lvlmsal.interventions.locore import LocoRE
    from lvlmsal.interventions.m3id import M3ID
    from lvlmsal.interventions.marine import MARINE
    from lvlmsal.interventions.memvr import MemVR
    from lvlmsal.interventions.none import NoIntervention
    from lvlmsal.interventions.nullu import Nullu
    from lvlmsal.interventions.only import ONLY
    from lvlmsal.interventions.pai import PAI
    from lvlmsal.interventions.ritual.intervention import RITUAL
    from lvlmsal.interventions.scr.intervention import SCR
    from lvlmsal.interventions.sid import SID
    from lvlmsal.interventions.tame import TAME
    from lvlmsal.interventions.vaf import VAF
    from lvlmsal.interventions.vcd import VCD
    from lvlmsal.interventions.vissink.intervention import VisSink
    from lvlmsal.interventions.vista import VISTA
    from lvlmsal.interventions.vord import VORD
    from lvlmsal.interventions.vti import VTI

__all__ = [
    "AGLA",
    "CICD",
    "DAMRO",
    "EAH",
    "HGAI",
    "ICD",
    "M3ID",
    "MARINE",
    "ONLY",
    "PAI",
    "RITUAL",
    "SCR",
    "SID",
    "TAME",
    "VAF",
    "VCD",
    "VISTA",
    "VORD",
    "VTI",
    "AdHH",
    "AllPath",
    "AttentionIntervention",
    "AvisC",
    "CRoPS",
    "CausalMM",
    "ClvaReconstruction",
    "DeCo",
    "DoLa",
    "FarSight",
    "FeedForwardIntervention",
    "HiddenStateIntervention",
    "Intervention",
    "LocoRE",
    "LogitsIntervention",
    "MemVR",
    "NoIntervention",
    "Nullu",
    "VisSink",
]

# Where each name is defined; a test compares it with the imports above and the registries.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AGLA": ".agla",
        "AdHH": ".ad_hh",
        "AllPath": ".allpath",
        "AttentionIntervention": ".base",
        "CICD": ".cicd",
        "AvisC": ".avisc",
        "CRoPS": ".crops",
        "CausalMM": ".causalmm",
        "ClvaReconstruction": ".clva",
        "DAMRO": ".damro",
        "DeCo": ".deco",
        "DoLa": ".dola",
        "EAH": ".eah",
        "FarSight": ".farsight",
        "FeedForwardIntervention": ".base",
        "HGAI": ".hgai",
        "HiddenStateIntervention": ".base",
        "ICD": ".icd",
        "Intervention": ".base",
        "LocoRE": ".locore",
        "LogitsIntervention": ".base",
        "M3ID": ".m3id",
        "MARINE": ".marine",
        "MemVR": ".memvr",
        "NoIntervention": ".none",
        "ONLY": ".only",
        "Nullu": ".nullu",
        "PAI": ".pai",
        "RITUAL": ".ritual.intervention",
        "SCR": ".scr.intervention",
        "SID": ".sid",
        "TAME": ".tame",
        "VAF": ".vaf",
        "VCD": ".vcd",
        "VISTA": ".vista",
        "VORD": ".vord",
        "VTI": ".vti",
        "VisSink": ".vissink.intervention",
    },
)
