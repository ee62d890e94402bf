"""The loss of a batch beside stored scores: eq. (3) of Sulam et al. 2017, the online form of eq. (4)."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from mammojax.losses.buffers import ScoreBuffers, common_drift, local_slots, offer
from mammojax.losses.inputs import relative, scored
from mammojax.losses.pairwise import pairwise_sum


def buffered_auc_loss(
    scores: jax.Array,
    labels: jax.Array,
    ids: jax.Array,
    buffers: ScoreBuffers,
    *,
    where: jax.Array | None = None,
    weights: jax.Array | None = None,
    surrogate: str = "logistic",
    implementation: str = "auto",
    margin: float = 0.0,
    temperature: float = 1.0,
    stratified: bool = False,
    correct_drift: bool = False,
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

    stratified: for batches that are drawn class by class, where neither they nor what was offered shows the ratio of the
    classes. Each class of the batch is then normalised by itself, and the score of a partner is a constant,

    .. math:: L_B = \frac{1}{|B_+|} \sum_{i \in B_+} \frac{1}{N} \sum_j l(n_j - p_i) + \frac{1}{|B_-|} \sum_{j \in
        B_-} \frac{1}{P} \sum_i l(n_j - p_i)

    whose gradient is in the mean, again, that of the full loss, whatever share of the batch is positive.

    Scores drift together in training: then the batch's positives meet negatives that stand too low or too high, and its
    negatives the reverse, which weighs the two classes unequally. correct_drift: stored scores are moved by
    `buffers.common_drift` before they are paired, and where all scores moved alike that changes neither loss nor gradient
    (as soon as two samples of the batch are stored). Give it to `update` too.

    scores: float[b], the only ones that carry gradient. labels, where, weights, surrogate, implementation,
    margin, temperature, axis_name, errors: as in `pairwise_auc_loss`. ids: int[b], as in `update`; a sample with a
    negative id is padding, and of equal ids each counts as a sample of the batch. Give the weights to `update` too: a stored
    score counts with the weight that it was stored with.
    """
    brought, sound = offer(buffers, scores, labels, ids, where, axis_name)
    if correct_drift:
        change = common_drift(buffers, scores, labels, ids, where, axis_name=axis_name)
        buffers = dataclasses.replace(buffers, scores=buffers.scores + change)
    there = jnp.asarray(ids) >= 0
    where = there if where is None else there & jnp.asarray(where).astype(bool)
    scores, positive, negative, sound_here = scored(scores, labels, where, weights, axis_name)
    sound = (sound * sound_here).astype(scores.dtype)
    stored = jnp.where(_superseded(buffers, brought.ids, axis_name), 0, _stored_weights(buffers))
    stored = stored.astype(scores.dtype)
    if axis_name is not None and buffers.policy != "all":
        stored /= lax.axis_size(axis_name)  # every device holds all of them
    both = jnp.concatenate([scores * sound, lax.stop_gradient(buffers.scores).astype(scores.dtype)])
    nothing = jnp.zeros_like(positive)
    (own_p, stored_p), (own_n, stored_n) = (
        _in_two(jnp.concatenate([own, jnp.where(buffers.labels == c, stored, 0)]), len(nothing), axis_name)
        for own, c in ((positive, 1), (negative, 0))
    )
    options = {
        "surrogate": surrogate,
        "implementation": implementation,
        "margin": margin,
        "temperature": temperature,
        "axis_name": axis_name,
    }
    if stratified:
        partners = own_p + stored_p, own_n + stored_n
        return sound * _partnered(both, own_p, own_n, *partners, scores.shape[0], options)
    total = pairwise_sum(both, own_p, own_n + stored_n, **options) + pairwise_sum(
        both, stored_p, own_n, **options
    )
    # the sample weights of the batch are as large as they are; those of the pairs are relative
    size = jnp.sum(positive) + jnp.sum(negative)
    everything = size + jnp.sum(stored)
    p, n = jnp.sum(own_p + stored_p), jnp.sum(own_n + stored_n)
    if axis_name is not None:
        size, everything, p, n = lax.psum((size, everything, p, n), axis_name)
    defined = (size > 0) & (p > 0) & (n > 0)
    factor = jnp.where(defined, everything / jnp.where(defined, size, 1) / jnp.where(defined, p * n, 1), 0)
    return total * factor * sound


def _partnered(both, own_p, own_n, partner_p, partner_n, size, options):
    """The stratified form: the classes of the batch, one after the other, beside partners whose scores are constants.

    both: float[m], the scores of the batch, `size` of them, and the stored ones; the others: float[m], weights."""
    axis_name = options["axis_name"]
    everyone = jnp.concatenate([both[:size], lax.stop_gradient(both)])
    loss = jnp.zeros((), both.dtype)
    for own, partners, of_positives in ((own_p, partner_n, True), (own_n, partner_p, False)):
        own = jnp.concatenate([own[:size], jnp.zeros_like(both)])
        partners = jnp.concatenate([jnp.zeros_like(both[:size]), partners])
        total = pairwise_sum(everyone, *((own, partners) if of_positives else (partners, own)), **options)
        mine, theirs = jnp.sum(own), jnp.sum(partners)
        if axis_name is not None:
            mine, theirs = lax.psum((mine, theirs), axis_name)
        loss += total / jnp.where(mine * theirs > 0, mine * theirs, 1)
    return loss


def _in_two(weights, size, axis_name):
    """The weights of a class relative to the largest: those of the batch with zeros behind, zeros and the stored ones."""
    weights, _ = relative(weights, axis_name)
    return weights.at[size:].set(0), weights.at[:size].set(0)


def _stored_weights(buffers):
    """float32[slots]: what a stored score counts: 0 in an empty slot, its weight in the class of which the larger share is
    held, more in the other one."""
    filled = jnp.where(buffers.labels >= 0, buffers.weights, 0)
    if buffers.policy == "all":
        return filled
    counts = buffers.counts()
    offers_a_score = jnp.where(counts > 0, buffers.offered / jnp.maximum(counts, 1), jnp.inf)
    least = jnp.min(offers_a_score)
    # with room left in both classes nothing was ever left out, and the counts themselves are exact
    known = (counts > 0) & jnp.isfinite(least) & jnp.any(counts == buffers.capacity)
    factors = jnp.where(known, offers_a_score / jnp.where(jnp.isfinite(least), least, 1), 1)
    return filled * jnp.take(factors, jnp.maximum(buffers.labels, 0))


def _superseded(buffers, ids, axis_name):
    """bool[slots]: whether the batch holds a newer score of the sample in the slot. ids: of all devices, -1 for none."""
    if buffers.policy == "all":
        slots = buffers.scores.shape[0]
        return jnp.zeros(slots, bool).at[local_slots(buffers, ids, axis_name)].set(True, mode="drop")
    return jnp.any((buffers.ids[:, None] == ids[None, :]) & (ids >= 0)[None, :], axis=1)
