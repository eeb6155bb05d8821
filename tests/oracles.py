"""Slow, obvious versions of what the library does cleverly. They share no code with it but records.

Loops over steps and layers in Python, weights as matrices W + w, the internal gradient taken with
respect to the matrix itself.
"""

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.types import LayerShape


def memory_oracle(shape, alpha, beta, writes):
    """Applies writes to a zero matrix, entry by entry, in NumPy.

    A write is (left, right, rate, keep) or (left, right, rate, keep, momentum), with left and right
    of one term or of several. A keep of as many numbers as there are inputs is per input.
    """
    weight, bias = np.zeros(shape), np.zeros(shape.outputs)
    speed, bias_speed = np.zeros(shape), np.zeros(shape.outputs)
    for left, right, rate, keep, *momentum in writes:
        rate = np.broadcast_to(rate, shape.outputs)
        per_input = np.shape(keep) == (shape.inputs,)
        keep = np.broadcast_to(keep if per_input else np.reshape(keep, (-1, 1)), shape)
        lefts, rights = np.atleast_2d(left), np.atleast_2d(right)
        slowed = momentum[0] if momentum else 0.0
        for o in range(shape.outputs):
            for i in range(shape.inputs):
                product = sum(lefts[n, o] * rights[n, i] for n in range(len(lefts)))
                speed[o, i] = slowed * speed[o, i] + rate[o] * alpha[o, i] * product
                weight[o, i] = keep[o, i] * weight[o, i] + speed[o, i]
            bias_speed[o] = slowed * bias_speed[o] + rate[o] * beta[o] * lefts[:, o].sum()
            bias[o] = (1 if per_input else keep[o, 0]) * bias[o] + bias_speed[o]
    return weight, bias


def alpha_matrix(synapse, shape: LayerShape):
    """alpha [O, I] and beta [O] of any mode, written out."""
    alpha = np.ones(shape)
    if synapse.alpha is not None:
        alpha = alpha * np.asarray(synapse.alpha)
    if synapse.alpha_out is not None:
        alpha = alpha * np.broadcast_to(np.asarray(synapse.alpha_out), shape.outputs)[:, None]
    if synapse.alpha_in is not None:
        alpha = alpha * np.asarray(synapse.alpha_in)[None, :]
    beta = np.zeros(shape.outputs) if synapse.beta is None else np.asarray(synapse.beta)
    return alpha, np.broadcast_to(beta, shape.outputs)


def plain_episode(slow, plasticity, inputs, *, settings, rule, outputs, heads, window, truncated):
    """The plastic Transformer (no positions, no dropout) as one Python loop: outputs [T, O].

    Fast weights are matrices; in `truncated` mode each is made a constant when it is written.
    """
    p = slow["params"]
    layers = sorted(k for k in p if k.startswith("block_"))
    fast = {
        f"{b}/{fc}": [
            jnp.zeros(p[b][fc]["kernel"].shape[::-1]),
            jnp.zeros(p[b][fc]["bias"].shape),
        ]
        for b in layers
        for fc in ("fc1", "fc2")
    }
    history = {b: [] for b in layers}
    answers = []
    for x in inputs:

        def forward(fast, x=x, history=history):
            h = x @ p["embed"]["kernel"] + p["embed"]["bias"]
            seen, new = {}, {}
            for b in layers:
                normed = _norm(h, p[b]["attention_norm"])
                q, k, v = jnp.split(
                    normed @ p[b]["attention"]["query_key_value"]["kernel"]
                    + p[b]["attention"]["query_key_value"]["bias"],
                    3,
                )
                new[b] = (k, v)
                past = [*history[b], (k, v)]
                if window:
                    past = past[-(max(window, 0) + 1) :]
                mixed = _attend(q, past, heads)
                h = (
                    h
                    + mixed @ p[b]["attention"]["out"]["kernel"]
                    + p[b]["attention"]["out"]["bias"]
                )
                pre1 = _norm(h, p[b]["feed_forward_norm"])
                post1 = _plastic(pre1, p[b]["fc1"], fast[f"{b}/fc1"])
                pre2 = jax.nn.gelu(post1, approximate=False)
                post2 = _plastic(pre2, p[b]["fc2"], fast[f"{b}/fc2"])
                seen |= {f"{b}/fc1": (pre1, post1, pre2), f"{b}/fc2": (pre2, post2, post2)}
                h = h + post2
            raw = _norm(h, p["final_norm"]) @ p["head"]["columns"]["kernel"]
            raw = raw + p["head"]["columns"]["bias"]
            return raw, seen, new

        raw, seen, new = forward(fast)
        answers.append(raw[:outputs])
        modulator = raw[outputs]
        if rule == "gradient":
            # The order of the concatenation matters: answers, auxiliaries, modulator.
            def internal(fast, forward=forward):
                raw = forward(fast)[0]
                everything = jnp.concatenate(
                    [raw[:outputs], raw[outputs + 1 :], raw[outputs : outputs + 1]]
                )
                projection = plasticity.projection
                if settings.projection == "fixed":
                    projection = jax.lax.stop_gradient(projection)
                return jnp.mean((projection @ everything) ** 2)

            delta = jax.grad(internal)(fast)
        elif rule == "delta":
            delta = {}
            for n, (pre, post, _) in seen.items():
                error = post - 2 * (fast[n][0] @ pre + fast[n][1])  # slow part less fast part
                square = (pre**2).sum() if settings.normalise_pre else 1
                delta[n] = [jnp.outer(error, pre) / square, error]
        elif rule == "synthetic":
            delta = {}
            for n, (pre, post, _) in seen.items():
                *inner, last = plasticity.emitters[n]
                x = jnp.concatenate([pre, post, jnp.ones(1)])
                for matrix in inner:
                    x = jnp.maximum(matrix @ x, 0)
                delta[n] = [jnp.outer(last @ x, pre), last @ x]
        else:
            index = 2 if settings.post == "activation" else 1
            delta = {n: [jnp.outer(a[index], a[0]), a[index]] for n, a in seen.items()}
        square = sum((d[0] ** 2).sum() for d in delta.values())
        if settings.norm_biases:
            square = square + sum((d[1] ** 2).sum() for d in delta.values())
        norm = jnp.sqrt(square + 1e-8) + 1e-8
        unclipped = settings.eta0 / (1 + jnp.exp(-modulator))
        eta = (
            unclipped * jnp.minimum(1, settings.max_norm / norm) if settings.max_norm else unclipped
        )
        keep = 1 - settings.decay_ratio * (eta if settings.decay == "clipped" else unclipped)
        for n, (w, b) in fast.items():
            synapse = plasticity.synapses[n]
            alpha = _outer_alpha(synapse, w.shape)
            beta = 0.0 if synapse.beta is None else synapse.beta
            written = [keep * w + eta * alpha * delta[n][0], keep * b + eta * beta * delta[n][1]]
            fast[n] = jax.lax.stop_gradient(written) if truncated else written
        for b in layers:
            history[b].append(new[b])
    return jnp.stack(answers), fast


