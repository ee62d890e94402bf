"""S+ and S-: the scores of earlier batches on the device, partners for the scores of the current one.

Eq. (3) of Sulam et al. 2017, after Zhao et al. 2011: the loss of a step pairs the scores of the batch, which
carry gradient, with stored scores of the opposite class, which do not. What is stored was written by older
weights: `ages` says how old. Everything here is a pure function of a pytree, to be called inside one jitted
step with the buffers donated.

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

from mammojax.losses.pairwise import class_weights, pairwise_sum

POLICIES = ("all", "reservoir", "fifo")
_EMPTY = np.iinfo(np.int32).max  # the priority of an empty slot: the first to be filled


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScoreBuffers:
    """Stored scores of both classes, a pytree of arrays of one length (slots), made by `init`.

    scores: float32[slots]. labels: int32[slots], -1 in an empty slot. ids: int32[slots], the sample's id, -1
    in an empty slot. steps: int32[slots], the step that wrote the score. priorities: int32[slots], the lowest
    of a class stay. offered: int32[2], samples offered so far, of class 0 and of class 1, every time anew; only the
    ratio counts, and both are halved before they overflow.
    """

    scores: jax.Array
    labels: jax.Array
    ids: jax.Array
    steps: jax.Array
    priorities: jax.Array
    offered: jax.Array
    policy: str = dataclasses.field(metadata={"static": True})

    @classmethod
    def init(cls, policy: str = "all", capacity: int = 0) -> "ScoreBuffers":
        """Empty buffers.

        policy: "all" keeps one slot a training sample, slot = id: capacity is the size of the training set, and ids
        are below it. "reservoir" keeps a uniform random sample, `capacity` of each class, of all that was offered
        (Zhao et al. 2011). "fifo" keeps the `capacity` newest of each class.

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
            ids=jnp.full(slots, -1, jnp.int32),
            steps=jnp.zeros(slots, jnp.int32),
            priorities=jnp.full(slots, _EMPTY, jnp.int32),
            offered=jnp.zeros(2, jnp.int32),
            policy=policy,
        )

    def specs(self, axis_name: str) -> "ScoreBuffers":
        """How the arrays lie on a mesh: a tree like the buffers, of PartitionSpec; for `shard_map` and shardings."""
        spread = PartitionSpec(axis_name if self.policy == "all" else None)
        names = ("scores", "labels", "ids", "steps", "priorities")
        return dataclasses.replace(self, **dict.fromkeys(names, spread), offered=PartitionSpec())

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


