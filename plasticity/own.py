"""Plastic layers in a network of one's own, of plain JAX, Linen, NNX, Equinox or anything else.

    pl = plastic(hebbian(eta0=1.0), {"hid": (32, 21), "out": (4, 32)})     # {layer: (O, I)}
    theta = pl.init(jax.random.key(1))

    def forward(params, carry, x, fast):                     # one step of one episode
        h = fast("hid", x, params["a"] @ x, jax.nn.relu)     # fast(layer, pre, slow, activation)
        return carry, (fast("out", h, params["b"] @ h), params["g"] @ h)    # answer, modulator []

    ys, state = run(pl, forward, params, theta, xs)          # xs [B, T, ...] -> ys [B, T, ...]
    ys, state = run(pl, forward, params, theta, more, state) # goes on, exactly
    y, state = step(pl, forward, params, theta, x, state)    # x [B, ...]: one step

`run` differentiates with the memory of one history of writes, as `plasticity.append_scan` does; a
`lax.scan` of one's own stores the state at every step.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from plasticity.arguments import check_fit, check_like, check_shape, leading_axes
from plasticity.backbone import Backbone, FastRead, Forward
from plasticity.carried import Carried, blank, carry_at
from plasticity.network import Network, NetworkState, Parameters
from plasticity.plastic_layers import Fast, Plastic
from plasticity.types import Array, Key, Outputs, Plasticity, PyTree
from plasticity.unroll import run_episodes

RETURNS = "forward(params, carry, x, fast) returns (carry, (answer, modulator)), for one episode"
StepFunction = Callable[[PyTree, PyTree, PyTree, Fast], tuple[PyTree, Any]]


def network_of(
    plastic: Plastic,
    forward: StepFunction,
    carry: PyTree = (),
    init: Callable[[Key], PyTree] | None = None,
) -> Network:
    """A network for `run_episodes` and `Learner`; its slow parameters are {"params", "carry"}.

    Args:
      plastic: its plastic layers.
      forward: (params, carry, x, fast) -> (carry, (answer, modulator [])), one step of one episode.
        In place of the pair it may return `Outputs`, with auxiliary numbers [A].
      carry: an example of the carry before the first step; its values do not count.
      init: (key) -> params of `forward`, which `Learner` trains; the carry then starts at zero.

    Raises:
      ValueError: the carry holds a key of JAX; parameters are asked for, and there is no `init`.
    """
    shape = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, carry))
    if any(jnp.issubdtype(a.dtype, jax.dtypes.extended) for a in jax.tree.leaves(shape)):
        raise ValueError(f"carry={shape} holds a key: carry jax.random.key_data(key) in its place")
    one = functools.partial(_one_step, plastic, forward, shape)

    def run(
        slow: PyTree,
        past: Sequence[Carried],
        x: PyTree,
        position: Array,
        read: FastRead,
        key: Key | None,
        independent: bool,
    ) -> Forward:
        del key  # dropout is the business of `forward`, with keys of its own in x
        before = carry_at(past, position[0] - 1, slow["carry"])

        def in_turn(carry: PyTree, x: PyTree) -> tuple[PyTree, tuple]:
            out = one(slow, carry, x, read)
            return out[2], out

        if len(position) == 1:
            only = one(slow, before, jax.tree.map(lambda a: a[0], x), read)
            out = jax.tree.map(lambda a: a[None], only)
        elif independent:
            out = jax.vmap(lambda x: one(slow, before, x, read))(x)
        else:
            out = jax.lax.scan(in_turn, before, x)[1]
        return Forward(out[0], out[1], Carried(out[2], position))

    backbone = Backbone(
        init=functools.partial(_slow, init, shape),
        shapes=plastic.layers,
        head=plastic.head,
        prepare=_as_they_are,
        forward=run,
        blank=functools.partial(blank, shape),
        window=1,
        sites=plastic.site_shapes(),
    )
    rule, memory = plastic.rule, plastic.memory
    return Network(backbone, rule, memory, site_rule=rule, site_memory=memory)


def _slow(init: Callable[[Key], PyTree] | None, shape: PyTree, key: Key) -> dict[str, PyTree]:
    """Slow parameters at the start of training."""
    if init is None:
        raise ValueError("network_of was given no init=, which makes the params of forward")
    return {"params": init(key), "carry": jax.tree.map(jnp.zeros_like, shape)}


def _one_step(
    plastic: Plastic,
    forward: StepFunction,
    shape: PyTree,
    slow: PyTree,
    carry: PyTree,
    x: PyTree,
    read: FastRead,
) -> tuple[Outputs, dict[str, Any], PyTree]:
    """Outputs, activities and the carry of one step; `shape` is that of the carry before it."""
    fast = Fast(plastic, read)
    try:
        after, out = forward(slow["params"], carry, x, fast)
        out = out if isinstance(out, Outputs) else _outputs(out)
    except Exception as error:
        sizes = [jnp.shape(a) for a in jax.tree.leaves(x)]
        held = [jnp.shape(a) for a in jax.tree.leaves(carry)]
        error.add_note(
            f"{RETURNS}. Here x, without axes B and T, has leaves of shapes {sizes}, and the carry "
            f"{held or 'is empty, as `run` was given none (carry=)'}."
        )
        raise
    carry = jax.tree.map(jnp.asarray, after)
    check_like("the carry that forward returns", carry, shape, dtypes=True)
    if missing := (plastic.layers | plastic.sites).keys() - fast.activities:
        raise ValueError(f"forward does not call the layers {sorted(missing)}")
    check_shape(out.modulator, (), "modulator")
    if plastic.rule.internal_loss is not None:
        size = plastic.head - 1 - len(out.auxiliary)
        check_shape(out.task, (size,), f"answer, of which the rule reads head={plastic.head}")
    return out, fast.activities, carry


def _as_they_are(
    slow: PyTree, ahead: PyTree, inputs: PyTree, queries: PyTree, position: Array, key: Any
) -> tuple[PyTree, PyTree, PyTree]:
    del slow, position, key
    return inputs, queries, ahead


def _outputs(pair: Any) -> Outputs:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(
            f"what forward returns behind the carry is a {type(pair).__name__} in place of "
            "(answer, modulator) or Outputs"
        )
    answer, modulator = pair
    modulator = jnp.asarray(modulator, jnp.result_type(modulator, float))
    return Outputs(answer, modulator, jnp.zeros((0,), jnp.result_type(float)))


def run(
    plastic: Plastic,
    forward: StepFunction,
    params: PyTree,
    theta: Plasticity,
    xs: PyTree,
    state: NetworkState | None = None,
    carry: PyTree = (),
) -> tuple[PyTree, NetworkState]:
    """Runs B episodes of T steps, all in one program: differentiable, mapped over episodes.

    Call it within `jax.jit`: outside it, every call compiles. `jax.jvp` and `jax.jacfwd` work with
    the engine "dense" and under `none` only. `jax.shard_map` around it needs check_vma=False.

    Args:
      plastic: the plastic layers.
      forward: one step of one episode, see `network_of`.
      params: slow weights, whose first floating array sets the dtype of inputs (fast: >= float32).
      theta: `Plastic.init`, trained or not.
      xs: inputs of the steps, leaves [B, T, ...], T > 0. Floating ones are cast to that dtype.
      state: that the piece before returned; None: fast weights start at zero.
      carry: before the first step of an episode, of one episode; a `state` holds it afterwards.

    Returns:
      The answers [B, T, ...] and the state after the last step.

    Raises:
      ValueError: an argument does not fit; the message names it.

    >>> import jax, jax.numpy as jnp
    >>> import plasticity as P
    >>> pl = P.plastic(P.hebbian(eta0=1.0), {"out": (2, 3)})
    >>> theta = pl.init(jax.random.key(0))
    >>> def forward(params, carry, x, fast):
    ...     return carry, (fast("out", x, params @ x), x.sum())  # answer, modulator
    >>> params, xs = jnp.ones((2, 3)), jnp.ones((8, 5, 3))
    >>> ys, state = P.run(pl, forward, params, theta, xs)
    >>> ys.shape
    (8, 5, 2)
    >>> y, state = P.step(pl, forward, params, theta, xs[:, 0], state)  # goes on, by one step
    >>> y.shape, int(state.position)
    ((8, 2), 6)
    """
    episodes = leading_axes("xs", xs, "B", "T")[0]
    if state is not None:
        if jax.tree.leaves(carry):
            raise ValueError("carry is given beside state, which holds the carry of the last step")
        carry = jax.tree.map(lambda a: jnp.zeros(a.shape[2:], a.dtype), state.past.value)
    made = network_of(plastic, forward, carry)
    slow = {"params": params, "carry": jax.tree.map(jnp.asarray, carry)}
    parameters = Parameters(slow, theta)
    check_fit(made, parameters, state, episodes)
    trace = run_episodes(made, parameters, xs, state=state)
    return trace.outputs.task, trace.state


def step(
    plastic: Plastic,
    forward: StepFunction,
    params: PyTree,
    theta: Plasticity,
    x: PyTree,
    state: NetworkState | None = None,
    carry: PyTree = (),
) -> tuple[PyTree, NetworkState]:
    """One step of B episodes, x [B, ...] -> answers [B, ...], for inference; see `run`.

    With the engines dense and chunked the state has a constant size: under `jax.jit` one program
    serves all steps but the first, which has no state.

    Raises:
      ValueError: an argument does not fit; the message names it.
    """
    leading_axes("x", x, "B")
    x = jax.tree.map(lambda a: jnp.asarray(a)[:, None], x)
    ys, state = run(plastic, forward, params, theta, x, state, carry)
    return jax.tree.map(lambda a: a[:, 0], ys), state
