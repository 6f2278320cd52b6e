"""The BERT layer against transformers, whole and at chosen positions."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.needs("torch", "transformers")


def test_an_encoder_of_any_shape_equals_transformers() -> None:
    import torch

    from workingpapers.parts.vision.ensure import ensure_torchvision

    ensure_torchvision()  # transformers imports it where it is installed
    from transformers import BertConfig, BertModel

    from workingpapers.parts.language.bert import BertEncoder

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40, max_position_embeddings=16
    )
    theirs = BertModel(config).eval()
    ours = BertEncoder(50, 3, 24, 40, 4, 16).load_hf(theirs.state_dict()).eval()
    ids = torch.randint(1, 50, (5, 9))
    mask = torch.arange(9) < torch.tensor([9, 1, 4, 7, 2])[:, None]
    with torch.inference_mode():
        wanted = theirs(input_ids=ids * mask, attention_mask=mask.long()).last_hidden_state
        got = ours(ids * mask, mask)
    torch.testing.assert_close(got[mask], wanted[mask], atol=1e-5, rtol=1e-5)


def test_outputs_at_chosen_positions_are_those_of_the_whole() -> None:
    import torch

    from workingpapers.parts.language.bert import BertLayer

    torch.manual_seed(1)
    layer = BertLayer(24, 40, 4).eval()
    x, mask = torch.randn(6, 8, 24), torch.arange(8) < torch.randint(1, 9, (6, 1))
    at = torch.randint(0, 8, (6, 3))
    with torch.inference_mode():
        whole, some = layer(x, mask), layer(x, mask, at=at)
    torch.testing.assert_close(some, whole.gather(1, at[..., None].expand(-1, -1, 24)), atol=1e-5, rtol=1e-5)


def test_weights_of_something_else_are_refused() -> None:
    import torch

    from workingpapers.parts.language.bert import BertEncoder, BertLayer

    with pytest.raises(ValueError, match="embeddings"):
        BertEncoder(10, 1, 8, 16, 2).load_hf({"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="heads"):
        BertLayer(10, 16, 3)
