"""The action space: which columns may change, and how far.

One rule covers every kind of feature. From a factual `x`, column j may move within `bounds(space, x)`, an interval that
always contains `x` and is only `x` for an immutable column; an ordered column moves in whole steps from `x`; the
columns of a one-hot group contain a single 1. A two-level category is one ordered column with step 1. `project` returns
the nearest such point, and `allows` tests whether a point equals its own projection, so the two agree by construction.

The kinds of columns, the columns of one feature and the weighted cost of a change are defined only here:
`is_category`, `is_coarse`, `same_feature`, `weighted_l1`.

With `relations` (see that module) some columns follow others. Then every function here that returns a point returns
one at which they do, and which satisfies the inequalities and the limit on the number of changes; `own_change` is what
is left of a change without what follows, and `distance` is its cost. A space without relations pays nothing for them.
"""

from hare_jax.base import ActionSpace as ActionSpace
from hare_jax.base import Link as Link
from hare_jax.base import Relations as Relations
from hare_jax.space.build import action_space as action_space
from hare_jax.space.columns import FURTHEST as FURTHEST
from hare_jax.space.columns import GRID_TOLERANCE as GRID_TOLERANCE
from hare_jax.space.columns import bounds as bounds
from hare_jax.space.columns import is_category as is_category
from hare_jax.space.columns import is_coarse as is_coarse
from hare_jax.space.columns import is_one as is_one
from hare_jax.space.columns import open_levels as open_levels
from hare_jax.space.columns import same_feature as same_feature
from hare_jax.space.columns import weighted_l1 as weighted_l1
from hare_jax.space.effects import causes as causes
from hare_jax.space.effects import complete as complete
from hare_jax.space.effects import costs as costs
from hare_jax.space.effects import distance as distance
from hare_jax.space.effects import follow as follow
from hare_jax.space.effects import is_follower as is_follower
from hare_jax.space.effects import moved as moved
from hare_jax.space.effects import norm as norm
from hare_jax.space.effects import own_bounds as own_bounds
from hare_jax.space.effects import own_change as own_change
from hare_jax.space.effects import own_slope as own_slope
from hare_jax.space.effects import own_values as own_values
from hare_jax.space.effects import weighted_cost as weighted_cost
from hare_jax.space.effects import with_own_change as with_own_change
from hare_jax.space.points import allows as allows
from hare_jax.space.points import along as along
from hare_jax.space.points import between as between
from hare_jax.space.points import is_held as is_held
from hare_jax.space.points import keeps_relations as keeps_relations
from hare_jax.space.points import project as project
from hare_jax.space.points import relax as relax
from hare_jax.space.points import restore as restore
from hare_jax.space.points import rows_from as rows_from
from hare_jax.space.points import settle as settle
from hare_jax.space.points import snap as snap
from hare_jax.space.points import tightening as tightening
from hare_jax.space.relations import HALF_STEP as HALF_STEP
from hare_jax.space.relations import OWN_ROUNDING as OWN_ROUNDING
from hare_jax.space.relations import relate as relate
