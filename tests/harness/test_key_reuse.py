"""A key that is used twice is refused wherever that happens, and one that is used once is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import KeyReuseError

draw = jax.random.bits


def twice(key):
    return draw(key), draw(key)


def inside(key):
    return jax.jit(twice)(key)


def after_a_compiled_use(key):
    jax.jit(draw)(key)
    return draw(key)


def closed_over(key):
    use = jax.jit(lambda x: x + draw(key))
    return use(1), use(2)


def split_and_used(key):
    jax.random.split(key)
    return draw(key)


def slices_that_meet(key):
    keys = jax.random.split(key, 4)
    jax.vmap(draw)(keys)
    return jax.vmap(draw)(keys[1:])


def every_turn_of_a_loop(key):
    return jax.lax.scan(lambda turn, _: (turn, draw(key)), 0, length=2)


def both_branches_then_once_more(key):
    jax.lax.cond(True, draw, lambda k: draw(k) + 1, key)
    return draw(key)


def seed_of_its_own(_):
    return jax.jit(lambda: twice(jax.random.key(0)))()


def made_and_used_within(_):
    def used():
        key = jax.random.key(0)
        draw(key)
        return key

    return draw(jax.jit(used)())


def loop_over_split_keys(key):
    return jax.lax.scan(lambda turn, own: (turn, draw(own)), 0, jax.random.split(key, 3))


def slices_apart(key):
    keys = jax.random.split(key, 4)
    return jax.vmap(draw)(keys[:2])


def folded(key):
    return [draw(jax.random.fold_in(key, i)) for i in range(2)]


def arrays_without_keys(_):
    x = jnp.arange(6.0)
    return jnp.concatenate([x[1:], x[:2]]), jax.lax.scan(lambda c, r: (c + r, r), 0.0, x)


TWICE = [
    twice,
    inside,
    after_a_compiled_use,
    closed_over,
    split_and_used,
    slices_that_meet,
    every_turn_of_a_loop,
    both_branches_then_once_more,
    seed_of_its_own,
    made_and_used_within,
]
ONCE = [loop_over_split_keys, slices_apart, folded, arrays_without_keys]


@pytest.mark.parametrize("program", TWICE)
def test_a_key_used_twice_is_refused(program):
    with pytest.raises(KeyReuseError):
        program(jax.random.key(1))


@pytest.mark.parametrize("program", ONCE)
def test_a_key_used_once_is_not(program):
    """And what it makes is what it makes unwatched."""
    found = program(jax.random.key(1))
    with jax.debug_key_reuse(False):
        jax.tree.map(np.testing.assert_array_equal, found, program(jax.random.key(1)))
