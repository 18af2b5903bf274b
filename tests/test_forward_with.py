from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sae.backbone import HookedBackbone, load_backbone
from sae.card import BackboneSpec
from sae.dictionary import SparseDictionary
from sae.errors import UnknownHookPoint, WrongTokens
from sae.patched import Patch
from sae.token_layout import Layout, Tokens
from sae.tower import Tower
from tests.tiny_backbones import hooks_left, pixels, tiny_backbone
from tests.tiny_models import PYRAMIDS, SIDE, WIDTH, WRITERS, write_timm

ALL = (*WRITERS, *PYRAMIDS)


def scopes(backbone: HookedBackbone) -> tuple[Tokens, ...]:
    return ("all", "patch", "cls") if backbone.has_cls else ("all", "patch")


def bad_dictionary(width: int) -> SparseDictionary:
    """Random weights that reconstruct nothing."""
    rng = torch.Generator().manual_seed(0)
    return SparseDictionary(
        "relu",
        W_enc=torch.randn(width, 7, generator=rng),
        b_enc=torch.zeros(7),
        W_dec=torch.randn(7, width, generator=rng),
        b_dec=torch.ones(width),
        mean=torch.zeros(width),
        scale=torch.ones(()),
    )


class TupleBlock(nn.Module):
    """A block that returns a tuple, as those of transformers 4 do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x + self.linear(x), None


class TupleTower(nn.Module):
    """Four patches and a class token through blocks that return tuples."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, SIDE // 2, SIDE // 2)
        self.layer = nn.ModuleList(TupleBlock() for _ in range(3))

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.patch(images).flatten(2).transpose(1, 2)
        x = torch.cat([torch.zeros_like(x[:, :1]), x], 1)
        for block in self.layer:
            x = block(x)[0]
        return x.mean(1)


