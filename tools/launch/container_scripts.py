"""Small fixed programs that run beside the engines. Names and sizes reach them as arguments, never as code."""

from __future__ import annotations

DOWNLOAD = '''\
"""Fetch weights into the Hugging Face cache: REPO REVISION BYTES [REPO REVISION BYTES ...]"""
import os, shutil, sys
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

SKIP = (".gguf", ".pth", ".onnx", ".h5", ".msgpack", ".ot", ".tflite")
GIB = 1 << 30
home = os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")
os.makedirs(home, exist_ok=True)
jobs = list(zip(*[iter(sys.argv[1:])] * 3))

def wanted(files):
    names = [f.rfilename for f in files]
    safe = any(n.endswith(".safetensors") and "/" not in n for n in names)
    skip = SKIP + ((".bin", ".pt") if safe else ())
    shards = any(n.startswith("model") and n.endswith(".safetensors") for n in names)
    return [
        f for f in files
        if not f.rfilename.endswith(skip)
        and not f.rfilename.startswith("original/")
        and not (shards and f.rfilename.startswith("consolidated"))
    ]

def cached(repo, revision):
    try:
        snapshot_download(repo, revision=revision, local_files_only=True, ignore_patterns="*")
        return os.path.exists(mark(repo, revision))
    except LocalEntryNotFoundError:
        return False

def mark(repo, revision):
    return os.path.join(home, ".rigfit-complete-" + (repo + "@" + (revision or "main")).replace("/", "--"))

def fetch(repo, revision, size):
    if cached(repo, revision):
        print(repo, "is already here", flush=True)
        return
    files = wanted(HfApi().model_info(repo, revision=revision, files_metadata=True).siblings)
    size = sum(f.size or 0 for f in files) or size
    here = os.path.join(home, "hub", "models--" + repo.replace("/", "--"), "blobs")
    have = sum(f.stat().st_size for f in os.scandir(here)) if os.path.isdir(here) else 0
    free = shutil.disk_usage(home).free
    print(f"{repo}: {size / GIB:.1f} GiB, {free / GIB:.1f} GiB free", flush=True)
    if size - have > free:
        sys.exit(f"Not enough disk for {repo}: {(size - have - free) / GIB:.1f} GiB more are needed. "
                 "Free some, or keep the weights in a folder on a larger disk (README.md says how).")
    snapshot_download(repo, revision=revision, allow_patterns=[f.rfilename for f in files])
    open(mark(repo, revision), "w").close()

for repo, revision, size in jobs:
    try:
        fetch(repo, revision or None, int(size))
    except GatedRepoError:
        sys.exit(f"{repo} is gated: accept its terms on the hub's page of the model, then set HF_TOKEN to a token "
                 "that may read it (README.md says how).")
    except RepositoryNotFoundError:
        sys.exit(f"{repo} was not found on the hub: it is misspelt, or private and HF_TOKEN is not set or may not "
                 "read it.")
    except Exception as error:  # the hub library's transport, and with it its errors, differ by version
        sys.exit(f"{repo} could not be fetched: {error}. Run the same command again: it goes on where it stopped.")
'''

HEALTHY = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=5)"

SLEEP = '''\
"""Put an engine to sleep: URL"""
import sys, urllib.request as r

url = sys.argv[1]
r.urlopen(r.Request(url + "/sleep?level=1&mode=wait", method="POST"), timeout=600).close()
with r.urlopen(url + "/is_sleeping", timeout=30) as answer:
    sys.exit(0 if b"true" in answer.read() else "the engine did not fall asleep")
'''
