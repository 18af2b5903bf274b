from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tools.cards import KNOWN_GENERATORS, load_spec, require_known, unknown_words, words_of
from tools.drawing import DrawPlan, PipelineGenerator, default_bucket
from tools.errors import IntegrityError, ToolError, UsageError
from tools.fakes import MemoryImageStore
from tools.pipelines import locate_pipeline
from tools.protocols import DrawnImage, DrawRequest, GeneratorCard

OPEN = GeneratorCard(generator="painter", draws="Anything.", size=8)
CLOSED = OPEN.model_copy(update={"vocabulary": ("fish", "striped")})


class FakePipeline:
    """A pipeline whose pictures are their seed, which holds ``room`` images in memory."""

    def __init__(self, *, room: int = 99, error: Exception | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.room = room
        self.error = error or RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def __call__(self, **asked: Any) -> SimpleNamespace:
        self.calls.append(asked)
        seeds = [each.initial_seed() for each in asked["generator"]]
        if len(seeds) > self.room:
            raise self.error
        prompts = asked["prompt"]
        pictures = np.zeros((len(seeds), asked["height"], asked["width"], 3), np.float32)
        for picture, seed, prompt in zip(pictures, seeds, prompts, strict=True):
            picture[:] = {"night": 0.0, "nowhere": np.nan}.get(prompt, (seed % 200 + 20) / 255)
        return SimpleNamespace(images=pictures, nsfw_content_detected=[text == "rude" for text in prompts])


def generator(pipeline: Any, *, bucket: int = 4, card: GeneratorCard = OPEN) -> PipelineGenerator:
    plan = DrawPlan(steps=2, guidance=0.0, device="cpu", precision="fp32", bucket=bucket)
    return PipelineGenerator(MemoryImageStore(), lambda: pipeline, card=card, plan=plan, weights="w")


def requests(*seeds: int, prompt: str = "fish") -> list[DrawRequest]:
    return [DrawRequest(prompt=prompt, seed=seed) for seed in seeds]


def shades(draw: PipelineGenerator, drawn: list[DrawnImage]) -> list[int]:
    return [int(np.asarray(draw._store.get(each.image))[0, 0, 0]) for each in drawn if each.image]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_every_request_is_drawn_once_in_order_whatever_the_batch(count: int) -> None:
    pipeline = FakePipeline()
    draw = generator(pipeline)
    drawn = draw(requests(*range(count)))
    assert [each.request.seed for each in drawn] == list(range(count))
    assert shades(draw, drawn) == [seed + 20 for seed in range(count)]
    assert [len(call["prompt"]) for call in pipeline.calls] == [4] * -(-count // 4)


def test_the_pipeline_is_asked_exactly() -> None:
    pipeline = FakePipeline()
    generator(pipeline)([DrawRequest(prompt="a fish", seed=2**47 + 3)])
    (call,) = pipeline.calls
    assert call["prompt"] == ["a fish"] * 4
    assert [each.initial_seed() for each in call["generator"]] == [2**47 + 3] * 4
    assert len({id(each) for each in call["generator"]}) == 4
    assert (call["num_inference_steps"], call["guidance_scale"]) == (2, 0.0)
    assert (call["height"], call["width"], call["output_type"]) == (8, 8, "np")


def test_guidance_of_none_is_left_to_the_pipeline() -> None:
    pipeline = FakePipeline()
    draw = generator(pipeline)
    draw.plan = draw.plan.model_copy(update={"guidance": None})
    draw(requests(1))
    assert "guidance_scale" not in pipeline.calls[0]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_bucket_and_drops_no_image(error: Exception) -> None:
    pipeline = FakePipeline(room=3, error=error)
    draw = generator(pipeline, bucket=8)
    drawn = draw(requests(*range(7)))
    assert shades(draw, drawn) == [seed + 20 for seed in range(7)]
    assert [len(call["prompt"]) for call in pipeline.calls] == [8, 4, 2, 2, 2, 2]
    assert (draw.bucket, {each.bucket for each in drawn}) == (2, {2})
    draw(requests(9))
    assert len(pipeline.calls[-1]["prompt"]) == 2


def test_the_fingerprint_keeps_the_planned_bucket() -> None:
    draw = generator(FakePipeline(room=1), bucket=8)
    before = draw.fingerprint
    draw(requests(1))
    assert (draw.bucket, draw.fingerprint) == (1, before)
    assert generator(FakePipeline(), bucket=4).fingerprint != before


def test_no_room_for_one_image_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"^One image of painter, 8 pixels wide, does not fit .*; free some"):
        generator(FakePipeline(room=0))(requests(1))


def test_other_errors_of_the_pipeline_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        generator(FakePipeline(room=0, error=RuntimeError("shapes do not fit")))(requests(1))


@pytest.mark.parametrize(
    ("prompt", "fault"), [("night", "black"), ("nowhere", "black"), ("rude", "filtered")]
)
def test_unusable_pictures_are_faults_without_an_image(prompt: str, fault: str) -> None:
    draw = generator(FakePipeline())
    drawn = draw([*requests(1), *requests(2, prompt=prompt), *requests(3)])
    assert [each.fault for each in drawn] == [None, fault, None]
    assert [each.image is None for each in drawn] == [False, True, False]
    assert shades(draw, drawn) == [21, 23]


def test_an_unknown_word_is_named_before_the_pipeline_is_opened() -> None:
    def never() -> Any:
        raise AssertionError

    plan = DrawPlan(steps=1, guidance=None, device="cpu", precision="fp32", bucket=1)
    draw = PipelineGenerator(MemoryImageStore(), never, card=CLOSED, plan=plan, weights="w")
    with pytest.raises(ToolError, match=r"^painter does not know 'zebra'; use only words"):
        draw([*requests(1), *requests(2, prompt="a striped zebra")])
    assert draw([]) == []


def test_a_prompt_that_would_be_cut_is_the_agents_mistake() -> None:
    class Tokenizer:
        model_max_length = 5

        def __call__(self, text: str) -> SimpleNamespace:
            return SimpleNamespace(input_ids=[0, *text.split(), 1])

    pipeline = FakePipeline()
    pipeline.tokenizer = Tokenizer()  # type: ignore[attr-defined]
    draw = generator(pipeline)
    draw(requests(1, prompt="three short words"))
    with pytest.raises(ToolError, match="has 6 tokens and the generator reads 5; shorten it"):
        draw(requests(1, prompt="four words too many"))


@pytest.mark.parametrize(
    "change",
    [{"steps": 3}, {"guidance": 1.0}, {"precision": "fp16"}, {"bucket": 8}],
)
def test_all_that_determines_a_picture_is_in_the_fingerprint(change: dict[str, Any]) -> None:
    draw = generator(FakePipeline())
    plan = draw.plan.model_copy(update=change)
    other = PipelineGenerator(MemoryImageStore(), FakePipeline, card=OPEN, plan=plan, weights="w")
    assert other.fingerprint != draw.fingerprint


def test_size_and_weights_are_in_the_fingerprint_but_templates_are_not() -> None:
    def fingerprint(card: GeneratorCard, weights: str) -> str:
        plan = generator(FakePipeline()).plan
        made = PipelineGenerator(MemoryImageStore(), FakePipeline, card=card, plan=plan, weights=weights)
        return made.fingerprint

    same = fingerprint(OPEN, "w")
    assert fingerprint(OPEN.model_copy(update={"size": 16}), "w") != same
    assert fingerprint(OPEN, "other") != same
    assert fingerprint(OPEN.model_copy(update={"judge_template": "{}!"}), "w") == same


@pytest.mark.parametrize(
    ("device", "size", "expected"),
    [("cpu", 64, 16), ("cpu", 512, 1), ("cuda", 64, 16), ("cuda", 512, 8), ("cuda", 1024, 2)],
)
def test_buckets(device: Any, size: int, expected: int) -> None:
    assert default_bucket(device, size=size) == expected


def test_words_of_a_prompt() -> None:
    assert words_of("A STRIPED fish, on-the Water's edge; 2 cats!") == (
        *("a", "striped", "fish", "on-the", "water's", "edge"),
        *("2", "cats"),
    )


def test_closed_vocabularies() -> None:
    assert unknown_words(CLOSED, "A photo of the Striped FISH with a fish") == ()
    assert unknown_words(CLOSED, "no fish") == ("no",)
    assert unknown_words(OPEN, "anything at all") == ()
    require_known(CLOSED, "")


Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    def make(card: Any = None, index: Any = None, configs: dict[str, Any] | None = None) -> Path:
        (tmp_path / "model_index.json").write_text(json.dumps(index or {}))
        if card is not None:
            text = card if isinstance(card, str) else json.dumps(card)
            (tmp_path / "card.json").write_text(text)
        for name, config in (configs or {}).items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "config.json").write_text(json.dumps(config))
        return tmp_path

    return make


