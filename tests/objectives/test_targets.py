"""The EMA teacher."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from anyjepa.nn.encoder import Encoder
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViT, ViTConfig
from anyjepa.objectives.targets import Teacher, TeacherConfig, ema_update

DROPPING = BlockConfig(dropout=0.5, attention_dropout=0.5, drop_path=0.5)


def student(block: BlockConfig | None = None, registers: int = 1) -> Encoder:
    torch.manual_seed(0)
    config = ViTConfig(patch=(5,), dim=8, depth=2, heads=2, registers=registers, block=block or BlockConfig())
    return ViT(config, 3, (50,))


def move(model: Encoder) -> None:
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter)


def test_starts_as_a_copy_that_does_not_follow_by_itself() -> None:
    encoder = student()
    teacher, x = Teacher(TeacherConfig(), encoder), torch.randn(2, 3, 50)
    before = teacher(x)
    torch.testing.assert_close(before, encoder(x).padded())
    move(encoder)
    assert torch.equal(teacher(x), before)


def test_follows_the_statistics_of_a_batch_norm() -> None:
    encoder = student(BlockConfig(norm="batch"))
    teacher = Teacher(TeacherConfig(), encoder)
    encoder.train()(5 + torch.randn(4, 3, 50))
    teacher.update(encoder, 0.5)
    for own, given in zip(teacher.encoder.buffers(), encoder.buffers(), strict=True):
        assert torch.equal(own, given)


def test_has_no_gradient_and_never_drops() -> None:
    encoder = student(DROPPING)
    teacher, x = Teacher(TeacherConfig(), encoder), torch.randn(2, 3, 50, requires_grad=True)
    for model in (teacher, torch.nn.ModuleDict({"teacher": teacher})):
        model.train()
        assert not any(module.training for module in teacher.modules())
    targets = teacher(x)
    assert not targets.requires_grad
    assert torch.equal(teacher(x), targets)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_targets_can_be_normalised() -> None:
    encoder, x = student(), torch.randn(2, 3, 50)
    move(encoder)
    plain = Teacher(TeacherConfig(), encoder)(x)
    targets = Teacher(TeacherConfig(normalise=True), encoder)(x)
    torch.testing.assert_close(targets, F.layer_norm(plain, (8,), eps=1e-5))
    torch.testing.assert_close(targets.mean(-1), torch.zeros(2, 10), rtol=0, atol=1e-6)
    assert not torch.allclose(plain, targets, atol=0.1)


def test_targets_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        for normalise in (False, True):
            targets = Teacher(TeacherConfig(normalise=normalise), student())(torch.randn(2, 3, 50))
            assert targets.dtype == torch.float32


@pytest.mark.parametrize("registers", [0, 1])
@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.998, 1.0])
def test_update(momentum: float, registers: int) -> None:
    encoder = student(registers=registers)
    teacher = Teacher(TeacherConfig(), encoder)
    move(encoder)
    before = [parameter.clone() for parameter in teacher.parameters()]
    teacher.update(encoder, momentum)
    for old, new, own in zip(before, teacher.parameters(), encoder.parameters(), strict=True):
        torch.testing.assert_close(new, momentum * old + (1 - momentum) * own)
        if momentum in (0.0, 1.0):
            assert torch.equal(new, own if momentum == 0 else old)
        assert not new.requires_grad


def test_two_updates_by_hand() -> None:
    average, value = [torch.tensor([1.0, 0.0])], [torch.tensor([3.0, 1.0])]
    ema_update(average, value, 0.5)
    ema_update(average, value, 0.75)
    assert average[0].tolist() == [2.25, 0.625]


def test_absolute_time_reaches_the_teacher() -> None:
    teacher, x = Teacher(TeacherConfig(), student()), torch.randn(2, 3, 50)
    assert not torch.allclose(teacher(x), teacher(x, torch.full((2,), 40.0)), atol=1e-4)
