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

def main(words):
    jobs = [(repo, revision or None, int(size)) for repo, revision, size in zip(*[iter(words)] * 3)]
    todo = [(job, explained(look_up, *job)) for job in jobs if not is_here(*job)]
    needed, free = sum(missing for _, (_, missing) in todo), shutil.disk_usage(home).free
    if needed > free:
        sys.exit(f"Not enough disk: {needed / GIB:.1f} GiB to fetch, {free / GIB:.1f} GiB free. Free some, or keep the "
                 "weights in a folder on a larger disk (README.md says how).")
    for job, (names, missing) in todo:
        print(f"{job[0]}: {missing / GIB:.1f} GiB to fetch, {free / GIB:.1f} GiB free", flush=True)
        explained(fetch, *job, names)

def mark(repo, revision):
    return os.path.join(home, ".rigfit-complete-" + (repo + "@" + (revision or "main")).replace("/", "--"))

def is_here(repo, revision, size):
    try:
        snapshot_download(repo, revision=revision, local_files_only=True, ignore_patterns="*")
    except LocalEntryNotFoundError:
        return False
    if os.path.exists(mark(repo, revision)):
        print(repo, "is already here", flush=True)
        return True
    return False

def look_up(repo, revision, size):
    files = HfApi().model_info(repo, revision=revision, files_metadata=True).siblings
    tops = [f.rfilename for f in files if "/" not in f.rfilename]
    skip = SKIP + ((".bin", ".pt") if any(n.endswith(".safetensors") for n in tops) else ())
    shards = any(n.startswith("model") and n.endswith(".safetensors") for n in tops)
    files = [f for f in files if not f.rfilename.endswith(skip) and not f.rfilename.startswith("original/")
             and not (shards and f.rfilename.startswith("consolidated"))]
    blobs = os.path.join(home, "hub", "models--" + repo.replace("/", "--"), "blobs")
    have = sum(entry.stat().st_size for entry in os.scandir(blobs)) if os.path.isdir(blobs) else 0
    return [f.rfilename for f in files], max(0, (sum(f.size or 0 for f in files) or size) - have)

def fetch(repo, revision, size, names):
    snapshot_download(repo, revision=revision, allow_patterns=names)
    open(mark(repo, revision), "w").close()

def explained(step, repo, *rest):
    try:
        return step(repo, *rest)
    except GatedRepoError:
        sys.exit(f"{repo} is gated: accept its terms on the hub's page of the model, then set HF_TOKEN to a token that "
                 "may read it (README.md says how).")
    except RepositoryNotFoundError:
        sys.exit(f"{repo} was not found on the hub: it is misspelt, or private and HF_TOKEN is not set or may not "
                 "read it.")
    except Exception as error:  # the hub library's transport, and with it its errors, differ by version
        sys.exit(f"{repo} could not be fetched: {error}. Run the same command again: it goes on where it stopped.")

main(sys.argv[1:])
'''

HEALTHY = "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=5)"

WAIT = '''\
"""Wait until an engine answers: URL"""
import sys, time, http.client, urllib.request as r

url = sys.argv[1]
print("waiting for", url, flush=True)
while True:
    try:
        r.urlopen(url + "/health", timeout=5).close()
        break
    except (OSError, http.client.HTTPException):
        time.sleep(2)
'''

SLEEP = '''\
"""Put an engine to sleep: URL"""
import sys, urllib.request as r

url = sys.argv[1]
r.urlopen(r.Request(url + "/sleep?level=1&mode=wait", method="POST"), timeout=600).close()
with r.urlopen(url + "/is_sleeping", timeout=30) as answer:
    sys.exit(0 if b"true" in answer.read() else "the engine did not fall asleep")
'''
