"""Predict the time of GPU kernels: devices as data, a model of one launch, published libraries.

Every figure of this package is modelled, never measured.
"""
