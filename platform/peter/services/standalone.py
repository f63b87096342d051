"""A patch that reads older ones as one that reads none and answers bit for bit as it does."""

from dataclasses import replace

from peter.errors import InputError
from peter.methods import method
from peter.nn.owned import OwnedWeights
from peter.services.fitting import Fitted

WHOLE = "full"  # the method whose patch holds every tensor of the backbone as the task uses it


def standalone(fitted: Fitted, name: str) -> Fitted:
    """The patch called `name` with all that it reads and all of its backbone in itself.

    Raises:
        InputError: its trunk is no set of weights.
    """
    trunk = getattr(fitted.patch, "trunk", None)
    if not isinstance(trunk, OwnedWeights):
        raise InputError(
            f"{name} reads other patches and its answers need them; export what it reads instead."
        )
    own = {
        name: tensor for name, tensor in fitted.patch.state_dict().items() if not name.startswith("trunk.")
    }
    held = trunk.whole(fitted.setting.body).state_dict()
    recipe = fitted.recipe.by(WHOLE)
    patch = method(WHOLE).build(fitted.setting, recipe.options)
    patch.load_state_dict({**own, **{f"trunk.{name}": tensor for name, tensor in held.items()}})
    return replace(fitted, recipe=recipe, patch=patch.eval())
