"""Episodes in which no plastic layer is written: all steps are computed at once."""

from functools import partial

import jax
import jax.numpy as jnp

from plasticity.associate import associate
from plasticity.backbone import FastRead
from plasticity.episode import answer_queries
from plasticity.heads import axes
from plasticity.memories import asked, opened
from plasticity.network import EpisodeState, EpisodeTrace, Network, NetworkState, Parameters
from plasticity.pieces import extended, initial_state, prepare, step_key, visible_steps
from plasticity.steps import join, length, no_fast_weights
from plasticity.types import Array, Key, PyTree, Token


def parallel_episode(
    network: Network,
    params: Parameters,
    inputs: PyTree,
    key: Key | None = None,
    queries: PyTree | None = None,
    state: NetworkState | None = None,
) -> EpisodeTrace:
    """Runs an episode in which no plastic layer is written, all steps at once.

    Arguments are those of `scan_episode`.
    """
    steps, backbone, slow = length(inputs), network.backbone, params.slow
    if state is None:
        state = initial_state(network, params, slots=0)
    x, prepared_queries, ahead = prepare(network, params, state, inputs, queries, key)
    dropout_key = step_key(key, state.position)
    position = state.position + jnp.arange(steps, dtype=jnp.int32)
    after = dict(state.fast)

    def recall(name: str, tokens: Token) -> Array:
        return asked(network, opened(network, after, 0), name, tokens)

    def write_and_answer(name: str, tokens: Token) -> Array:
        if not network.site_writes or name not in network.sites:
            return recall(name, tokens)
        rule, _ = network.at_site(name)
        run = partial(associate, rule, chunk=network.site_chunk)
        over_heads = jax.vmap(run, (axes(tokens, 1), 0), (1, 0))
        answers, after[name] = over_heads(tokens, after[name])
        return answers

    fast = FastRead(no_fast_weights.read, write_and_answer, recall)
    out = backbone.forward(slow, (state.past,), x, position, fast, dropout_key, False)
    past = extended(state.past, out.entry, visible_steps(network, state.past, steps))
    end = NetworkState(after, past, ahead, state.position + steps)
    tokens = {name: out.activities[name] for name in network.sites}
    if queries is None:
        return EpisodeTrace(out.outputs, {}, tokens, end)
    episode = EpisodeState(opened(network, after, 0), (state.past, out.entry))
    dropout_key = step_key(key, end.position)
    answers = answer_queries(network, params, episode, prepared_queries, end.position, dropout_key)
    return EpisodeTrace(join(out.outputs, answers), {}, tokens, end)