def tuple_backbone() -> HookedBackbone:
    torch.manual_seed(0)
    model = TupleTower().eval().requires_grad_(False)
    tower = Tower(
        model=model,
        vision=model,
        prepare=lambda image: torch.zeros(3, SIDE, SIDE),
        embed=lambda images: {"pooled": model(images)},
        n_prefix_tokens=1,
        has_cls=True,
    )
    return HookedBackbone(tower, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("name", ALL)
def test_the_identity_changes_no_bit(name: str) -> None:
    backbone, x = tiny_backbone(name), pixels(3)
    expected = backbone.activations(x, backbone.tower.ends)
    for hook_point in ("block.0", "block.1"):
        for tokens in scopes(backbone):
            found = backbone.forward_with(x, hook_point, lambda t: t, tokens=tokens)
            assert all(torch.equal(found[end], expected[end]) for end in expected), tokens
            zeroed = backbone.forward_with(x, hook_point, torch.zeros_like, tokens=tokens)
            # A class token that nobody reads any more may be anything.
            assert tokens == "cls" or not torch.equal(zeroed["pooled"], expected["pooled"])
    assert set(found) == set(backbone.tower.ends)


@pytest.mark.parametrize("name", ["open_clip", "clip", "dinov3", "torchvision-swin", "timm-resnet"])
def test_any_dictionary_with_its_error_term_changes_no_bit(name: str) -> None:
    backbone, x = tiny_backbone(name), pixels(3)
    width = backbone.activations(x, ["block.1"])["block.1"].shape[-1]
    dictionary = bad_dictionary(width)
    expected = backbone.activations(x, ["pooled"])["pooled"]
    for tokens in scopes(backbone):
        lossy, lossless = (
            backbone.forward_with(
                x, "block.1", lambda t: dictionary.decode(dictionary.encode(t)), tokens=tokens, error_term=on
            )["pooled"]
            for on in (False, True)
        )
        assert torch.equal(lossless, expected) and not torch.equal(lossy, expected)


@pytest.mark.parametrize("name", ["dinov2-registers", "deit", "open_clip", "siglip", "timm-swin"])
def test_class_token_registers_and_patches_are_told_apart(name: str) -> None:
    backbone, x = tiny_backbone(name), pixels(2)
    before = backbone.activations(x, ["block.1"])["block.1"]
    n = backbone.n_prefix_tokens
    for tokens in scopes(backbone):
        patch = Patch("block.1", lambda t: t + 1, tokens=tokens)
        after = backbone.patched(x, [patch], read=["block.1"])["block.1"]
        moved = {at for at in range(before.shape[1]) if not torch.equal(before[:, at], after[:, at])}
        everything = set(range(before.shape[1]))
        assert moved == {"all": everything, "patch": everything - set(range(n)), "cls": {0}}[tokens]


def test_what_replaces_a_token_is_what_the_next_block_reads() -> None:
    backbone, x = tiny_backbone("timm"), pixels(3)
    model: Any = backbone.tower.model
    with torch.no_grad():
        held = model.blocks[0](model._pos_embed(model.patch_embed(x)))
        held[:, 1:] = held[:, 1:] * -2
        pooled = model.norm(model.blocks[2](model.blocks[1](held)))[:, 0]
    found = backbone.forward_with(x, "block.0", lambda t: t * -2, tokens="patch")
    torch.testing.assert_close(found["pooled"], pooled)
    torch.testing.assert_close(found["logits"], model.head(pooled))


@pytest.mark.parametrize("b", [1, 3, 5])
def test_blocks_that_return_tuples_are_read_and_patched(b: int) -> None:
    backbone, x = tuple_backbone(), pixels(b)
    held = backbone.activations(x, ["block.1", "pooled"])
    assert held["block.1"].shape == (b, 5, WIDTH)
    torch.testing.assert_close(backbone.activations(x[-1:], ["block.1"])["block.1"][0], held["block.1"][-1])
    same = backbone.forward_with(x, "block.1", lambda t: t, tokens="patch")["pooled"]
    assert torch.equal(same, held["pooled"])
    ones = backbone.forward_with(x, "block.2", torch.ones(WIDTH))["pooled"]
    assert torch.equal(ones, torch.ones(b, WIDTH))


@pytest.mark.parametrize("b", [1, 2, 17])
def test_blocks_that_run_tokens_first_are_patched_alike(b: int, tmp_path: Path) -> None:
    from tests.tiny_models import write_open_clip

    write_open_clip(tmp_path)
    turned, backbone = (
        load_backbone(BackboneSpec(kind="open_clip", source=str(tmp_path))),
        tiny_backbone("open_clip"),
    )
    stack: Any = turned.tower.model.get_submodule("visual.transformer")
    stack.batch_first = False
    blocks: list[Any] = list(turned.blocks)
    for block in blocks:
        block.attn.batch_first = False
    x = pixels(b)
    one, other = (
        each.forward_with(x, "block.1", lambda t: t.flip(-1), tokens="patch")["pooled"]
        for each in (backbone, turned)
    )
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert torch.equal(
        turned.forward_with(x, "block.1", lambda t: t)["pooled"], turned.activations(x, ["pooled"])["pooled"]
    )


def test_a_patched_embedding_has_the_logits_that_follow_from_it(tmp_path: Path) -> None:
    backbone, x = tiny_backbone("torchvision-convnext"), pixels(2)
    head: Any = backbone.tower.classify
    found = backbone.forward_with(x, "pooled", lambda t: t * 0)
    assert torch.equal(found["pooled"], torch.zeros(2, WIDTH))
    torch.testing.assert_close(found["logits"], head.bias.expand(2, -1))
    tiny = {"img_size": SIDE, "patch_size": 8, "embed_dim": WIDTH, "depth": 1, "num_heads": 2}
    write_timm(tmp_path, architecture="deit_tiny_distilled_patch16_224", **tiny)
    distilled = load_backbone(BackboneSpec(kind="timm", source=str(tmp_path)))
    assert distilled.n_prefix_tokens == 2
    assert set(distilled.forward_with(x, "pooled", lambda t: t)) == {"pooled"}
    assert set(distilled.forward_with(x, "block.0", lambda t: t)) == {"pooled", "logits"}


def test_several_patches_in_one_pass() -> None:
    backbone, x = tiny_backbone("clip"), pixels(3)
    first, second = Patch("block.0", lambda t: -t, "cls"), Patch("block.1", lambda t: t * 2, "patch")
    together = backbone.patched(x, [first, second, Patch("block.1", lambda t: t + 1, "cls")])["pooled"]
    undone = backbone.patched(x, [first, Patch("block.0", lambda t: -t, "cls")])["pooled"]
    assert torch.equal(undone, backbone.activations(x, ["pooled"])["pooled"])
    assert not torch.equal(together, undone)


def test_a_replacement_that_does_not_fit_is_refused() -> None:
    backbone, x = tiny_backbone("siglip"), pixels(2)
    with pytest.raises(WrongTokens, match=r"has shape \(3,\), the tokens \(2, 16, 16\)"):
        backbone.forward_with(x, "block.0", torch.zeros(3), tokens="patch")
    with pytest.raises(WrongTokens, match="no class token"):
        backbone.forward_with(x, "block.0", lambda t: t, tokens="cls")
    with pytest.raises(WrongTokens, match="ask for 'all'"):
        backbone.forward_with(x, "pooled", lambda t: t, tokens="patch")
    with pytest.raises(UnknownHookPoint, match=r"block\.9"):
        backbone.forward_with(x, "block.9", lambda t: t)
    assert hooks_left(backbone) == 0


def test_replacements_see_float32_whatever_the_backbone_runs_in() -> None:
    backbone, seen = tiny_backbone("timm", torch.bfloat16), []

    def look(t: Tensor) -> Tensor:
        seen.append(t.dtype)
        return t

    found = backbone.forward_with(pixels(2), "block.1", look)
    assert torch.equal(found["pooled"], backbone.activations(pixels(2), ["pooled"])["pooled"])
    assert seen == [torch.float32] and found["pooled"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "name", ["open_clip", "clip", "timm-convnext", "torchvision-swin", "dinov3-convnext"]
)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    backbone, x = tiny_backbone(name, torch.float64), pixels(2).double()
    held = backbone.differentiable(x, ["block.0", "block.1", "pooled"])
    weight = torch.randn_like(held["pooled"])
    for hook_point in ("block.0", "block.1"):
        grad = torch.autograd.grad((held["pooled"] * weight).sum(), held[hook_point], retain_graph=True)[0]
        step = torch.randn_like(grad) * 1e-5
        up, down = (
            backbone.forward_with(x, hook_point, (held[hook_point] + sign * step).detach())["pooled"]
            for sign in (1, -1)
        )
        torch.testing.assert_close(
            ((up - down) * weight).sum() / 2, (grad * step).sum(), rtol=1e-3, atol=1e-9
        )
    assert not backbone.activations(x, ["pooled"])["pooled"].requires_grad


def test_gradients_reach_pixels_and_what_replaces() -> None:
    backbone, x = tiny_backbone("open_clip"), pixels(2).requires_grad_()
    shift = torch.zeros(WIDTH, requires_grad=True)
    out = backbone.forward_with(x, "block.1", lambda t: t + shift, tokens="patch", grad=True)["pooled"]
    to_pixels, to_shift = torch.autograd.grad(out.square().sum(), (x, shift))
    assert to_pixels.abs().sum() > 0 and to_shift.abs().sum() > 0
    assert not backbone.forward_with(x, "block.1", lambda t: t + shift)["pooled"].requires_grad
    held = backbone.differentiable(x, ["block.0"])["block.0"]
    assert torch.autograd.grad(held.sum(), x)[0].abs().sum() > 0


def test_an_error_term_is_held_constant() -> None:
    backbone, x = tiny_backbone("clip"), pixels(2).requires_grad_()
    keep = torch.ones((), requires_grad=True)
    out = backbone.forward_with(x, "block.1", lambda t: t.detach() * keep, error_term=True, grad=True)
    to_keep, to_pixels = torch.autograd.grad(out["pooled"].square().sum(), (keep, x))
    assert to_keep.abs() > 0 and not to_pixels.any()


def test_logits_are_computed_from_the_pooled_that_is_returned() -> None:
    for name in ("timm", "torchvision"):
        held = tiny_backbone(name).differentiable(pixels(2), ["pooled", "logits"])
        assert torch.autograd.grad(held["logits"].sum(), held["pooled"])[0].abs().sum() > 0


def test_hooks_are_gone_after_a_failure() -> None:
    backbone = tiny_backbone("clip")

    def fail(t: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        backbone.forward_with(pixels(1), "block.0", fail)
    assert hooks_left(backbone) == 0


def test_a_pass_in_another_thread_is_not_patched() -> None:
    backbone, x = tiny_backbone("timm"), pixels(2)
    expected = backbone.activations(x, ["pooled", "block.2"])
    meanwhile: dict[str, Tensor] = {}

    def replace(t: Tensor) -> Tensor:
        other = threading.Thread(
            target=lambda: meanwhile.update(backbone.activations(x, ["pooled", "block.2"]))
        )
        other.start()
        other.join()
        return t * 0

    patched = backbone.forward_with(x, "block.0", replace)["pooled"]
    assert not torch.equal(patched, expected["pooled"])
    assert all(torch.equal(meanwhile[name], expected[name]) for name in expected)


@pytest.mark.parametrize("layout", [Layout(), Layout(tokens_first=True), Layout(channels_last=True)])
@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_a_layout_undoes_itself(layout: Layout, shape: tuple[int, ...]) -> None:
    for output in (torch.randn(shape), torch.randn(shape[::-1]).permute(*range(len(shape))[::-1])):
        back = layout.output(layout.tokens(output), output)
        assert torch.equal(back, output) and back.stride() == output.stride()
