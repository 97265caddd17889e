"""The JAX port against a plain NumPy forward written here, on random and on the real weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory.bridge import catalog, g2p_en
from theory.bridge.corpus import english_words
from theory.bridge.g2p_en import G2P, GRAPHEMES, LENGTHS, PHONEMES, STEPS, STOP

TOLERANCE = 1e-4  # float32 over at most 85 recurrent steps; seen: below 3e-5
WORDS = ["a", "zebra", "geometry", "internationalization", "z" * (LENGTHS[-1] - 1)]


def random_tensors(embedding=6, hidden=5, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"enc_emb": (29, embedding), "dec_emb": (74, embedding)}
    for side in ("enc", "dec"):
        shapes[f"{side}_w_ih"], shapes[f"{side}_w_hh"] = (
            (3 * hidden, embedding),
            (3 * hidden, hidden),
        )
        shapes[f"{side}_b_ih"] = shapes[f"{side}_b_hh"] = (3 * hidden,)
    shapes |= {"fc_w": (74, hidden), "fc_b": (74,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def real_path():
    try:
        return catalog.locate("g2p-en")
    except catalog.WeightsUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def real(real_path):
    return G2P.from_file(real_path)


@pytest.fixture(scope="module", params=["random", pytest.param("real", marks=pytest.mark.slow)])
def pair(request, tmp_path_factory):
    """A port, and the tensors it was read from."""
    if request.param == "real":
        path = request.getfixturevalue("real_path")
    else:
        path = tmp_path_factory.mktemp("g2p") / "random.npz"
        np.savez(path, **random_tensors())
    with np.load(path) as file:
        return G2P.from_file(path), dict(file)


def gru(x, h, tensors, side, reset_first=False):
    """One step in float64, gates r, z, n; `reset_first` is the other GRU: U(r ⊙ h)."""
    w, u, b, d = (
        tensors[f"{side}_{name}"].astype(np.float64) for name in ("w_ih", "w_hh", "b_ih", "b_hh")
    )
    size = len(h)
    own, past = w @ x + b, u @ h + d
    r = 1 / (1 + np.exp(-own[:size] - past[:size]))
    z = 1 / (1 + np.exp(-own[size : 2 * size] - past[size : 2 * size]))
    kept = u[2 * size :] @ (r * h) + d[2 * size :] if reset_first else r * past[2 * size :]
    return (1 - z) * np.tanh(own[2 * size :] + kept) + z * h


def forward(word, tensors, reset_first=False):
    """Phonemes, states and logits of the greedy decoding of one word, step by step."""
    h = np.zeros(tensors["fc_w"].shape[1])
    for letter in [*word, "</s>"]:
        h = gru(tensors["enc_emb"][GRAPHEMES.index(letter)], h, tensors, "enc", reset_first)
    phonemes, states, logits = [PHONEMES.index("<s>")], [], []
    while len(states) < STEPS and STOP not in phonemes:
        h = gru(tensors["dec_emb"][phonemes[-1]], h, tensors, "dec", reset_first)
        states.append(h)
        logits.append(tensors["fc_w"] @ h + tensors["fc_b"])
        phonemes.append(int(np.argmax(logits[-1])))
    return phonemes[1:], np.array(states), np.array(logits)


def test_alphabets():
    assert len(GRAPHEMES) == 29
    assert len(PHONEMES) == len(set(PHONEMES)) == 74
    assert list(PHONEMES[4:]) == sorted(PHONEMES[4:])
    assert PHONEMES[:4] == ("<pad>", "<unk>", "<s>", "</s>")


def test_port_equals_a_plain_forward(pair):
    model, tensors = pair
    words = english_words(100) + WORDS
    latents, scores = model.latents(words), model.head().scores
    for index, word in enumerate(words):
        mine = latents.word == index
        phonemes, states, logits = forward(word, tensors)
        assert latents.phoneme[mine].tolist() == phonemes, word
        np.testing.assert_array_equal(latents.step[mine], np.arange(len(phonemes)))
        np.testing.assert_allclose(latents.states[mine], states, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(
            scores(latents.states[mine]), logits, rtol=TOLERANCE, atol=TOLERANCE
        )


def test_a_nearly_right_cell_is_rejected(pair):
    """The GRU that resets before the matrix is the usual mistake: the comparison must see it."""
    model, tensors = pair
    _, states, _ = forward("geometry", tensors, reset_first=True)
    first = model.latents(["geometry"]).states[0]
    assert np.abs(first - states[0]).max() > 100 * TOLERANCE


def test_one_step_by_hand(pair):
    model, tensors = pair
    graphemes, lengths = g2p_en.spellings(["bridge"])
    state = model.encode(jnp.asarray(graphemes[0]), jnp.asarray(lengths[0]))
    state, logits = model.decode_step(jnp.asarray(g2p_en.START), state)
    _, states, expected = forward("bridge", tensors)
    np.testing.assert_allclose(state, states[0], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits, expected[0], rtol=TOLERANCE, atol=TOLERANCE)


def test_what_is_fed_back_is_read(pair):
    """Two words begun; then one reads its phoneme, the other an average."""
    model, tensors = pair
    phonemes, states, _ = forward("bridge", tensors)
    context, z = model.begin(["bridge", "bridge"])
    np.testing.assert_allclose(z, states[[0, 0]], rtol=0, atol=TOLERANCE)
    mean = np.full(74, 1 / 74) @ tensors["dec_emb"]
    fed = jnp.stack([model.table[phonemes[0]], jnp.asarray(mean, model.table.dtype)])
    context, z = model.advance(context, z, fed)
    soft = gru(mean, states[0], tensors, "dec")
    np.testing.assert_allclose(z, [states[1], soft], rtol=0, atol=TOLERANCE)
    assert jax.tree.leaves(context) == []


def test_what_was_said_ends_at_the_first_end():
    names = ["T", "</s>", "S", "</s>"]
    tokens = np.array([[PHONEMES.index(name) for name in names], [PHONEMES.index("S")] * 4])
    assert g2p_en.said(tokens) == [["T"], ["S"] * 4]


def test_batch_equals_one_by_one(pair):
    model, _ = pair
    words = english_words(g2p_en.CHUNK + 5)
    together = model.latents(words)
    for index in (0, 1, g2p_en.CHUNK - 1, g2p_en.CHUNK, len(words) - 1):
        alone, mine = model.latents([words[index]]), together.word == index
        np.testing.assert_array_equal(alone.phoneme, together.phoneme[mine])
        np.testing.assert_allclose(alone.states, together.states[mine], rtol=0, atol=1e-6)


def test_padding_is_not_read(pair):
    model, _ = pair
    short, long = model.latents(["bridge"]), model.latents(["bridge", "z" * LENGTHS[0]])
    mine = long.word == 0
    np.testing.assert_allclose(short.states, long.states[mine], rtol=0, atol=1e-6)


def test_known_pronunciations(real):
    assert real.spell("geometry") == ["JH", "IY2", "AH0", "M", "EH1", "T", "R", "IY0"]
    assert real.spell("bridge") == ["B", "R", "IH1", "JH"]


def test_latents_of_the_real_decoder(real):
    """Against numbers measured once, by another code, on another text: 12.5, 1.30, 0.82."""
    latents, head = real.latents(english_words(200)), real.head()
    assert latents.states.dtype == np.float32
    assert head.sites.shape == (74, 256)
    assert head.sites.dtype == jnp.float32
    assert len(np.unique(np.asarray(head.sites), axis=0)) == 74
    np.testing.assert_array_equal(head.label(latents.states), latents.phoneme)
    rows, offsets = np.asarray(head.sites, np.float64), np.asarray(head.offsets, np.float64)
    scores, label = latents.states @ rows.T + offsets, latents.phoneme
    gaps = np.take_along_axis(scores, label[:, None], axis=1) - scores
    norms = np.linalg.norm(rows[label][:, None] - rows, axis=2)
    distance = np.where(norms > 0, gaps / np.where(norms > 0, norms, 1), np.inf)
    runner_up = np.argsort(-scores, axis=1)[:, 1] == np.argmin(distance, axis=1)
    assert 12.2 < np.median(np.linalg.norm(latents.states, axis=1)) < 12.8
    assert 1.2 < np.median(distance.min(axis=1)) < 1.5
    assert 0.75 < runner_up.mean() < 0.90
    facet = head.nearest_facet(latents.states)
    np.testing.assert_array_equal(facet.neighbour, np.argmin(distance, axis=1))
    np.testing.assert_allclose(facet.distance, distance.min(axis=1), rtol=1e-4, atol=1e-6)


def test_a_word_without_an_end_gives_every_step(tmp_path):
    tensors = random_tensors()
    tensors["fc_b"][STOP] = -1e6
    np.savez(tmp_path / "endless.npz", **tensors)
    model = G2P.from_file(tmp_path / "endless.npz")
    assert model.latents(["ab", "abc"]).states.shape == (2 * STEPS, 5)
    assert len(model.spell("ab")) == STEPS


@pytest.mark.slow
def test_more_words_compile_nothing_new(pair, monkeypatch):
    model, _ = pair
    model.latents(["warm", "w" * LENGTHS[0]])
    model.latents(["warm"])

    def traced(*_: object) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr(g2p_en.Cell, "__call__", traced)
    for words in (english_words(3), english_words(150), [*english_words(70), "w" * 40]):
        model.latents(words)
    jax.clear_caches()
    with pytest.raises(AssertionError, match="traced again"):
        model.latents(["warm"])


@pytest.mark.parametrize("word", ["", "Geometry", "don't", "naïve", "two words", "x86"])
def test_words_of_other_characters_are_refused(pair, word):
    with pytest.raises(ValueError, match="a–z alone"):
        pair[0].spell(word)


def test_words_must_be_a_list_of_short_ones(pair):
    with pytest.raises(ValueError, match="has 64 letters; at most 63"):
        pair[0].spell("z" * 64)
    for words in ([], "geometry"):
        with pytest.raises(ValueError, match="a list of at least one word"):
            pair[0].latents(words)


def test_checkpoints_of_another_shape_are_refused(tmp_path):
    good = random_tensors()
    path = tmp_path / "bad.npz"
    for name, bad in [
        ("fc_w", good["fc_w"][:-1]),
        ("dec_w_hh", good["dec_w_hh"][:-3]),
        ("enc_b_ih", good["enc_b_ih"][:-1]),
    ]:
        np.savez(path, **(good | {name: bad}))
        with pytest.raises(ValueError, match=f"{name} has shape .* give the checkpoint of g2p-en"):
            G2P.from_file(path)
    np.savez(path, **{name: tensor for name, tensor in good.items() if name != "dec_emb"})
    with pytest.raises(ValueError, match="holds no tensor 'dec_emb'"):
        G2P.from_file(path)
    with pytest.raises(FileNotFoundError):
        G2P.from_file(tmp_path / "absent.npz")
