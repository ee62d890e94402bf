"""S+ and S-: the scores of earlier batches on the device, partners for the scores of the current one.

After Zhao et al. 2011. What is stored was written by older weights: `ages` says how old, `drift` by how much the scores
have moved together since. Everything here is a pure function of a pytree, to be called inside one jitted step with the
buffers donated.

    buffers = ScoreBuffers.init("all", capacity=len(training_set))
    loss = buffered_auc_loss(scores, labels, ids, buffers, where=where)  # inside the differentiated function
    buffers = update(buffers, scores, labels, ids, where=where, step=step)  # after it

On several devices, inside `jax.shard_map` with axis_name= and the specs of `ScoreBuffers.specs`: the slots of `all` are
spread over the axis, each device writing those it owns; the small buffers of the other policies are the same on every
device. Only the batch travels.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from mammojax.losses.inputs import is_known, scored

POLICIES = ("all", "reservoir", "fifo")
_EMPTY = np.iinfo(np.int32).max  # the priority of an empty slot: the first to be filled
_COLUMNS = ("scores", "labels", "ids", "weights", "steps", "priorities")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScoreBuffers:
    """Stored scores of both classes, a pytree of arrays of one length (slots), made by `init`.

    scores: float32[slots]. labels: int32[slots], -1 in an empty slot. ids: int32[slots] (int64 where JAX has it), the
    sample's id, -1 in an empty slot. weights: float32[slots], what the sample counts as a partner. steps: int32[slots], the
    step that wrote the score. priorities: int32[slots], the lowest of a class stay. offered: int32[2], samples offered so
    far, of class 0 and of class 1, every time anew; only the ratio counts, and both are halved before they overflow. sound: float32[], a factor of every loss: 1, or NaN once
    `update` got a label or an id that is none. kind: int32[], the policy by its place in `POLICIES`, as data: a
    checkpoint that was restored into buffers of another policy is found by it.
    """

    scores: jax.Array
    labels: jax.Array
    ids: jax.Array
    weights: jax.Array
    steps: jax.Array
    priorities: jax.Array
    offered: jax.Array
    sound: jax.Array
    kind: jax.Array
    policy: str = dataclasses.field(metadata={"static": True})

    @classmethod
    def init(cls, policy: str = "all", capacity: int = 0) -> "ScoreBuffers":
        """Empty buffers.

        policy: "all" keeps one slot a training sample, slot = id: capacity is the size of the training set, and ids
        are below it. "reservoir" keeps a uniform random sample, `capacity` of each class, of all that was offered
        (Zhao et al. 2011); a sample that is offered again is drawn again. "fifo" keeps the `capacity` newest of each
        class.

        Raises ValueError for an unknown policy or a capacity below one.
        """
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}; choose one of {', '.join(POLICIES)}")
        if capacity < 1:
            raise ValueError(
                f"capacity must be at least 1, got {capacity}; "
                "pass the number of training samples for 'all', the number of scores to keep of each class for 'reservoir' and 'fifo'"
            )
        slots = capacity if policy == "all" else 2 * capacity
        return cls(
            scores=jnp.zeros(slots, jnp.float32),
            labels=jnp.full(slots, -1, jnp.int32),
            ids=jnp.full(slots, -1, jax.dtypes.canonicalize_dtype(np.int64)),
            weights=jnp.zeros(slots, jnp.float32),
            steps=jnp.zeros(slots, jnp.int32),
            priorities=jnp.full(slots, _EMPTY, jnp.int32),
            offered=jnp.zeros(2, jnp.int32),
            sound=jnp.ones((), jnp.float32),
            kind=jnp.full((), POLICIES.index(policy), jnp.int32),
            policy=policy,
        )

    def specs(self, axis_name: str) -> "ScoreBuffers":
        """How the arrays lie on a mesh: a tree like the buffers, of PartitionSpec; for `shard_map` and shardings."""
        spread = PartitionSpec(axis_name if self.policy == "all" else None)
        scalars = dict.fromkeys(("offered", "sound", "kind"), PartitionSpec())
        return dataclasses.replace(self, **dict.fromkeys(_COLUMNS, spread), **scalars)

    @property
    def capacity(self) -> int:
        """Slots in all for `all`, slots of each class for the other policies."""
        return self.scores.shape[0] if self.policy == "all" else self.scores.shape[0] // 2

    def counts(self) -> jax.Array:
        """int32[2]: stored scores of class 0 and of class 1."""
        return jnp.stack([jnp.sum(self.labels == c, dtype=jnp.int32) for c in (0, 1)])

    def ages(self, step: jax.Array | int) -> jax.Array:
        """int32[slots]: steps since each score was written, -1 in an empty slot."""
        return jnp.where(self.labels >= 0, step - self.steps, -1)

    def mean_age(self, step: jax.Array | int) -> jax.Array:
        """float32[]: the mean of `ages` over the stored scores, 0 where nothing is stored."""
        stored = self.labels >= 0
        total = jnp.sum(jnp.where(stored, step - self.steps, 0).astype(jnp.float32))
        return total / jnp.maximum(jnp.sum(stored.astype(jnp.float32)), 1)


def update(
    buffers: ScoreBuffers,
    scores: jax.Array,
    labels: jax.Array,
    ids: jax.Array,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    key: jax.Array | None = None,
    step: jax.Array | int = 0,
    correct_drift: bool = False,
    axis_name: str | None = None,
) -> ScoreBuffers:
    """The buffers after the scores of one batch: a newer score of a sample replaces the older.

    scores: float[b]; no gradient flows into the buffers, and a score that is not finite is not stored.
    labels: int[b] in {0, 1}. where: bool[b], False for padding, which enters neither buffers nor counts. ids: int[b]; a
    negative one is padding too. Of equal ids in a batch the last one is stored, and they are one offer. Under the policy
    `all` an id is below the capacity. weights: float[b], those that `buffered_auc_loss` is given, on one scale over all
    batches; None: 1 each. key: a fresh PRNG key, needed by `reservoir` alone. step: written beside the scores, for `ages`.
    axis_name: of `jax.shard_map`; the batch is that of all devices along it.
    correct_drift: first move everything that is stored by `common_drift`, so that it stays as if written by the present
    weights but for what single samples did. Use it here and in `buffered_auc_loss`, or in neither.

    Raises ValueError if `reservoir` gets no key, the arrays differ in shape, or a label or an id is none. Where these are
    traced, such a sample is not stored and every later loss is NaN (`ScoreBuffers.sound`).
    """
    batch, sound = offer(buffers, scores, labels, ids, where, axis_name, weights)
    if correct_drift:
        moved = buffers.scores + _common(*_changes(buffers, batch, axis_name))
        buffers = dataclasses.replace(buffers, scores=jnp.where(buffers.labels >= 0, moved, 0))
    finite = jnp.isfinite(batch.scores)
    batch = dataclasses.replace(
        batch, **_last_of_equals(batch, finite), steps=jnp.full_like(batch.steps, step)
    )
    offered = buffers.offered + batch.counts()
    offered = jnp.where(jnp.max(offered) < 1 << 30, offered, offered // 2)
    buffers = dataclasses.replace(buffers, offered=offered, sound=sound)
    if buffers.policy == "all":
        return _write_slots(buffers, batch, axis_name)
    if buffers.policy == "reservoir":
        if key is None:
            raise ValueError(
                "the policy 'reservoir' draws which scores stay; pass key=, a fresh PRNG key a step"
            )
        # the lowest c of independent uniform numbers, one a sample, are a uniform sample of c
        priorities = jax.random.bits(key, batch.ids.shape, jnp.uint32) >> 2
        batch = dataclasses.replace(batch, priorities=priorities.astype(jnp.int32))
    return _keep_lowest(buffers, batch)


def drift(
    buffers: ScoreBuffers,
    scores: jax.Array,
    labels: jax.Array,
    ids: jax.Array,
    where: jax.Array | None = None,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """float32[]: the mean of present minus stored score over the samples of the batch that are stored; 0 if none is.

    Training moves all scores together, which no pair of present scores sees; a present score beside older ones does. Under
    `all` every sample that came before is stored. Under `reservoir` that is capacity over class size of them, so for
    batches that hold few stored samples the mean is a rough one; `fifo` knows only samples that come again within its
    capacity, so with a capacity below the training set's and shuffled epochs hardly any. Arguments: as in `update`.
    """
    batch, _ = offer(buffers, scores, labels, ids, where, axis_name)
    return _changes(buffers, batch, axis_name)[0]


def common_drift(
    buffers: ScoreBuffers,
    scores: jax.Array,
    labels: jax.Array,
    ids: jax.Array,
    where: jax.Array | None = None,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """float32[]: what `correct_drift` moves stored scores by: `drift` as far as chance does not explain it.

    Samples also move by themselves, and a batch has few of them: moved by the plain mean change in every step, what is
    stored walks at random, as far in an epoch as single scores do, and training against it learns little. So the mean d
    with its standard error e counts max(0, 1 - 4 e^2 / d^2) d, the positive-part shrinkage of James and Stein (1961): all
    of it where all samples moved alike, nothing within two standard errors, and what is left behind is two of them at
    most. 0 for fewer than two stored samples. Arguments: as in `update`.
    """
    batch, _ = offer(buffers, scores, labels, ids, where, axis_name)
    return _common(*_changes(buffers, batch, axis_name))


def offer(buffers, scores, labels, ids, where, axis_name, weights=None):
    """(the batch of all devices as buffers, label -1 and id -1 where there is no sample; `sound` after it)."""
    _check_ids(buffers, ids, where, axis_name)
    scores = jnp.asarray(scores)
    classes = scored(lax.stop_gradient(scores), labels, where, axis_name=axis_name)
    weighed = classes if weights is None else scored(classes.scores, labels, where, weights, axis_name)
    ids = jnp.asarray(ids)
    if ids.shape != scores.shape:
        raise ValueError(
            f"scores and ids differ in shape: {scores.shape} and {ids.shape}; pass one per score"
        )
    ids = ids.astype(buffers.ids.dtype)
    label = (classes.positive > 0).astype(jnp.int32)
    valid = (classes.positive + classes.negative > 0) & (ids >= 0)
    too_high = jnp.zeros((), bool)
    if buffers.policy == "all":
        slots = buffers.scores.shape[0] * (1 if axis_name is None else lax.axis_size(axis_name))
        too_high = valid & (ids >= slots)
        valid &= ~too_high
    arrays = (
        classes.scores.astype(jnp.float32),
        jnp.where(valid, label, -1),
        jnp.where(valid, ids, -1),
        (weighed.positive + weighed.negative).astype(jnp.float32),
        too_high | jnp.zeros_like(valid),
    )
    present, label, ids, weight, too_high = (_of_all(x, axis_name) for x in arrays)
    sound = buffers.sound * weighed.sound.astype(jnp.float32)
    sound *= jnp.where(jnp.any(too_high) | (buffers.kind != POLICIES.index(buffers.policy)), jnp.nan, 1)
    zeros = jnp.zeros(ids.shape, jnp.int32)
    columns = dict(zip(_COLUMNS, (present, label, ids, weight, zeros, zeros)))
    return dataclasses.replace(buffers, **columns, offered=jnp.zeros(2, jnp.int32), sound=sound), sound


def _check_ids(buffers, ids, where, axis_name):
    if not all(is_known(x) for x in (ids, where, buffers.kind)):
        return
    if int(buffers.kind) != POLICIES.index(buffers.policy):
        raise ValueError(
            f"these buffers were made with policy {POLICIES[int(buffers.kind)]!r} and restored as {buffers.policy!r}; "
            "restore them into ScoreBuffers.init of the same policy and capacity"
        )
    numbers = np.asarray(ids)
    if where is not None:
        numbers = numbers[np.asarray(where).astype(bool)]
    limit = int(jnp.iinfo(buffers.ids.dtype).max)
    if buffers.policy == "all" and axis_name is None:
        limit = buffers.capacity - 1
    if numbers.size and int(numbers.max()) > limit:
        raise ValueError(
            f"an id is {int(numbers.max())}, the highest that has a place is {limit}; number the samples from 0 "
            "(capacity of policy 'all': the number of training samples), or enable jax_enable_x64 for larger ids"
        )


def _last_of_equals(batch, finite):
    """labels and ids of the batch, -1 for all but the last of equal ids, and for scores that are not finite."""
    ids = jnp.where(finite, batch.ids, -1)
    sorted_ids, place = lax.sort((ids, np.arange(ids.shape[0], dtype=np.int32)), num_keys=2)
    last = jnp.concatenate([sorted_ids[1:] != sorted_ids[:-1], jnp.ones(min(1, ids.shape[0]), bool)])
    counts = jnp.zeros(ids.shape, bool).at[place].set(last & (sorted_ids >= 0))
    return {name: jnp.where(counts, getattr(batch, name), -1) for name in ("labels", "ids")}


def _changes(buffers, batch, axis_name):
    """(mean of present minus stored score, sum of its squared deviations, number of samples), float32[] each."""
    brought = _last_of_equals(batch, jnp.isfinite(batch.scores))["ids"]
    if buffers.policy == "all":
        slot = local_slots(buffers, brought, axis_name)
        size = buffers.scores.shape[0]
        known = (slot < size) & (jnp.take(buffers.labels, slot, mode="fill", fill_value=-1) >= 0)
        before = jnp.take(buffers.scores, slot, mode="fill", fill_value=0)
    else:
        same = (buffers.ids[None, :] == brought[:, None]) & (brought >= 0)[:, None]  # [b, slots]
        known = jnp.any(same, axis=1)
        before = jnp.sum(jnp.where(same, buffers.scores[None, :], 0), axis=1)

    def total(values):
        value = jnp.sum(jnp.where(known, values, 0))
        return lax.psum(value, axis_name) if axis_name is not None and buffers.policy == "all" else value

    number = total(jnp.ones_like(batch.scores))
    mean = total(batch.scores - before) / jnp.maximum(number, 1)
    return mean, total((batch.scores - before - mean) ** 2), number


def _common(mean, squares, number):
    """float32[]: the mean as far as it is beyond two standard errors, see `common_drift`."""
    variance = squares / jnp.maximum(number * (number - 1), 1)  # of the mean
    kept = jnp.maximum(0, 1 - 4 * variance / jnp.where(mean == 0, 1, mean**2))
    return jnp.where(number > 1, kept * mean, 0)


def _write_slots(buffers, batch, axis_name):
    target = local_slots(buffers, batch.ids, axis_name)
    arrays = {
        name: getattr(buffers, name).at[target].set(getattr(batch, name), mode="drop") for name in _COLUMNS
    }
    return dataclasses.replace(buffers, **arrays)


def local_slots(buffers: ScoreBuffers, ids: jax.Array, axis_name: str | None) -> jax.Array:
    """int32[b]: this device's slot of each sample under the policy `all`; none (out of range) for padding and others'."""
    slots = buffers.scores.shape[0]
    local = ids if axis_name is None else ids - lax.axis_index(axis_name).astype(ids.dtype) * slots
    return jnp.where((ids >= 0) & (local >= 0) & (local < slots), local, slots).astype(jnp.int32)


def _of_all(x, axis_name):
    """The batch of all devices, one after the other; known to be the same everywhere, which a gathered one is not."""
    if axis_name is None:
        return x
    size = x.shape[0]
    everyone = jnp.zeros(lax.axis_size(axis_name) * size, x.dtype if x.dtype != bool else jnp.int32)
    placed = lax.dynamic_update_slice(everyone, x.astype(everyone.dtype), (lax.axis_index(axis_name) * size,))
    return lax.psum(placed, axis_name).astype(x.dtype)


def _keep_lowest(buffers, batch):
    """The `capacity` entries of lowest priority of each class among the stored ones and the batch."""
    halves = []
    for c in (0, 1):
        stored = {name: getattr(buffers, name).reshape(2, -1)[c] for name in _COLUMNS}
        brought = {name: getattr(batch, name) for name in stored}
        member = batch.labels == c
        replaced = (stored["ids"][:, None] == batch.ids[None, :]) & (batch.ids >= 0)[None, :]  # [slots, b]
        if buffers.policy == "fifo":  # before all that are stored, whose priorities are their ranks
            brought["priorities"] = -jnp.cumsum(member, dtype=jnp.int32)
        # for a reservoir a draw of its own each time: inherited ones only ever sink, and after some epochs nobody moves
        brought["priorities"] = jnp.where(member, brought["priorities"], _EMPTY)
        stored["priorities"] = jnp.where(jnp.any(replaced, axis=1), _EMPTY, stored["priorities"])
        merged = {name: jnp.concatenate([stored[name], brought[name]]) for name in stored}
        order = jnp.argsort(merged["priorities"])[: buffers.capacity]
        kept = {name: value[order] for name, value in merged.items()}
        empty = kept["priorities"] == _EMPTY
        kept["labels"] = jnp.where(empty, -1, kept["labels"])
        kept["ids"] = jnp.where(empty, -1, kept["ids"])
        if buffers.policy == "fifo":
            ranks = np.arange(buffers.capacity, dtype=np.int32)
            kept["priorities"] = jnp.where(empty, _EMPTY, ranks)
        halves.append(kept)
    arrays = {name: jnp.concatenate([half[name] for half in halves]) for name in halves[0]}
    return dataclasses.replace(buffers, **arrays)
