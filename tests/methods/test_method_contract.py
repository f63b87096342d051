"""Every installed method keeps the contract, and some keep it on every way that a task kind can be."""

from peter import methods, plugins
from peter.testing import MethodContract

for name in plugins.modules(methods.GROUP):
    contract = type(f"Test{name.title()}", (MethodContract,), {"method": methods.method(name)})
    globals()[contract.__name__] = contract
    del contract


class TestPeterRecommends(MethodContract):
    """Outputs of low rank, several answers a user, and more is better."""

    method = methods.method("peter")
    kind_name = "recommendation"


class TestBagRecommends(TestPeterRecommends):
    method = methods.method("bag")


class TestProbeRecommends(TestPeterRecommends):
    method = methods.method("probe")


class TestLsaRecommends(TestPeterRecommends):
    method = methods.method("lsa")
