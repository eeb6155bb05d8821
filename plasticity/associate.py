"""Memory sites: a memory that is written and read by keys, values and queries of all steps.

Nothing at a memory site depends on the head of the network, so many steps can be computed at once.
There are three ways. Each rule gets the fastest one that is exact for it (`_path`):

  by chunks     one triangular solve per chunk of steps, for rules that are linear in the state
                (`plasticity.parallel`)
  by stretches  for frozen rules, whose writes are computed at the state before a stretch of tokens
                (`plasticity.frozen`, `plasticity.made_tokens`)
  by steps      for all other rules (`plasticity.site_steps`); the definition of the other two
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from plasticity import target
from plasticity.frozen import run_frozen
from plasticity.made_tokens import run_made
from plasticity.marks import Marks
from plasticity.memory.contract import check_chunk
from plasticity.memory.dense import TraceMatrix, dense
from plasticity.parallel import plan_chunk, run_chunk
from plasticity.site_steps import Layers, Steps, by_steps, site_of
from plasticity.steps import pieces_of, run_pieces
from plasticity.tokens import check_marks, check_state, check_tokens, each_write, prepared_shape
from plasticity.types import KEEP, Array, Rule, Token


def associate(
    rule: Rule,
    tokens: Token,
    state: Any = None,
    *,
    chunk: int = 32,
    initial: Any = None,
    reset: Array | None = None,
    valid: Array | None = None,
) -> tuple[Array, Any]:
    """Writes and reads a memory at T steps, of one head and one episode; `jax.vmap` adds both.

    All is computed in float32 at least. The answers have the dtype of `value`. The state that is
    returned has the dtype of the given one, or that of the computation if none was given. Under
    `jax.default_matmul_precision("BF16_BF16_F32")`, accelerators round the operands of all products
    to bfloat16, those of the triangle included; sums and the state remain float32. Call it within
    `jax.jit`: outside it, every call compiles.

    Args:
      rule: with a `Site`.
      tokens: query, key [T, I], value [T, O]; rate and keep [T, ...] or one number for all steps;
        gates [T, ...]. Of a rule that writes N times per token: key [T, N, I], value [T, N, O],
        rate [T, N].
      state: `TraceMatrix` before the first step, or {layer: TraceMatrix} if the memory has several
        layers; None: `initial`. Every call starts a new stretch of a frozen rule.
      chunk: steps that are computed at once, where the rule allows it; a frozen rule takes
        `Site.frozen` steps instead. Rules that go step by step store the state, for training, every
        `chunk` steps. 0: step by step, every state is stored.
      initial: the memory before anything is written, like `state`; None: empty, of one layer.
      reset: [T] bool, steps before which the memory starts anew from `initial`, as at the first
        token of each document of a packed sequence. A frozen rule then takes the gradients of the
        rest of the stretch at `initial`. None: no step.
      valid: [T] bool; a step that is not valid leaves the state as it is, and its answer has no
        meaning. Its numbers have to be finite. None: all steps are valid.

    Returns:
      The answers [T, O], and the state after the last step, to go on from.

    Raises:
      ValueError: the rule has no meaning at a memory site, or sizes do not go together.

    >>> import jax.numpy as jnp, plasticity as P
    >>> keys, values = jnp.eye(3), jnp.arange(6.0).reshape(3, 2)
    >>> answers, state = P.associate(P.delta(), P.Token(keys, keys, values))  # written, then read
    >>> answers.tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    site, chunk = site_of(rule), check_chunk("associate", chunk, 0)
    tokens = check_tokens(site, rule.form, tokens)
    marks = check_marks(Marks(reset, valid), len(tokens.key))
    if initial is None and (state is None or reset is not None):
        initial = _empty(rule, tokens, "state" if state is None else "initial")
    given = initial if state is None else state
    layers = check_state(site, rule.form, tokens, given, "state")
    anew = None if reset is None else check_state(site, rule.form, tokens, initial, "initial")
    cast, start, anew = _in_float32((tokens, layers, anew))
    steps, start = each_write(site, cast, marks), _varying(start, cast)
    answers, after = _path(rule)(rule, steps, start, anew, chunk * site.writes)
    answers = answers[site.writes - 1 :: site.writes]
    after = jax.tree.map(lambda a, old: a.astype(old.dtype), after, layers)
    return answers.astype(tokens.value.dtype), after if isinstance(given, dict) else after[""]


def _in_float32(tree: Any) -> Any:
    """All numbers in their common type, in float32 at least."""
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves(tree)))
    return jax.tree.map(lambda a: a.astype(dtype), tree)