def test_a_card_beside_the_pipeline_says_all(folder: Folder) -> None:
    card = {
        "generator": "own",
        "draws": "Fish.",
        "vocabulary": ["fish"],
        "size": 64,
        "steps": 12,
        "guidance": 3,
    }
    spec = load_spec("anything", folder(card=card))
    assert (spec.card.generator, spec.card.vocabulary, spec.steps, spec.guidance) == (
        "own",
        ("fish",),
        12,
        3.0,
    )


@pytest.mark.parametrize(
    "card", ["{", {"draws": "Fish."}, {"generator": "own", "draws": "", "steps": 0}, {"generator": 1, "x": 2}]
)
def test_a_bad_card_is_one_sentence(folder: Folder, card: Any) -> None:
    with pytest.raises(UsageError, match=r"card\.json is not a generator card: .*; correct it\.$"):
        load_spec("anything", folder(card=card))


def test_few_step_models_are_known_by_their_hub_id_or_their_origin(folder: Folder) -> None:
    turbo = "stabilityai/sd-turbo"
    assert load_spec(turbo, folder()) == KNOWN_GENERATORS[turbo]
    assert load_spec("/my/copy", folder(index={"_name_or_path": turbo})).guidance == 0.0
    assert KNOWN_GENERATORS["stabilityai/sdxl-turbo"].steps == 1


def test_the_size_of_an_unknown_pipeline_is_its_own(folder: Folder) -> None:
    made = folder(configs={"unet": {"sample_size": 16}, "vae": {"block_out_channels": [8, 8, 8]}})
    spec = load_spec("mine", made)
    assert (spec.card.size, spec.card.generator, spec.guidance) == (64, "mine", None)


def test_a_folder_that_is_no_pipeline_is_one_sentence(tmp_path: Path, folder: Folder) -> None:
    with pytest.raises(UsageError, match=r"has no model_index\.json; give a diffusers folder"):
        locate_pipeline(str(tmp_path))
    made = folder(index={"unet": ["diffusers", "UNet2DConditionModel"]}, configs={"unet": {}})
    (made / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UsageError, match="has no safetensors weights in unet/; only those are loaded"):
        locate_pipeline(str(made))
    (made / "model_index.json").write_text("{")
    with pytest.raises(IntegrityError, match="is not JSON"):
        locate_pipeline(str(made))
