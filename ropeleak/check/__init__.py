"""Checks for rotary code of one's own: whether it is relative, in its dtype, at its lengths.

The checks take functions on NumPy, PyTorch or JAX arrays and need nothing but NumPy and Hypothesis.
"""

from . import adapters as adapters
from . import reference as reference
from .attention import Attend as Attend
from .attention import check_attention_packing as check_attention_packing
from .attention import check_causality as check_causality
from .attention import check_shift_equivariance as check_shift_equivariance
from .batches import check_packing as check_packing
from .batches import check_padding as check_padding
from .caches import check_cache_consistency as check_cache_consistency
from .report import Cause as Cause
from .report import Failure as Failure
from .report import Finding as Finding
from .report import Report as Report
from .rotary import check_composition as check_composition
from .rotary import check_frequencies as check_frequencies
from .rotary import check_norm_preserved as check_norm_preserved
from .rotary import check_position_ids as check_position_ids
from .rotary import check_relative_invariance as check_relative_invariance
from .rotary import check_repeatable as check_repeatable
from .stacks import check_stack as check_stack
from .suite import assert_attention as assert_attention
from .suite import assert_rope as assert_rope
from .suite import check_attention as check_attention
from .suite import check_rope as check_rope