def initial_state(rule: Rule, tokens: Token) -> TraceMatrix:
    """The empty memory for such tokens [T, ...].

    Raises:
      ValueError: the memory has several layers, which do not start empty.
    """
    return _empty(rule, check_tokens(site_of(rule), rule.form, tokens), "state")


def _empty(rule: Rule, tokens: Token, missing: str) -> TraceMatrix:
    """See `initial_state`; `missing` is the argument that is not given."""
    site = site_of(rule)
    dtype = jnp.result_type(jnp.float32, *(a.dtype for a in jax.tree.leaves(tokens)))
    shapes = site.layers(prepared_shape(site, jax.tree.map(lambda a: a[0], tokens)))
    if set(shapes) != {""} or not site.empty:
        raise ValueError(
            f"this memory, of layers {shapes}, does not start empty: give `{missing}`, the memory "
            "before the first step, a TraceMatrix for each layer"
        )
    return dense(form=rule.form).init(shapes[""], dtype)


def _path(rule: Rule) -> Any:
    """The fastest way to take the steps of a rule."""
    site, form = site_of(rule), rule.form
    if site.tokens is not None and site.order != "read_before_stretch":
        raise ValueError(
            f"Site.order={site.order!r} must be 'read_before_stretch' for a rule with Site.tokens"
        )
    takes = {KEEP} if site.takes is None else set(site.takes)
    # `run_frozen` scales the writes of a stretch by the reach. That equals the definition only if
    # nothing is forgotten within the stretch, no momentum flows into it, and the order is not
    # "read_before_write". `run_made` takes plain linear memories only.
    unmapped = not (form.to_weights or form.settle or form.bias)
    nothing_lost = KEEP not in takes and not form.momentum
    plain = site.reach is None or (nothing_lost and site.order != "read_before_write")
    plain &= site.tokens is None or (site.reach is None and unmapped)
    if site.frozen > 1:
        return _by_stretches if form.keep == "scalar" and plain else by_steps
    one_triangle = form.keep in ("scalar", "input") and unmapped
    # Free reads scale the whole state by one factor per step. Keeps per input would need I factors.
    one_triangle &= form.keep == "scalar" or site.asks != "freely"
    solved = site.linear and site.tokens is None and one_triangle
    return _by_chunks if solved else by_steps


def _by_chunks(
    rule: Rule, steps: Steps, start: Layers, initial: Layers | None, chunk: int
) -> tuple[Array, Layers]:
    """By one triangular solve per chunk; training stores the states between groups of chunks."""
    if not chunk:
        return by_steps(rule, steps, start, initial, chunk)
    run = functools.partial(_run_group, rule, None if initial is None else initial[""], chunk)
    pieces, rest = pieces_of(steps, chunk * _group())
    after, answers = run_pieces(jax.checkpoint(run), start[""], pieces, rest)
    return answers, {"": after}


def _group() -> int:
    """Chunks that are planned at once: accelerators need the parallel work, CPUs their caches."""
    return 1 if target.platform() == "cpu" else 16


def _run_group(
    rule: Rule, initial: TraceMatrix | None, chunk: int, state: TraceMatrix, steps: Steps
) -> tuple[TraceMatrix, Array]:
    """The state after a group of chunks, and their answers."""
    site = site_of(rule)
    plan = functools.partial(plan_chunk, site, rule.form)
    run = functools.partial(run_chunk, site, rule.form, initial)
    if len(steps[0].key) <= chunk:
        return run(state, plan(steps))  # `jax.vmap` over one chunk would cost time
    pieces, rest = pieces_of(steps, chunk)
    return run_pieces(run, state, jax.vmap(plan)(pieces), None if rest is None else plan(rest))


def _by_stretches(
    rule: Rule, steps: Steps, start: Layers, initial: Layers | None, chunk: int
) -> tuple[Array, Layers]:
    """By the writes of a whole stretch, all taken at its start."""
    if not chunk:
        return by_steps(rule, steps, start, initial, chunk)
    site = site_of(rule)
    run_stretch = run_frozen if site.tokens is None else run_made
    run = jax.checkpoint(functools.partial(run_stretch, site, rule.form, initial))
    pieces, rest = pieces_of(steps, site.frozen)
    after, answers = run_pieces(run, start, pieces, rest)
    return answers, after


def _varying(state: Layers, tokens: Token) -> Layers:
    """The same state, made to depend on the tokens.

    Inside `jax.shard_map`, a carry must vary over devices like what is written to it.
    """
    some = [(array[:1] > 0).any() for array in jax.tree.leaves(tokens)]
    depends = functools.reduce(jnp.logical_or, some)
    return jax.tree.map(lambda a: jnp.where(depends, a, a), state)
