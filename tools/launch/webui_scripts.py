"""The program that fetches models into text-generation-webui's folders. Names reach it as arguments, never as code."""

from __future__ import annotations

FETCH = '''\
"""Fetch models: REPO REVISION FOLDER GGUF_TYPE BYTES [REPO REVISION FOLDER GGUF_TYPE BYTES ...]"""
import os, re, shutil, sys
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

GIB = 1 << 30
SKIP = (".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack")

def main(words):
    jobs = [job for job in zip(*[iter(words)] * 5) if not os.path.exists(os.path.join(job[2], ".rigfit-complete"))]
    needed = sum(int(job[4]) for job in jobs)
    free = shutil.disk_usage(".").free
    if needed > free:
        sys.exit(f"Not enough disk: {needed / GIB:.1f} GiB to fetch, {free / GIB:.1f} GiB free.")
    for job in jobs:
        print("fetching", job[0], flush=True)
        explained(gguf if job[3] else whole, *job)
        open(os.path.join(job[2], ".rigfit-complete"), "w").close()

def gguf(repo, revision, folder, kind, size):
    word = re.compile(r"(?<![A-Z0-9])" + re.escape(kind.upper()) + r"(?![A-Z0-9_])")
    names = [f.rfilename for f in HfApi().model_info(repo, revision=revision or None).siblings]
    chosen = [n for n in names if n.endswith(".gguf") and word.search(n.upper()) and "mmproj" not in n.lower()]
    if not chosen:
        there = ", ".join(n for n in names if n.endswith(".gguf"))
        sys.exit(f"{repo} has no GGUF file of type {kind}; it has: {there}")
    parts = [n for n in chosen if re.search(r"-of-[0-9]+[.]gguf$", n)]
    for name in parts or chosen[:1]:
        path = hf_hub_download(repo, name, revision=revision or None, local_dir=folder)
        flat = os.path.join(folder, os.path.basename(name))
        if os.path.abspath(path) != os.path.abspath(flat):
            os.replace(path, flat)

def whole(repo, revision, folder, kind, size):
    snapshot_download(repo, revision=revision or None, local_dir=folder, ignore_patterns=["*" + end for end in SKIP])

def explained(step, repo, *rest):
    try:
        return step(repo, *rest)
    except GatedRepoError:
        sys.exit(f"{repo} is gated: accept its terms on the hub's page of the model, then set HF_TOKEN to a token that "
                 "may read it.")
    except RepositoryNotFoundError:
        sys.exit(f"{repo} was not found on the hub: it is misspelt, or private and HF_TOKEN is not set.")
    except Exception as error:  # the hub library's transport, and with it its errors, differ by version
        sys.exit(f"{repo} could not be fetched: {error}. Run the same command again: it goes on where it stopped.")

main(sys.argv[1:])
'''
