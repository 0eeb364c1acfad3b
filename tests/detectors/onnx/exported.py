"""Models of ours as ONNX files."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "traffic light", "stop sign")


def export(network: nn.Module, path: Path, outputs: list[str], size=(1, 3, 64, 96), dynamic=None) -> Path:
    """Writes a network. dynamic: names of axes of the input and of each output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.rand(size),),
            str(path),
            input_names=["images"],
            output_names=outputs,
            dynamic_axes=dynamic,
            dynamo=False,
        )
    return path


class BoxesAndScores(nn.Module):
    """Everything that the embedded detector says of an image of 320×480 pixels."""

    def __init__(self, detector):
        super().__init__()
        self.network = detector.network
        self.anchors = detector.candidates(torch.rand(1, 3, 320, 480)).anchors

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        (batch, _), net = self.network.transform([images[0]]), self.network
        head = net.head(list(net.backbone(batch.tensors).values()))
        boxes = net.box_coder.decode_single(head["bbox_regression"][0], self.anchors[0])
        return boxes[None], head["cls_logits"].sigmoid()


class Yolox(nn.Module):
    """YOLOX-Nano as its authors export it: one output, decoded."""

    def __init__(self, detector):
        super().__init__()
        self.net, self.decode = detector.net, detector._decode

    def forward(self, images: Tensor) -> Tensor:
        boxes, there, names = self.decode(self.net(images))
        return torch.cat((box_convert(boxes, "xyxy", "cxcywh"), there.sigmoid(), names.sigmoid()), -1)


class Grid(nn.Module):
    """A cell of 16 pixels is a box; an image is told by `columns` numbers a cell. form: of the outputs."""

    def __init__(self, form: str, columns: int):
        super().__init__()
        torch.manual_seed(0)
        self.form, self.head = form, nn.Conv2d(3, columns, 16, 16)

    def forward(self, images: Tensor):
        height, width = images.shape[-2] // 16, images.shape[-1] // 16
        found = 3 * self.head((images - 0.5) * 4).flatten(2).transpose(1, 2)
        y, x = torch.meshgrid(torch.arange(height) * 16.0, torch.arange(width) * 16.0, indexing="ij")
        corner = torch.stack((x, y), -1).reshape(1, -1, 2)
        boxes = torch.cat((corner + found[..., :2].sigmoid(), corner + 10 + 6 * found[..., 2:4].sigmoid()), -1)
        classes = found[..., 4:]
        if self.form == "yolo":
            return torch.cat((box_convert(boxes, "xyxy", "cxcywh"), classes.sigmoid()), -1).transpose(1, 2)
        if self.form == "objectness":
            return torch.cat((box_convert(boxes, "xyxy", "cxcywh"), classes.sigmoid()), -1)
        if self.form == "detr":
            return classes, box_convert(boxes, "xyxy", "cxcywh") / torch.tensor([96.0, 64, 96, 64])
        if self.form == "ssd":
            return boxes, classes.softmax(-1)
        if self.form == "rows":
            scores, labels = classes.sigmoid().max(-1, keepdim=True)
            return torch.cat((boxes, scores, labels.float()), -1)
        scores, labels = classes[0].sigmoid().max(-1)
        return boxes[0], labels, scores
