"""Data sets that trainers and annotation tools take: pictures, labels, and a split that keeps images apart that look alike."""
