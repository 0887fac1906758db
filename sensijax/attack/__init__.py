"""Adversaries: perturbations that look at the model, and what is wrong with a number that looks too good."""

from sensijax.attack import losses as losses
from sensijax.attack._attack import Attack as Attack
from sensijax.attack._goal import Goal as Goal
from sensijax.attack._goal import Trace as Trace
from sensijax.attack._goal import fools as fools
from sensijax.attack._norm import Norm as Norm
from sensijax.attack._norm import l1 as l1
from sensijax.attack._norm import l2 as l2
from sensijax.attack._norm import linf as linf
from sensijax.attack._pursuit import Loop as Loop
from sensijax.attack._result import STATUSES as STATUSES
from sensijax.attack._result import AttackResult as AttackResult
from sensijax.attack._victim import Victim as Victim
from sensijax.attack.pgd import FGSM as FGSM
from sensijax.attack.pgd import PGD as PGD
