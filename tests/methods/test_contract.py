"""Every installed method keeps the contract."""

from peter import methods, plugins
from peter.testing import MethodContract

for name in plugins.modules(methods.GROUP):
    contract = type(f"Test{name.title()}", (MethodContract,), {"method": methods.method(name)})
    globals()[contract.__name__] = contract
    del contract
