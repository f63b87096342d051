"""Every installed method keeps the contract, as it comes and under settings that change what it does."""

from typing import Any

from peter import methods, plugins
from peter.testing import MethodContract, champion

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # the wide term is off where nothing else is said
    "PeterPaper": (
        "peter",
        {
            "readout": "last",
            "tcl": True,
            "warm_start": False,
            "activation": "relu",
            "reduction": 2,
            "summary": False,
        },
    ),
    "PeterSerial1": ("peter", {"insertion": "serial1"}),
    "PeterSerial1Inner": ("peter", {"insertion": "serial1-inner", "readout": "concat"}),
    "PeterParallel": ("peter", {"insertion": "parallel", "readout": "mean"}),
    "PeterParallelDelta": ("peter", {"insertion": "parallel-delta", "readout": "head+tail", "tcl": True}),
    "PeterParallelAfter": ("peter", {"insertion": "parallel-after", "dropout": 0.3}),
    "PeterTopBlock": ("peter", {"blocks": "1:2", "second_norm": False, "history": "window"}),
    "PeterNoBlock": ("peter", {"blocks": "none"}),
    "PeterWideAlone": ("peter", {"wide": True, "deep": False}),
    "PeterCold": ("peter", {"wide": True, "warm_start": False, "tcl": True, "dropout": 0.3}),
    "LoraNarrow": ("lora", {"summary": False, "rank": 1, "alpha": 4.0, "blocks": "1:2"}),
    "LadderAlone": ("ladder", {"reduction": 1, "warm_start": False, "readout": "last"}),
    "LastTwo": ("last", {"blocks": 2, "tcl": True}),
    "FullAlone": ("full", {"readout": "mean", "dropout": 0.5}),
    "ZeroAlone": ("zero", {"tcl": True, "second_norm": False}),
    "ScratchAlone": ("scratch", {"readout": "last"}),
    "ProbeLast": ("probe", {"readout": "head+tail", "history": "all"}),
    "AdaptiveSoft": ("adaptive", {"policy": "soft", "tcl": True, "history": "window", "dropout": 0.3}),
    "AdaptiveReinforced": ("adaptive", {"policy": "reinforced", "thrift": 0.1, "insertion": "serial1"}),
    "AdaptiveCopies": ("adaptive", {"form": "copies", "readout": "mean"}),
    "AdaptiveRandom": ("adaptive", {"policy": "random", "insertion": "parallel-delta"}),
    "AdaptiveAlways": ("adaptive", {"policy": "always"}),
    "RelearnFeatures": ("relearn", {"ids": False, "readout": "last", "warm_start": False}),
    "RelearnRandom": ("relearn", {"encoder": "random", "tcl": True}),
    "LsaFew": ("lsa", {"components": 3}),
}
# Beside champions of other tasks, random ones, which teach nothing.
READERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ExpertsReading": ("experts", {}),
    "ExpertsOfOne": ("experts", {"most": 1, "blocks": "1:2", "insertion": "serial1"}),
    "MaskReading": ("mask", {}),
}
OLDER = [
    champion(name, MethodContract().setting(), seed)
    for seed, name in enumerate(("peter", "mask", "lora", "experts"))
]
# A random body's last position is noise; `TestLearning` gives it a trained one.
HARD = {
    title for title, (_, settings) in VARIANTS.items() if settings.get("readout") in ("last", "head+tail")
}

for name in plugins.modules(
    methods.GROUP
):  # the wide term is the same for all, and slow: tried on the default
    method = methods.method(name)
    alone = {"wide": False} if name != "peter" and hasattr(method.options, "wide") else {}
    contract = type(f"Test{name.title()}", (MethodContract,), {"method": method, "settings": alone})
    globals()[contract.__name__] = contract
    del contract

for name in sorted(set(plugins.modules(methods.GROUP)) - {"lora", "bag", "lsa"}):
    method = methods.method(name)  # lora needs convolutions; the others read no body
    members = {"method": method, "architecture": "sasrec"}
    if hasattr(method.options, "wide"):
        members["settings"] = {"wide": False, "tcl": name != "ladder"}
    contract = type(f"Test{name.title()}OnSasrec", (MethodContract,), members)
    globals()[contract.__name__] = contract
    del contract

for name in ("peter", "bag", "probe", "lsa"):  # outputs of low rank, several answers a user, more is better
    members = {"method": methods.method(name), "kind_name": "recommendation"}
    contract = type(f"Test{name.title()}Recommends", (MethodContract,), members)
    globals()[contract.__name__] = contract
    del contract

for title, (name, settings) in (VARIANTS | READERS).items():
    method = methods.method(name)
    alone = {"wide": False} if hasattr(method.options, "wide") else {}
    members = {"method": method, "settings": {**alone, **settings}, "learns": title not in HARD}
    members["older"] = OLDER if title in READERS else []
    contract = type(f"Test{title}", (MethodContract,), members)
    globals()[contract.__name__] = contract
    del contract
