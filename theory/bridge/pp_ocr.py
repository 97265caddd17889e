"""The PP-OCRv4 recognizer: an image of a line of text to characters, by a CTC head 6625 × 120.

The head, softmax(W z + b) over blank, 6623 characters and space, is read from the tensors of
rapidocr-onnxruntime 1.4.4 (PaddleOCR, Apache-2.0). The latents z come from the model's own graph,
run by onnxruntime up to the value the head reads.
"""

import math
import os
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from theory.bridge.checkpoint import read_shaped
from theory.bridge.formats import read_metadata
from theory.bridge.reading import package
from theory.bridge.readout import readout
from theory.bridge.text_images import Pixels, lines
from theory.check import check_count
from theory.partition import PowerDiagram

HEIGHT, LEAST_WIDTH = 48, 320  # pixels the model reads; narrower lines are filled up with grey
BLANK = 0  # the class that writes nothing and tells "ll" from "l"
LATENT = "transpose_51.tmp_0"
WEIGHT, BIAS = "linear_85.w_0", "linear_85.b_0"
PACKAGE = "rapidocr-onnxruntime 1.4.4, ch_PP-OCRv4_rec_infer.onnx"
LEAST_FRAMES = LEAST_WIDTH // 8  # of a line, however short: a frame is 8 pixels


class Latents(NamedTuple):
    """One row a frame, in order of line and frame.

    Fields:
        states: the latent z the head reads.
        group: index of the line; frames of one depend on each other.
        token: the label of the latent.
        blank: whether that is the blank; such frames lie otherwise than the others.
    """

    states: Float[np.ndarray, "latents n"]
    group: Int[np.ndarray, " latents"]
    token: Int[np.ndarray, " latents"]
    blank: Bool[np.ndarray, " latents"]


class Recognizer:
    """The graph up to the head, the head, and the characters.

    Fields:
        weight: W, classes along the columns, as the file has it.
        bias: b.
        characters: what is written for every class; nothing for the blank.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """The model of an .onnx with these names of tensors and values.

        Raises:
            FileNotFoundError: when there is no such file.
            MissingReader: when onnx or onnxruntime is not installed.
            ValueError: when a tensor, the latent or the characters are missing or of another
                shape.
        """
        characters = _characters(path)
        shapes = {WEIGHT: (None, len(characters)), BIAS: (len(characters),)}
        self.weight, self.bias = read_shaped(path, shapes, PACKAGE).values()
        self.characters = characters
        self._session = _session(path)

    def head(self) -> PowerDiagram:
        """The readout argmax_y ⟨w_y, z⟩ + b_y over the characters and the blank."""
        return readout(self.weight, self.bias, transpose=True)

    def run(
        self, image: Pixels
    ) -> tuple[Float[np.ndarray, "frames n"], Float[np.ndarray, "frames classes"]]:
        """Latents of a line, and the law of the class that the graph itself makes of each."""
        inputs = {self._session.get_inputs()[0].name: prepared(image)[None]}
        law = self._session.get_outputs()[0].name
        latents, probabilities = self._session.run([LATENT, law], inputs)
        return latents[0], probabilities[0]

    def read(self, image: Pixels) -> str:
        """The text of a line: the likeliest classes of its frames, by `collapsed`."""
        labels = self.run(image)[1].argmax(axis=1)
        return "".join(self.characters[label] for label in collapsed(labels))

    def latents(self, count: int) -> Latents:
        """The first `count` frames of English lines; see `text_images.lines`.

        Raises:
            ValueError: when `count` is below 1 or takes more lines than there are.
        """
        check_count("count", count, 1)
        parts: list[np.ndarray] = []
        for line in lines(math.ceil(count / LEAST_FRAMES)):
            parts.append(self.run(line.image)[0])
            if sum(len(part) for part in parts) >= count:
                break
        states = np.concatenate(parts)[:count]
        group = np.repeat(np.arange(len(parts)), [len(part) for part in parts])[:count]
        token = np.asarray(self.head().label(states))
        return Latents(states, group, token, token == BLANK)


def prepared(image: Pixels) -> Float[np.ndarray, "channels=3 rows=48 columns"]:
    """The image at a height of 48, blue first, in [−1, 1]; on its right 0 up to `LEAST_WIDTH`.

    Raises:
        ValueError: when it is empty.
    """
    if image.size == 0:
        raise ValueError(f"the image has shape {image.shape}, expected at least one pixel")
    width = math.ceil(HEIGHT * image.shape[1] / image.shape[0])
    resized = Image.fromarray(image).resize((width, HEIGHT), Image.Resampling.BILINEAR)
    values = np.asarray(resized, np.float32)[:, :, ::-1].transpose(2, 0, 1) / 127.5 - 1
    return np.pad(values, [(0, 0), (0, 0), (0, max(0, LEAST_WIDTH - width))])


def collapsed(labels: Int[np.ndarray, " frames"]) -> Int[np.ndarray, " characters"]:
    """What the frames write: runs of one label once, then no blanks."""
    fresh = np.append(True, labels[1:] != labels[:-1])[: len(labels)]
    return labels[fresh & (labels != BLANK)]


def _characters(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Blank, the characters of the metadata, space."""
    metadata = read_metadata(path)
    if "character" not in metadata:
        raise ValueError(
            f"{path} has no 'character' in its metadata but {sorted(metadata)}; give {PACKAGE}"
        )
    return ("", *metadata["character"].split("\n"), " ")


def _session(path: str | os.PathLike[str]) -> Any:
    """The graph with the latent among its outputs, on one thread."""
    onnx, runtime = package("onnx", ".onnx"), package("onnxruntime", ".onnx")
    model = onnx.load(path)
    if not any(LATENT in node.output for node in model.graph.node):
        raise ValueError(f"{path} computes no value {LATENT!r}; give {PACKAGE}")
    model.graph.output.append(onnx.ValueInfoProto(name=LATENT))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what it complains of comes as an exception
    try:
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own classes derive from nothing narrower
        reason = str(error).splitlines()[0]
        raise ValueError(f"onnxruntime refuses {path} ({reason}); give {PACKAGE}") from error
