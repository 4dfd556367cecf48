"""What Jaderberg et al. 2015 report, to stand beside what is measured here."""

TABLE1: dict[str, dict[str, float]] = {
    "R": {"FCN": 2.1, "CNN": 1.2, "ST-FCN affine": 1.2, "ST-FCN projective": 1.3, "ST-FCN thin_plate_spline": 1.1,
          "ST-CNN affine": 0.7, "ST-CNN projective": 0.8, "ST-CNN thin_plate_spline": 0.7},
    "RTS": {"FCN": 5.2, "CNN": 0.8, "ST-FCN affine": 0.8, "ST-FCN projective": 0.9, "ST-FCN thin_plate_spline": 0.8,
            "ST-CNN affine": 0.5, "ST-CNN projective": 0.6, "ST-CNN thin_plate_spline": 0.5},
    "P": {"FCN": 3.1, "CNN": 1.5, "ST-FCN affine": 1.5, "ST-FCN projective": 1.4, "ST-FCN thin_plate_spline": 1.4,
          "ST-CNN affine": 0.8, "ST-CNN projective": 0.8, "ST-CNN thin_plate_spline": 0.8},
    "E": {"FCN": 3.2, "CNN": 1.4, "ST-FCN affine": 2.7, "ST-FCN projective": 2.6, "ST-FCN thin_plate_spline": 2.4,
          "ST-CNN affine": 1.2, "ST-CNN projective": 1.3, "ST-CNN thin_plate_spline": 1.1},
    "TC": {"FCN": 13.2, "CNN": 3.5, "ST-FCN affine": 2.0, "ST-CNN affine": 1.7},
}  # fmt: skip
"""Error on distorted MNIST, percent."""

TABLE4 = {
    "FCN": 47.7,
    "CNN": 14.7,
    "ST-FCN affine": 22.6,
    "ST-FCN projective": 18.5,
    "ST-FCN thin_plate_spline": 19.1,
    "2 x ST-FCN affine": 9.0,
    "2 x ST-FCN projective": 5.9,
    "2 x ST-FCN thin_plate_spline": 5.8,
}
"""Error of addition, percent."""

TABLE5 = {"T": "100", "TC": "75-93"}
"""CorLoc over the ten digits, percent."""