def _outer_alpha(synapse, shape):
    alpha = jnp.ones(shape)
    if synapse.alpha is not None:
        alpha = alpha * synapse.alpha
    if synapse.alpha_out is not None:
        alpha = alpha * jnp.broadcast_to(synapse.alpha_out, shape[:1])[:, None]
    return alpha if synapse.alpha_in is None else alpha * synapse.alpha_in[None, :]


def _plastic(x, slow, fast):
    return (slow["kernel"].T + fast[0]) @ x + slow["bias"] + fast[1]


def _norm(x, p):
    return (x - x.mean()) / jnp.sqrt(x.var() + 1e-5) * p["scale"] + p["bias"]


def _attend(q, past, heads):
    out = []
    width = q.shape[0] // heads
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        keys = jnp.stack([k[part] for k, _ in past])
        values = jnp.stack([v[part] for _, v in past])
        out.append(jax.nn.softmax(keys @ q[part] / jnp.sqrt(width)) @ values)
    return jnp.concatenate(out)


def stretches(steps, frozen):
    return [range(t, min(t + frozen, steps)) for t in range(0, steps, frozen)]


def self_modifying_oracle(xs, queries, memories, frozen, limit):
    """Answers, and the memories {name: M} after all steps; the gradient is taken of the loss."""

    def unit(x):
        return x / jnp.sqrt((x**2).sum())

    def loss(matrix, key, target):
        return ((matrix @ key - target) ** 2).sum() / 2

    answers, now = [], dict(memories)
    for stretch in stretches(len(xs), frozen):
        first = dict(now)
        for t in stretch:
            key, value = unit(first["key"] @ xs[t]), unit(first["value"] @ xs[t])
            rate = limit / (1 + jnp.exp(-(first["rate"] @ xs[t])[0]))
            keep = (1 / (1 + jnp.exp(-(first["keep"] @ xs[t])[0]))) ** (1 / 16)
            decay = keep * jnp.eye(len(key)) - rate * jnp.outer(key, key)
            for name, matrix in now.items():
                slope = jax.grad(loss)(first[name], key, first[name] @ value)
                now[name] = matrix @ decay - rate * slope
            answers.append(first["memory"] @ queries[t])
    return jnp.stack(answers), now


def level_oracle(tokens, nets, period):
    """Answers, and the weights {layer: W} after all steps, of a level with tokens {name: [T]}."""

    def net(weights, z):
        hidden = weights["W1"] @ z
        return weights["W2"] @ (hidden / (1 + jnp.exp(-hidden)))

    def loss(weights, key, value):
        return ((net(weights, key) - value) ** 2).sum() / 2

    answers, weights = [], dict(nets)
    for stretch in stretches(len(tokens["key"]), period):
        answers += [net(weights, tokens["query"][t]) for t in stretch]
        slopes = [
            jax.tree.map(
                lambda g, t=t: tokens["rate"][t] * g,
                jax.grad(loss)(weights, tokens["key"][t], tokens["value"][t]),
            )
            for t in stretch
        ]
        weights = jax.tree.map(lambda w, *gs: w - sum(gs), weights, *slopes)
    return jnp.stack(answers), weights
