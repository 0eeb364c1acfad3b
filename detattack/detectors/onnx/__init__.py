"""Detectors in ONNX files (extra `[onnx]`): ONNX Runtime judges, a conversion to torch has the gradient."""
