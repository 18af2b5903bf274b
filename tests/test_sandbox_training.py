import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import open_clip
import pytest
import torch
from torch import nn

from sandbox.training import classifier, clip, codes, reader, tokens, unet, vae
from sandbox.training.loop import Plan, StepLoss, train
from sandbox.training.pictures import batch, to_pixels
from sandbox.world.captions import all_words
from sandbox.world.scene import is_held_out


class ClipFolder(NamedTuple):
    folder: Path
    model: open_clip.CLIP


def steps_of(model: nn.Module) -> StepLoss:
    def step(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        return loss, {"mse": float(loss.detach())}

    return step


def fresh() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_a_stopped_training_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    plan = Plan(steps=9, lr=0.1, warmup=2, ema=0.9, log_every=3, save_every=3)
    whole = fresh()
    train(whole, steps_of(whole), plan, tmp_path / "whole")
    stopped = fresh()

    inner = steps_of(stopped)

    def stops_at_seven(number: int) -> tuple[torch.Tensor, dict[str, float]]:
        if number == 7:
            raise KeyboardInterrupt
        return inner(number)

    with pytest.raises(KeyboardInterrupt):
        train(stopped, stops_at_seven, plan, tmp_path / "parts")
    again = fresh()
    train(again, steps_of(again), plan, tmp_path / "parts")
    torch.testing.assert_close(again.weight, whole.weight, rtol=0, atol=0)
    lines = (tmp_path / "whole" / "curve.csv").read_text().splitlines()
    assert lines[0] == "step,seconds_per_step,loss,mse" and [line.split(",")[0] for line in lines[1:]] == [
        "3",
        "6",
        "9",
    ]


def test_the_rate_warms_up_stays_and_falls_to_nothing() -> None:
    plan = Plan(steps=100, lr=1.0, warmup=10, decay=0.5)
    rates = [plan.rate(step) for step in range(100)]
    assert (
        rates[0] == pytest.approx(0.1)
        and rates[20] == 1.0
        and rates[75] == pytest.approx(0.5)
        and rates[99] < 0.03
    )


def test_batches_are_seeded_and_never_held_out() -> None:
    first, again = batch("a", 7), batch("a", 7)
    assert first.pixels.shape == (7, 3, 64, 64) and first.labels.shape[0] == 7
    torch.testing.assert_close(first.pixels, again.pixels, rtol=0, atol=0)
    assert not any(is_held_out(scene) for scene in first.scenes)
    assert first.pixels.min() >= -1 and first.pixels.max() <= 1


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> ClipFolder:
    folder = tmp_path_factory.mktemp("models") / "clip"
    tokens.train_tokenizer(folder)
    config = clip.model_config(tokens.end_token(folder) + 1)
    torch.manual_seed(0)
    model = clip.build(config).eval()
    clip.save(model, config, folder)
    return ClipFolder(folder, model)


def test_every_word_is_one_token_and_both_libraries_agree(clip_folder: ClipFolder) -> None:
    folder, _ = clip_folder
    ours = tokens.load_tokenizer(folder)
    theirs = open_clip.tokenizer.HFTokenizer(str(folder), context_length=tokens.CONTEXT)
    for word in all_words():
        ids = ours(word)["input_ids"]
        assert len(ids) == 3, word
        assert theirs([word])[0, :3].tolist() == ids
    assert ours.eos_token_id == len(ours) - 1 == ours.pad_token_id


def test_the_text_tower_is_the_same_in_transformers(clip_folder: ClipFolder) -> None:
    folder, model = clip_folder
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    tower = unet.text_encoder(dict(model.state_dict()), config)
    ids = torch.tensor(
        tokens.load_tokenizer(folder)(
            ["a red fish on water", "striped"], padding="max_length", max_length=tokens.CONTEXT
        )["input_ids"]
    )
    with torch.no_grad():
        hidden = tower(ids).last_hidden_state
        pooled = hidden[torch.arange(2), ids.argmax(1)] @ model.text_projection
        torch.testing.assert_close(pooled, model.encode_text(ids), rtol=1e-4, atol=1e-5)


def test_the_contrastive_loss_weighs_matches_and_others_alike() -> None:
    true = torch.tensor([[True, False], [False, False], [False, True], [False, True]])
    good = torch.where(true, 9.0, -9.0)
    assert clip.matching_loss(good, true) < 1e-3 < clip.matching_loss(-good, true)
    one_wrong = good.clone()
    one_wrong[0, 0] = -9.0
    assert float(clip.matching_loss(one_wrong, true)) == pytest.approx(9 / 4, rel=1e-2)


@pytest.mark.parametrize("build", [unet.build, vae.build, classifier.build, reader.Reader])
def test_models_are_small(build: Callable[[], nn.Module]) -> None:
    limit = {unet.build: 6.0e6, vae.build: 4.5e6, classifier.build: 1.2e6, reader.Reader: 1.0e6}[build]
    assert sum(p.numel() for p in build().parameters()) <= limit


def test_one_step_of_each_trainer_gives_a_finite_loss(clip_folder: ClipFolder) -> None:
    folder, model = clip_folder
    steps: tuple[StepLoss, ...] = (
        clip.Trainer(model, tokens.load_tokenizer(folder), images=5, seed=0),
        vae.Trainer(vae.build(), codes.fit_code(0), images=3, seed=0),
        classifier.Trainer(classifier.build(), images=5, seed=0),
        reader.Trainer(reader.Reader(), images=7, seed=0),
    )
    for step in steps:
        loss, figures = step(0)
        assert torch.isfinite(loss) and figures
        torch.autograd.backward(loss)


def test_the_reader_reads_any_number_of_pictures() -> None:
    from PIL import Image

    seen = reader.Reader().eval().read([Image.new("RGB", (80, 80))] * 259)
    assert len(seen) == 259 and set(seen[0]) == {"object", "colour", "texture", "background", "size", "count"}
    assert to_pixels([Image.new("RGB", (64, 64), (255, 0, 127))])[0, :, 0, 0].tolist() == pytest.approx(
        [1, -1, 0], abs=0.01
    )


def test_the_code_is_linear_and_keeps_most_of_a_picture() -> None:
    code = codes.fit_code(0)
    pixels = batch("codes", 33, held_out=True).pixels
    found = code.encode(pixels)
    assert found.shape == (33, codes.CHANNELS, 4, 4)
    cells = found.flatten(2).transpose(1, 2)
    error = (cells @ code.synthesise + code.mean - codes.patches(pixels)).square().mean() / 4
    assert -10 * torch.log10(error) > 18
    assert found.square().mean().sqrt() == pytest.approx(1, abs=0.15)
