"""A patch that reads older ones as one that reads none and answers bit for bit as it does."""

from dataclasses import replace

from peter.errors import InputError
from peter.methods import method
from peter.nn.owned import OwnedWeights
from peter.services.patch.fitting import Fitted

WHOLE = "last"  # the method whose patch holds blocks of the backbone as the task uses them; here all of them


def standalone(fitted: Fitted, name: str) -> Fitted:
    """The patch called `name` with all that it reads, and all blocks of its backbone, in itself.

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
    body = fitted.setting.body
    held = trunk.whole(body).state_dict()
    recipe = fitted.recipe.by(WHOLE)
    recipe = replace(recipe, options=replace(recipe.options, blocks=body.sites // 2))
    patch = method(WHOLE).build(fitted.setting, recipe.options)
    patch.load_state_dict({**own, **{f"trunk.{name}": tensor for name, tensor in held.items()}})
    return replace(fitted, recipe=recipe, patch=patch.eval())
