"""What every task kind and every method must keep, as test classes: subclass one and name the plugin.

class TestMine(MethodContract):
    method = my_package.mine.plugin
"""

from peter.testing.kinds import TaskKindContract
from peter.testing.methods import MethodContract, champion
from peter.testing.toys import ITEMS, fingerprint, tiny_body, toy_users

__all__ = ["ITEMS", "MethodContract", "TaskKindContract", "champion", "fingerprint", "tiny_body", "toy_users"]
