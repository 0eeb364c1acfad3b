"""The families of transformers, small: `python tests/detectors/small_transformers.py FOLDER` writes config and image
processor of each, for `detattack models check hf/FOLDER/FAMILY --weights none`."""

import sys
from pathlib import Path

from detattack.core.categories import COCO_IDS

VOC = {"airplane": "aeroplane", "tv": "tvmonitor"}
NAMES = dict.fromkeys(range(91), "N/A") | {i: VOC.get(name, name) for name, i in COCO_IDS.items()}
LABELS = {"id2label": NAMES, "label2id": {name: i for i, name in NAMES.items() if name != "N/A"}}
SMALL = {"shortest_edge": 96, "longest_edge": 160}
SQUARE = {"height": 128, "width": 128}
WIDE = {"height": 96, "width": 128}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
DETR = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
}


def backbone(out: list[str]):
    import transformers as t

    return t.ResNetConfig(**RESNET, out_features=out)


def detr():
    import transformers as t

    config = t.DetrConfig(**DETR, **LABELS, num_queries=100, backbone_config=backbone(["stage4"]))
    return config, t.DetrImageProcessor(size=SMALL)


def conditional():
    import transformers as t

    config = t.ConditionalDetrConfig(**DETR, **LABELS, num_queries=100, backbone_config=backbone(["stage4"]))
    return config, t.ConditionalDetrImageProcessor(size=SMALL)


def deformable():
    import transformers as t

    config = t.DeformableDetrConfig(
        **DETR | {"decoder_layers": 2},
        **LABELS,
        num_queries=100,
        backbone_config=backbone(["stage2", "stage3", "stage4"]),
    )
    return config, t.DeformableDetrImageProcessor(size=SMALL)


HYBRID = {
    "encoder_in_channels": [32, 48, 64],
    "encoder_hidden_dim": 32,
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 4,
    "d_model": 32,
    "decoder_in_channels": [32, 32, 32],
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 32,
    "num_queries": 100,
    "freeze_backbone_batch_norms": False,
}
"""RT-DETR and what came of it: a convolutional pyramid, and a decoder that starts at its best places."""
GROUPED = {
    "decoder_layers": 2,
    "decoder_ffn_dim": 32,
    "decoder_self_attention_heads": 4,
    "decoder_cross_attention_heads": 4,
    "d_model": 32,
    "num_queries": 100,
    "group_detr": 2,
    "c2f_num_blocks": 1,
}
"""LW-DETR and RF-DETR: a plain transformer with windows, then a short decoder."""


def rt_detr():
    import transformers as t

    stages = t.RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"])
    config = t.RTDetrConfig(**LABELS, **HYBRID, backbone_config=stages, disable_custom_kernels=True)
    return config, t.RTDetrImageProcessor(size=WIDE)


def rt_detr_v2():
    import transformers as t

    stages = t.RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"])
    config = t.RTDetrV2Config(**LABELS, **HYBRID, backbone_config=stages)
    return config, t.RTDetrImageProcessor(size=WIDE)


def d_fine():
    import transformers as t

    config = t.DFineConfig(**LABELS, **HYBRID, backbone_config=hgnet(), depth_mult=0.3, lqe_hidden_dim=16)
    return config, t.RTDetrImageProcessor(size=WIDE)


def deimv2():
    import transformers as t

    config = t.Deimv2Config(**LABELS, **HYBRID, backbone_config=hgnet(), depth_mult=0.3, lqe_hidden_dim=16)
    return config, t.RTDetrImageProcessor(size=WIDE)


def hgnet():
    import transformers as t

    channels = [16, 32, 48, 64]
    return t.HGNetV2Config(
        stem_channels=[3, 8, 16],
        stage_in_channels=[16, 16, 32, 48],
        stage_mid_channels=[8, 8, 16, 16],
        stage_out_channels=channels,
        hidden_sizes=channels,
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_indices=[2, 3, 4],
    )


