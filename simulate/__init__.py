"""Monte Carlo of random-weight stacks of finite width: the same observables as the theory."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
