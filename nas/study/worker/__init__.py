"""Layer 4: a worker from inside: it claims, decides, trains and tells. `python -m nas.study.worker` is one."""
