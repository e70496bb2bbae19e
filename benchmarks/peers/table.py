"""The libraries that are compared: where they install, what drives them, and the method of ours for each of theirs."""

from collections.abc import Mapping
from typing import NamedTuple


class Peer(NamedTuple):
    """A library. Its driver is `drivers/with_NAME.py`, whose command-line argument is the folder of the exchange."""

    package: str  # the distribution whose version is reported
    python: str  # the version of Python that its pins need, as 3.10
    pins: tuple[str, ...]  # for pip, together; empty: nothing is installed, and this interpreter runs it
    methods: Mapping[str, str]  # its method -> the row of METHODS that it is compared with
    reason: str = ""  # why it can't run at all; empty if it may
    model: str = "mlp"  # the classifier that it is handed, a name of `specs.MODELS`


PEERS: dict[str, Peer] = {
    "relax": Peer(
        "jax-relax",
        "3.10",
        (
            "jax-relax==0.2.9",
            "jax==0.4.30",  # Keras 3.3, which it needs, uses jax.spmd_mode, gone since
            "jaxlib==0.4.30",
            "jax-tqdm==0.4.0",
            "dm-haiku==0.0.13",
            "optax==0.2.3",
            "chex==0.1.87",
            "fastcore==2.2.41",  # imported by it, but not among its requirements
            "nbdev==3.3.26",  # likewise
        ),
        {
            "VanillaCF": "wachter",
            "VanillaCF to 1": "wachter",
            "DiverseCF": "dice",
            "DiverseCF to 1": "dice",
            "ProtoCF": "protocf",
            "GrowingSphere": "growing_spheres",
            "CCHVAE": "cchvae",
            "CLUE": "clue",
        },
    ),
    "dice_ml": Peer(
        "dice-ml",
        "3.11",
        ("dice-ml==0.12", "torch==2.13.0"),
        {"random": "dice", "genetic": "dice", "gradient": "dice"},
    ),
    "alibi": Peer(
        "alibi",
        "3.10",
        ("alibi[tensorflow]==0.9.6", "click<9"),
        {"Counterfactual": "wachter", "CounterfactualProto": "protocf"},
    ),
    "actionable_recourse": Peer(
        "actionable-recourse",
        "3.9",
        ("actionable-recourse==1.0.1", "numpy<1.24", "pandas<2"),
        {"RecourseBuilder": "ar"},
        model="linear",
    ),
    "carla": Peer(
        "carla-recourse",
        "3.7",
        ("carla-recourse==0.0.5", "protobuf<3.21"),
        {"Wachter": "wachter", "Wachter MSE": "wachter", "GrowingSpheres": "growing_spheres"},
    ),
    "CounterfactualExplanations.jl": Peer(
        "CounterfactualExplanations.jl",
        "",
        (),
        {"Generic": "wachter"},
        reason="it is written in Julia, for which there is no driver",
    ),
}
