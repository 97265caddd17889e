"""No key is used twice: the check of JAX, at no cost to operations that meet no key."""

from typing import Any

import jax
from jax.experimental.key_reuse import _core as checker

NOTHING = checker.KeyReuseSignature()  # uses no key and makes none


def watch() -> None:
    """Switch the check on for the whole process.

    To know what a slice or a loop does to keys, JAX traces it anew at every call: 2 ms each, and a
    third of the run of these tests. What is given no key has none to use.
    """
    jax.config.update("jax_debug_key_reuse", True)
    checker.key_reuse_signature_from_primitive = _only_near_keys(
        checker.key_reuse_signature_from_primitive
    )


def _only_near_keys(signature):
    def key_reuse_signature_from_primitive(primitive, *args: Any, **params: Any):
        known = checker.key_reuse_signatures.get(primitive)
        traced = isinstance(known, checker.DynamicKeyReuseSignature)
        if traced and primitive is not checker.pjit.jit_p and not any(map(_is_key, args)):
            return NOTHING
        return signature(primitive, *args, **params)

    return key_reuse_signature_from_primitive


def _is_key(value: Any) -> bool:
    return isinstance(value, checker.prng.PRNGKeyArray)
