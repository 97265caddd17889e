"""A causal transformer with rotary positions in float64, and small .gguf files to read it from.

What the port must equal; several heads share the keys of a group.
"""

import equinox as eqx
import gguf
import numpy as np

TOLERANCE = 1e-4  # of the norm; seen: 2e-6 over 2 layers, 2e-5 over 30
SIZES = {"layers": 2, "n": 32, "inner": 64, "heads": 4, "groups": 2, "context": 64}
ROWS = 100  # more than one part of them
BASE, EPSILON = 1e5, 1e-5
MERGES = ["t h", "Ġ th", "Ġth e", "e r", "i n", "in g"]
TEXT = "The answer: 2048 naïve cells,\n\n  isn't 北 the <|im_end|> thing\t…" * 9


def alphabet():
    """The 256 symbols of byte-level encoding, in order of bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]


TOKENS = ["<|im_end|>", *alphabet(), *(merge.replace(" ", "") for merge in MERGES)]


def random_tensors(seed=0):
    rng, z = np.random.default_rng(seed), SIZES
    shared = z["n"] // z["heads"] * z["groups"]
    shapes = {"token_embd": (len(TOKENS), z["n"]), "output_norm": (z["n"],)}
    for i in range(z["layers"]):
        shapes |= {f"blk.{i}.{name}_norm": (z["n"],) for name in ("attn", "ffn")}
        shapes |= {f"blk.{i}.attn_{name}": (z["n"], z["n"]) for name in ("q", "output")}
        shapes |= {f"blk.{i}.attn_{name}": (shared, z["n"]) for name in "kv"}
        shapes |= {f"blk.{i}.ffn_{name}": (z["inner"], z["n"]) for name in ("gate", "up")}
        shapes |= {f"blk.{i}.ffn_down": (z["n"], z["inner"])}
    return {
        f"{name}.weight": rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)
        if len(shape) == 2
        else rng.uniform(0.5, 2.0, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def write(path, tensors, *, kind=None, architecture="llama", **changed):
    """A .gguf with the names of the real one; matrices quantized when a kind is given."""
    writer = gguf.GGUFWriter(path, architecture)
    sizes = SIZES | changed
    writer.add_block_count(sizes["layers"])
    writer.add_embedding_length(sizes["n"])
    writer.add_feed_forward_length(sizes["inner"])
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["groups"])
    writer.add_context_length(sizes["context"])
    writer.add_rope_freq_base(BASE)
    writer.add_rope_dimension_count(sizes.get("turned", sizes["n"] // sizes["heads"]))
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_tokenizer_model(sizes.get("tokenizer", "gpt2"))
    writer.add_tokenizer_pre(sizes.get("pre", "smollm"))
    writer.add_token_list(sizes.get("tokens", TOKENS))
    writer.add_token_merges(sizes.get("merges", MERGES))
    for name, tensor in tensors.items():
        if kind is not None and tensor.ndim == 2:
            packed = gguf.quants.quantize(tensor, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored(path):
    """What the file holds, by the package's own reader."""
    return {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors
    }


def rms(h, weight):
    return h / np.sqrt(np.mean(h**2, axis=-1, keepdims=True) + EPSILON) * weight


def rotate(x, halves):
    """Positions turned by their index: as complex numbers of neighbouring pairs, or of halves."""
    length, d = x.shape[-2:]
    turn = np.exp(1j * np.arange(length)[:, None] * BASE ** (-2 * np.arange(d // 2) / d))
    if halves:
        out = (x[..., : d // 2] + 1j * x[..., d // 2 :]) * turn
        return np.concatenate([out.real, out.imag], axis=-1)
    out = (x[..., ::2] + 1j * x[..., 1::2]) * turn
    return np.stack([out.real, out.imag], axis=-1).reshape(x.shape)


def attention(q, k, v, heads, groups, mistake):
    """Head by head; query head i reads the keys of group i // (heads / groups)."""
    length, d, out = q.shape[1], q.shape[2] // heads, []
    allowed = np.tril(np.ones((length, length), bool))
    for i in range(heads):
        j = i % groups if mistake == "heads of a group apart" else i * groups // heads
        mine = rotate(q[..., i * d : (i + 1) * d], mistake == "rotation of halves")
        theirs = rotate(k[..., j * d : (j + 1) * d], mistake == "rotation of halves")
        scores = mine @ theirs.swapaxes(1, 2) / np.sqrt(d)
        weight = np.exp(np.where(allowed, scores, -np.inf))
        out.append(weight / weight.sum(axis=-1, keepdims=True) @ v[..., j * d : (j + 1) * d])
    return np.concatenate(out, axis=-1)


def forward(tokens, tensors, heads=SIZES["heads"], groups=SIZES["groups"], mistake=None):
    """Latents of texts of one length in float64, layer by layer."""
    h = tensors["token_embd.weight"][tokens].astype(np.float64)
    for i in range(sum(name.endswith("attn_q.weight") for name in tensors)):
        names = [name for name in tensors if name.startswith(f"blk.{i}.")]
        own = {name.split(".")[2]: tensors[name].astype(np.float64) for name in names}
        x = rms(h, own["attn_norm"])
        q, k, v = (x @ own[f"attn_{name}"].T for name in "qkv")
        h = h + attention(q, k, v, heads, groups, mistake) @ own["attn_output"].T
        x = rms(h, own["ffn_norm"])
        gate = x @ own["ffn_gate"].T
        h = h + (gate / (1 + np.exp(-gate)) * (x @ own["ffn_up"].T)) @ own["ffn_down"].T
    return h if mistake == "no last norm" else rms(h, tensors["output_norm.weight"])


def random_tokens(rows=ROWS, length=12, size=None):
    drawn = np.random.default_rng(0).integers(0, size or len(TOKENS), (rows, length))
    return drawn.astype(np.int32)


def worst(found, expected):
    """The largest error of a row, relative to the row's norm."""
    error = np.linalg.norm(found - expected, axis=-1)
    return (error / np.linalg.norm(expected, axis=-1)).max()


def check_generation(port, prompts, steps):
    """Greedy tokens, whose rows are fed back through the cache: the latents of the whole text."""
    advance, table = eqx.filter_jit(port.advance), np.asarray(port.table)
    context, z = port.begin(prompts, prompts.shape[1] + steps)
    text, latents = prompts, [z]
    for _ in range(steps):
        token = np.argmax(latents[-1] @ table.T, axis=1)
        text = np.column_stack([text, token])
        context, z = advance(context, z, port.table[token])
        latents.append(z)
    expected = port.hidden(text)[:, prompts.shape[1] - 1 :]
    assert worst(np.stack(latents, axis=1), expected) < TOLERANCE
    np.testing.assert_array_equal(context.length, text.shape[1])
    return text
