"""The families of transformers, small: `python tests/detectors/small_transformers.py FOLDER` writes config and image
processor of each, for `detattack models check hf/FOLDER/FAMILY --weights none`."""

import sys
from pathlib import Path

from detattack.core.categories import COCO_IDS

VOC = {"airplane": "aeroplane", "tv": "tvmonitor"}
NAMES = dict.fromkeys(range(91), "N/A") | {i: VOC.get(name, name) for name, i in COCO_IDS.items()}
LABELS = {"id2label": NAMES, "label2id": {name: i for i, name in NAMES.items() if name != "N/A"}}
SMALL = {"shortest_edge": 96, "longest_edge": 160}
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


def rt_detr():
    import transformers as t

    config = t.RTDetrConfig(
        **LABELS,
        backbone_config=t.RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"]),
        encoder_in_channels=[32, 48, 64],
        encoder_hidden_dim=32,
        encoder_ffn_dim=32,
        encoder_attention_heads=4,
        d_model=32,
        decoder_in_channels=[32, 32, 32],
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=32,
        num_queries=100,
        freeze_backbone_batch_norms=False,
        disable_custom_kernels=True,
    )
    return config, t.RTDetrImageProcessor(size={"height": 96, "width": 128})


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


FAMILIES = {f.__name__: f for f in (detr, conditional, deformable, rt_detr, yolos)}


def write(family: str, folder: Path) -> None:
    """Config and image processor of a family, as people save theirs."""
    for part in FAMILIES[family]():
        part.save_pretrained(folder)


if __name__ == "__main__":
    for family in FAMILIES:
        write(family, Path(sys.argv[1]) / family)