def update(
    buffers: ScoreBuffers,
    scores: jax.Array,
    labels: jax.Array,
    ids: jax.Array,
    where: jax.Array | None = None,
    key: jax.Array | None = None,
    step: jax.Array | int = 0,
    *,
    axis_name: str | None = None,
) -> ScoreBuffers:
    """The buffers after the scores of one batch: a newer score of a sample replaces the older.

    scores: float[b]; no gradient flows into the buffers, and a score that is not finite is not stored.
    labels: int[b]. ids: int[b], distinct among the samples of a batch. where: bool[b], False for padding,
    which enters neither buffers nor counts. key: a fresh PRNG key, needed by `reservoir` alone. step: written
    beside the scores, for `ages`. axis_name: of `jax.shard_map`; the batch is that of all devices along it. Raises ValueError if `reservoir` gets no key or the arrays differ in shape.
    """
    scores = jax.lax.stop_gradient(jnp.asarray(scores)).astype(jnp.float32)
    labels, ids, valid = _checked(scores, labels, ids, where)
    valid &= jnp.isfinite(scores)
    scores, labels, ids, valid = (_of_all(x, axis_name) for x in (scores, labels, ids, valid))
    batch = ScoreBuffers(
        scores=scores,
        labels=jnp.where(valid, labels, -1),
        ids=jnp.where(valid, ids, -1),
        steps=jnp.full(ids.shape, step, jnp.int32),
        priorities=jnp.zeros(ids.shape, jnp.int32),
        offered=jnp.zeros(2, jnp.int32),
        policy=buffers.policy,
    )
    offered = buffers.offered + jnp.stack([jnp.sum(batch.labels == c, dtype=jnp.int32) for c in (0, 1)])
    buffers = dataclasses.replace(
        buffers, offered=jnp.where(jnp.max(offered) < 1 << 30, offered, offered // 2)
    )
    if buffers.policy == "all":
        return _write_slots(buffers, batch, axis_name)
    if buffers.policy == "reservoir":
        if key is None:
            raise ValueError(
                "the policy 'reservoir' draws which scores stay; pass key=, a fresh PRNG key a step"
            )
        # the lowest c of independent uniform numbers, one an offer, are a uniform sample of c offers
        priorities = jax.random.bits(key, ids.shape, jnp.uint32) >> 2
        batch = dataclasses.replace(batch, priorities=priorities.astype(jnp.int32))
    return _keep_lowest(buffers, batch)


def _write_slots(buffers, batch, axis_name):
    target = _slots(buffers, batch.ids, batch.ids >= 0, axis_name)
    arrays = {
        name: getattr(buffers, name).at[target].set(getattr(batch, name), mode="drop")
        for name in ("scores", "labels", "ids", "steps", "priorities")
    }
    return dataclasses.replace(buffers, **arrays)


def _slots(buffers, ids, valid, axis_name):
    """int32[b]: this device's slot of each sample under the policy `all`; none (out of range) for padding and others'."""
    slots = buffers.scores.shape[0]
    local = ids if axis_name is None else ids - lax.axis_index(axis_name) * slots
    return jnp.where(valid & (local >= 0) & (local < slots), local, slots)


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
        stored = {
            name: getattr(buffers, name).reshape(2, -1)[c]
            for name in ("scores", "labels", "ids", "steps", "priorities")
        }
        brought = {name: getattr(batch, name) for name in stored}
        member = batch.labels == c
        same = (stored["ids"][:, None] == batch.ids[None, :]) & member  # [slots, b]
        known = jnp.any(same, axis=0)
        if buffers.policy == "fifo":  # before all that are stored, whose priorities are their ranks
            brought["priorities"] = -jnp.cumsum(member, dtype=jnp.int32)
        else:  # refreshed in place: the same draw decides whether it stays
            inherited = jnp.sum(jnp.where(same, stored["priorities"][:, None], 0), axis=0)
            brought["priorities"] = jnp.where(known, inherited, brought["priorities"])
        brought["priorities"] = jnp.where(member, brought["priorities"], _EMPTY)
        stored["priorities"] = jnp.where(jnp.any(same, axis=1), _EMPTY, stored["priorities"])
        merged = {name: jnp.concatenate([stored[name], brought[name]]) for name in stored}
        order = jnp.argsort(merged["priorities"])[: buffers.capacity]
        kept = {name: value[order] for name, value in merged.items()}
        empty = kept["priorities"] == _EMPTY
        kept["labels"] = jnp.where(empty, -1, kept["labels"])
        kept["ids"] = jnp.where(empty, -1, kept["ids"])
        if buffers.policy == "fifo":
            ranks = jnp.arange(buffers.capacity, dtype=jnp.int32)
            kept["priorities"] = jnp.where(empty, _EMPTY, ranks)
        halves.append(kept)
    arrays = {name: jnp.concatenate([half[name] for half in halves]) for name in halves[0]}
    return dataclasses.replace(buffers, **arrays)


def buffered_auc_loss(
    scores: jax.Array,
    labels: jax.Array,
    ids: jax.Array,
    buffers: ScoreBuffers,
    where: jax.Array | None = None,
    *,
    weights: jax.Array | None = None,
    surrogate: str = "logistic",
    implementation: str = "auto",
    margin: float = 0.0,
    temperature: float = 1.0,
    axis_name: str | None = None,
) -> jax.Array:
    r"""The pairwise AUC loss of a batch against itself and the buffers, eq. (3) of Sulam et al. 2017: a
    scalar.

    The pairs are those of opposite classes with at least one score of the batch B in them; partners are the
    batch's own scores and the stored ones, without the older copies of samples that are in the batch. With P
    and N the (weighted) numbers of positives and negatives in batch and buffers together,

    .. math:: L_B = \frac{P + N}{|B|} \frac{1}{P N} \sum_{(i, j): i \in B \lor j \in B} w_i w_j \, l(n_j -
    p_i)

    so the gradient by a score of the batch is (P + N) / |B| times that by the same score of the loss over
    everything that is stored: its mean over the batches of an epoch is the gradient of the full loss, up to
    the age of the stored scores. With empty buffers L_B is `pairwise_auc_loss` of the batch; with large ones
    its value is near twice the full loss, for a pair then comes up with each of its two samples. Where `reservoir`
    and `fifo` hold different shares of the two classes, a score of the class with the smaller share counts as
    many times more: P : N stays the ratio of the classes that were offered. 0, with gradient 0, while batch and
    buffers lack a class.

    scores: float[b], the only ones that carry gradient. labels, where, weights, surrogate, implementation,
    margin, temperature, axis_name, errors: as in `pairwise_auc_loss`. ids: int[b], as in `update`.
    """
    scores, positive, negative = class_weights(scores, labels, where, weights)
    labels, ids, valid = _checked(scores, labels, ids, where)
    ids, valid = _of_all(ids, axis_name), _of_all(valid, axis_name)
    old = _superseded(buffers, ids, valid, axis_name)
    stored = jnp.where(old, 0, _stored_weights(buffers)).astype(scores.dtype)
    if axis_name is not None and buffers.policy != "all":
        stored /= lax.axis_size(axis_name)  # every device holds all of them
    stored_positive = jnp.where(buffers.labels == 1, stored, 0)
    stored_negative = jnp.where(buffers.labels == 0, stored, 0)
    both = jnp.concatenate([scores, jax.lax.stop_gradient(buffers.scores).astype(scores.dtype)])
    options = {
        "surrogate": surrogate,
        "implementation": implementation,
        "margin": margin,
        "temperature": temperature,
        "axis_name": axis_name,
    }
    nothing, nothing_stored = jnp.zeros_like(positive), jnp.zeros_like(stored)
    all_negative = jnp.concatenate([negative, stored_negative])
    total = pairwise_sum(both, jnp.concatenate([positive, nothing_stored]), all_negative, **options)
    total += pairwise_sum(
        both,
        jnp.concatenate([nothing, stored_positive]),
        jnp.concatenate([negative, nothing_stored]),
        **options,
    )
    size = jnp.sum(positive) + jnp.sum(negative)
    p, n = jnp.sum(positive) + jnp.sum(stored_positive), jnp.sum(all_negative)
    if axis_name is not None:
        size, p, n = lax.psum((size, p, n), axis_name)
    defined = (size > 0) & (p > 0) & (n > 0)
    return total * jnp.where(defined, (p + n) / jnp.where(defined, size * p * n, 1), 0)


def _stored_weights(buffers):
    """float32[slots]: what a stored score counts, 0 in an empty slot, 1 in the class of which the larger share is held."""
    filled = (buffers.labels >= 0).astype(jnp.float32)
    if buffers.policy == "all":
        return filled
    counts = buffers.counts()
    offers_a_score = jnp.where(counts > 0, buffers.offered / jnp.maximum(counts, 1), jnp.inf)
    least = jnp.min(offers_a_score)
    # with room left in both classes nothing was ever left out, and the counts themselves are exact
    known = (counts > 0) & jnp.isfinite(least) & jnp.any(counts == buffers.capacity)
    factors = jnp.where(known, offers_a_score / jnp.where(jnp.isfinite(least), least, 1), 1)
    return filled * jnp.take(factors, jnp.maximum(buffers.labels, 0))


def _superseded(buffers, ids, valid, axis_name):
    """bool[slots]: whether the batch holds a newer score of the sample in the slot."""
    if buffers.policy == "all":
        slots = buffers.scores.shape[0]
        target = _slots(buffers, ids, valid, axis_name)
        return jnp.zeros(slots, bool).at[target].set(True, mode="drop")
    return jnp.any((buffers.ids[:, None] == ids[None, :]) & valid, axis=1)


def _checked(scores, labels, ids, where):
    """Labels, ids and mask of a batch as arrays of one shape; a sample with a negative id is padding."""
    labels, ids = jnp.asarray(labels), jnp.asarray(ids)
    where = jnp.ones(scores.shape, bool) if where is None else jnp.asarray(where).astype(bool)
    for name, array in (("labels", labels), ("ids", ids), ("where", where)):
        if array.shape != scores.shape:
            raise ValueError(
                f"scores and {name} differ in shape: {scores.shape} and {array.shape}; pass one per score"
            )
    return labels.astype(jnp.int32), ids.astype(jnp.int32), where & (ids >= 0)
