"""Fine-tune language models with LoRA under differential privacy.

>>> import rldp
>>> demo = rldp.unpack_demo("demo")
>>> run = rldp.train(model=demo.model, train=demo.train, unit_column="patient", epsilon=8, delta=1e-6, out="run")  # doctest: +SKIP
>>> run.verify()["holds"]  # doctest: +SKIP
True
"""

from . import privacy
from ._errors import InternalError, RefusedError, RldpError, SettingError, VerificationError
from ._rldp import __version__
from ._run import Run
from ._tools import Demo, audit, evaluate, generate, plan, unpack_demo
from ._train import resume, train

__all__ = [
    "Demo",
    "InternalError",
    "RefusedError",
    "RldpError",
    "Run",
    "SettingError",
    "VerificationError",
    "__version__",
    "audit",
    "evaluate",
    "generate",
    "plan",
    "privacy",
    "resume",
    "train",
    "unpack_demo",
]