def dab_detr():
    import transformers as t

    small = {name: value for name, value in DETR.items() if name != "d_model"}
    config = t.DabDetrConfig(
        **small | {"decoder_layers": 2},
        **LABELS,
        hidden_size=32,
        num_queries=100,
        backbone_config=backbone(["stage4"]),
    )
    return config, t.ConditionalDetrImageProcessor(size=SMALL)


def lw_detr():
    import transformers as t

    vit = t.LwDetrViTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=128,
        pretrain_image_size=128,
        window_block_indices=[0, 2],
        out_indices=[2, 4],
        num_windows=4,
    )
    config = t.LwDetrConfig(**LABELS, **GROUPED, backbone_config=vit, projector_scale_factors=[2.0, 0.5])
    return config, t.DeformableDetrImageProcessor(size=WIDE)


def rf_detr():
    import transformers as t

    dino = t.RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=128,
        patch_size=8,
        out_indices=[2, 4],
        num_windows=2,
    )
    config = t.RfDetrConfig(**LABELS, **GROUPED, backbone_config=dino)
    return config, t.RfDetrImageProcessor(size=WIDE)


def two_stage():
    import transformers as t

    config = t.DeformableDetrConfig(
        **DETR | {"decoder_layers": 2},
        **LABELS,
        num_queries=100,
        two_stage=True,
        with_box_refine=True,
        two_stage_num_proposals=100,
        backbone_config=backbone(["stage2", "stage3", "stage4"]),
    )
    return config, t.DeformableDetrImageProcessor(size=SMALL)


def yolos():
    import transformers as t

    config = t.YolosConfig(
        **LABELS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        image_size=[96, 128],
        num_detection_tokens=100,
        use_mid_position_embeddings=False,
    )
    return config, t.YolosImageProcessor(size=SMALL)


CLIP = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def owlvit():
    import transformers as t

    return owl(t.OwlViTConfig, t.OwlViTProcessor, t.OwlViTImageProcessor(size=SQUARE))


def owlv2():
    import transformers as t

    return owl(t.Owlv2Config, t.Owlv2Processor, t.Owlv2ImageProcessor(size=SQUARE))


def owl(make_config, make_processor, images):
    import transformers as t

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokens = t.CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=16)
    text = CLIP | {"vocab_size": len(words), "bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    config = make_config(
        text_config=text | {"max_position_embeddings": 16},
        vision_config=CLIP | {"image_size": 128, "patch_size": 16},
        projection_dim=32,
    )
    return config, make_processor(images, tokens)


def grounding_dino():
    import transformers as t

    return grounding(t.GroundingDinoConfig)


def mm_grounding_dino():
    import transformers as t

    return grounding(t.MMGroundingDinoConfig)


def grounding(make_config):
    import transformers as t

    words = [f"[unused{i}]" for i in range(1100)]
    for place, word in {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 1012: ".", 1029: "?"}.items():
        words[place] = word  # where the model looks for them
    words[1030:1035] = ["person", "car", "stop", "sign", "dog"]
    tokens = t.BertTokenizer(vocab={word: i for i, word in enumerate(words)})
    swin = t.SwinConfig(
        embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, out_indices=[2, 3, 4], image_size=128
    )
    config = make_config(
        backbone_config=swin,
        text_config=t.BertConfig(vocab_size=len(words), **CLIP),
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=32,
        decoder_attention_heads=4,
        num_queries=100,
    )
    return config, t.GroundingDinoProcessor(t.GroundingDinoImageProcessor(size=SMALL), tokens)


PROMPTED = {f.__name__: f for f in (owlvit, owlv2, grounding_dino, mm_grounding_dino)}
"""Those with an open vocabulary, to be checked with `--prompt`."""
FAMILIES = {
    f.__name__: f
    for f in (
        *(detr, conditional, deformable, two_stage, dab_detr, yolos),
        *(rt_detr, rt_detr_v2, d_fine, deimv2, lw_detr, rf_detr),
    )
}


def write(family: str, folder: Path) -> None:
    """Config and image processor of a family, as people save theirs."""
    for part in (FAMILIES | PROMPTED)[family]():
        part.save_pretrained(folder)


if __name__ == "__main__":
    for family in FAMILIES | PROMPTED:
        write(family, Path(sys.argv[1]) / family)
