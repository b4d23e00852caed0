"""A small CLIP and a small SigLIP, trained here on shapes and colours: right pictures get right labels."""

import math
import random
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
)

from classer_core import Classifier, Engine, ModelLoadError, Record, Result
from classer_core.contents import Attachment
from classer_core.models.image_text import ImageTextModel
from tests import documents as make
from tests.fakes import FakeModel

COLOURS, SHAPES = ["red", "green", "blue"], ["circle", "square", "triangle"]
NAMES = [f"{colour} {shape}" for colour, shape in product(COLOURS, SHAPES)]
SIDE_PX, PATCH_PX, MAX_WORDS = 32, 8, 8
POOL, STEPS, BATCH = 1_500, 500, 48
TEXT = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64}
VISION = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}


def draw(name: str, rng: random.Random, side: int = SIDE_PX) -> Image.Image:
    """A shape of random size somewhere on grey."""
    picture = Image.new("RGB", (side, side), (rng.randrange(100, 256),) * 3)
    colour, shape = name.split()
    size = rng.randrange(side * 2 // 5, side * 4 // 5)
    x, y = rng.randrange(side - size), rng.randrange(side - size)
    pen = ImageDraw.Draw(picture)
    if shape == "circle":
        pen.ellipse((x, y, x + size, y + size), colour)
    elif shape == "square":
        pen.rectangle((x, y, x + size, y + size), colour)
    else:
        pen.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], colour)
    return picture


def tokenizer() -> PreTrainedTokenizerFast:
    words = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "a", "picture", "of", *COLOURS, *SHAPES]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        "[BOS] $A [EOS]", special_tokens=[("[BOS]", 2), ("[EOS]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=MAX_WORDS,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
    )


def build(family: str) -> tuple[Any, Any]:
    vision = {**VISION, "image_size": SIDE_PX, "patch_size": PATCH_PX}
    text = {**TEXT, "max_position_embeddings": MAX_WORDS, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    size = {"height": SIDE_PX, "width": SIDE_PX}
    images = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    if family == "clip":
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
        return CLIPModel(config), CLIPProcessor(images, tokenizer())
    model = SiglipModel(SiglipConfig(text_config={**text, "projection_size": 48}, vision_config=vision))
    with torch.no_grad():  # as its paper starts: few of all pairs match
        model.logit_scale.fill_(math.log(10))
        model.logit_bias.fill_(-2.0)
    return model, SiglipProcessor(images, tokenizer())


def train(model: Any, processor: Any, family: str) -> None:
    """The family's own loss: the names of a batch's pictures against each other."""
    torch.set_num_threads(1)  # layers as small as these are slower on two
    rng = random.Random(1)
    names = [rng.choice(NAMES) for _ in range(POOL)]
    pixels = processor(images=[draw(name, rng) for name in names], return_tensors="pt")["pixel_values"]
    forms = [[form.format(name) for name in NAMES] for form in ("{}", "a picture of {}")]
    texts = [processor(text=form, padding="max_length", return_tensors="pt")["input_ids"] for form in forms]
    targets = torch.tensor([NAMES.index(name) for name in names])
    optimiser = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=STEPS)
    for _ in range(STEPS):
        batch = torch.tensor(rng.sample(range(POOL), BATCH))
        logits = model(input_ids=rng.choice(texts), pixel_values=pixels[batch]).logits_per_image
        if family == "clip":
            loss = torch.nn.functional.cross_entropy(logits, targets[batch])
        else:
            same = torch.nn.functional.one_hot(targets[batch], len(NAMES))
            loss = -torch.nn.functional.logsigmoid((2 * same - 1) * logits).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()


@pytest.fixture(scope="module", params=["clip", "siglip"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageTextModel]:
    """Saved and loaded again, as a user's model is."""
    torch.manual_seed(1)
    folder: Path = tmp_path_factory.mktemp(request.param)
    network, processor = build(request.param)
    train(network, processor, request.param)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    yield ImageTextModel.load(str(folder))


def pictures(count: int, side: int = 100) -> list[tuple[str, Image.Image]]:
    rng = random.Random(2)
    return [(name, draw(name, rng, side)) for name in (rng.choice(NAMES) for _ in range(count))]


@pytest.mark.integration  # trains for ten seconds
def test_pictures_get_their_names(model: ImageTextModel) -> None:
    classifier = Classifier.of(NAMES)
    shown = pictures(100)
    scores = model.score([np.asarray(picture) for _, picture in shown], [classifier] * 100)
    right = sum(classifier.labels[values.argmax()] == name for (name, _), values in zip(shown, scores, strict=True))
    assert right >= 75


@pytest.fixture
def engine(model: ImageTextModel) -> Iterator[Engine]:
    with closing(Engine(FakeModel(), model)) as made:
        yield made


@pytest.mark.integration  # trains for ten seconds
def test_records_with_pictures_get_answers(engine: Engine) -> None:
    """By colour alone; tokens are the patches that the model read; a text beside a picture counts as well."""
    classifier = Classifier.of(COLOURS)
    shown = pictures(12)
    records = [
        Record(name, "", classifier, attachments=(Attachment("image", 1, "x", make.png(picture)),))
        for name, picture in shown
    ]
    outcomes = engine.classify(records)
    answers = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    assert len(answers) == 12
    assert sum(answer.label == answer.id.split()[0] for answer in answers) >= 11
    patches = (SIDE_PX // PATCH_PX) ** 2
    assert {answer.visual_tokens for answer in answers} <= {patches, patches + 1}
    assert {answer.evidence for answer in answers} == {"image 1"}
    unsure = Record("r", "green green green green", classifier, attachments=records[0].attachments)
    [both] = engine.classify([unsure])
    assert isinstance(both, Result)
    assert both.label == "green"
    assert both.tokens == 4 + (both.visual_tokens or 0)


def test_what_is_no_image_text_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"visual_model '.*' can't be loaded: .* Give 'embedded', 'none'"):
        ImageTextModel.load(str(tmp_path))
