"""An hour of hard use: large folders, kills, damaged files, a long video, full disks. `python -m benchmarks.soak`."""
