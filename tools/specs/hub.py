"""The model hub: a repository's ``config.json`` and file sizes at a pinned revision, quickly or not at all.

One look-up is one answer of the hub's model API plus one or two small files at the revision that answer named. Answers
are kept under the data folder; an unreachable hub is not asked again for a minute, so that a conversation without a
network stays fast.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from tools.domain import Checkpoint, ModelSpec, note
from tools.errors import HubUnavailable, RigfitError, UnknownModel
from tools.settings import Settings

FRESH_S = 3600
"""An answer younger than this is used without asking again."""

DOWN_S = 60
"""After a failure to reach the hub it is not asked again for this long."""

MAX_CONFIG_BYTES = 4 << 20
"""Larger than any real ``config.json``; keeps a hostile answer from filling memory."""

_REPO = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9][\w.\-]{0,95}")
_WEIGHTS = (".safetensors", ".bin", ".gguf")


@dataclass(frozen=True, slots=True)
class HubModel:
    """What the hub says about a repository.

    Attributes:
        repo: hub id.
        revision: commit that everything else was read at.
        config: the fields of ``config.json``.
        quant_config: the fields of ``hf_quant_config.json``, where the repository has one.
        weight_bytes: size of the weight files that an engine loads; None where there are none.
        gated: a licence must be accepted before the weights can be fetched.
    """

    repo: str
    revision: str
    config: dict[str, Any]
    quant_config: dict[str, Any] | None
    weight_bytes: int | None
    gated: bool


@dataclass(frozen=True)
class HubClient:
    """Looks repositories up on the hub named by the settings."""

    settings: Settings

    @property
    def _folder(self) -> Path:
        host = re.sub(r"[^\w.\-]+", "_", self.settings.hub_endpoint)[:80]
        return self.settings.data_dir / "hub" / host

    def model(self, repo: str) -> HubModel:
        """Look a repository up.

        Args:
            repo: hub id ``organisation/name``.

        Raises:
            HubUnavailable: the network is switched off, the hub did not answer within ``settings.hub_timeout_s``, or
                its answer can't be used; the catalogue still can.
            UnknownModel: the hub says there is no such repository, or it is private.
        """
        if not _REPO.fullmatch(repo):
            raise UnknownModel("errors_specs.unreadable_model", name=repo[:60])
        kept = self._kept(repo)
        if kept is not None and time.time() - kept[0] < FRESH_S:
            return kept[1]
        try:
            self._check_reachable()
            found = self._ask(repo)
        except HubUnavailable:
            if kept is not None:
                return kept[1]
            raise
        self._keep(found)
        return found

    def _ask(self, repo: str) -> HubModel:
        """Ask in a thread of its own: the library's timeouts hold for single requests, not for a look-up."""
        answer: list[HubModel | RigfitError] = []

        def work() -> None:
            try:
                answer.append(_look_up(repo, self.settings, self._folder / "files"))
            except RigfitError as error:
                answer.append(error)

        thread = threading.Thread(target=work, daemon=True, name="hub-look-up")
        thread.start()
        thread.join(self.settings.hub_timeout_s)
        if not answer:
            self._mark_down()
            raise self._unreachable("time limit")
        if isinstance(answer[0], HubModel):
            return answer[0]
        if answer[0].code == "errors_specs.hub_unreachable":
            self._mark_down()
        raise answer[0]

    def _unreachable(self, reason: str) -> HubUnavailable:
        return HubUnavailable("errors_specs.hub_unreachable", seconds=f"{self.settings.hub_timeout_s:g}", reason=reason)

    def _check_reachable(self) -> None:
        if not self.settings.network:
            raise HubUnavailable("errors_specs.hub_switched_off")
        try:
            age = time.time() - (self._folder / "unreachable").stat().st_mtime
        except OSError:
            return
        if 0 <= age < DOWN_S:
            raise self._unreachable("no answer a moment ago")

    def _mark_down(self) -> None:
        _quietly(lambda: self._folder.mkdir(parents=True, exist_ok=True))
        _quietly(lambda: (self._folder / "unreachable").write_text(""))

    def _file(self, repo: str) -> Path:
        return self._folder / (repo.replace("/", "--") + ".json")

    def _kept(self, repo: str) -> tuple[float, HubModel] | None:
        """Return an earlier answer with the time it was kept; a damaged file counts as none."""
        try:
            data = json.loads(self._file(repo).read_text(encoding="utf-8"))
            return float(data.pop("kept_at")), HubModel(**data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _keep(self, model: HubModel) -> None:
        file = self._file(model.repo)
        draft = file.with_suffix(f".{threading.get_ident()}.tmp")
        text = json.dumps({**asdict(model), "kept_at": time.time()})
        _quietly(lambda: file.parent.mkdir(parents=True, exist_ok=True))
        _quietly(lambda: draft.write_text(text, encoding="utf-8"))
        _quietly(lambda: draft.replace(file))


def _quietly(action: Callable[[], object]) -> None:
    """Do something the answer does not depend on: a full or read-only disk only costs the cache."""
    try:
        action()
    except OSError:
        return


def _look_up(repo: str, settings: Settings, cache: Path) -> HubModel:
    import httpx2
    from huggingface_hub import HfApi, errors
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    limit = settings.hub_timeout_s
    try:
        info = HfApi(endpoint=settings.hub_endpoint).model_info(repo, files_metadata=True, timeout=limit)
        names = {file.rfilename for file in info.siblings or ()}
        revision = _commit(info.sha, repo)
        config = _read(repo, "config.json", revision, settings, cache)
        wanted = "hf_quant_config.json"
        quant = _read(repo, wanted, revision, settings, cache) if wanted in names else None
    except errors.GatedRepoError as error:
        raise HubUnavailable("errors_specs.hub_gated", repo=repo) from error
    except errors.RepositoryNotFoundError as error:
        raise UnknownModel("errors_specs.hub_no_such_repo", repo=repo) from error
    except errors.EntryNotFoundError as error:
        raise HubUnavailable("errors_specs.hub_bad_answer", repo=repo, reason="no config.json") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        reason = type(error).__name__
        raise HubUnavailable("errors_specs.hub_unreachable", seconds=f"{limit:g}", reason=reason) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HubUnavailable("errors_specs.hub_bad_answer", repo=repo, reason=type(error).__name__) from error
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    return HubModel(repo, revision, config, quant, _weight_bytes(sizes), bool(info.gated))


def _commit(sha: str | None, repo: str) -> str:
    if not sha or not re.fullmatch(r"[0-9a-f]{40}", sha):
        raise HubUnavailable("errors_specs.hub_bad_answer", repo=repo, reason="no revision")
    return sha


def _read(repo: str, name: str, revision: str, settings: Settings, cache: Path) -> dict[str, Any]:
    import huggingface_hub

    path = Path(
        cast("Any", huggingface_hub).hf_hub_download(
            repo,
            name,
            revision=revision,
            endpoint=settings.hub_endpoint,
            cache_dir=cache,
            etag_timeout=settings.hub_timeout_s,
        )
    )
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise HubUnavailable("errors_specs.hub_bad_answer", repo=repo, reason=f"{name} is too large")
    found: object = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise HubUnavailable("errors_specs.hub_bad_answer", repo=repo, reason=f"{name} is not an object")
    return cast("dict[str, Any]", found)


def _weight_bytes(sizes: Mapping[str, int | None]) -> int | None:
    """Sum the weight files an engine loads: one kind, from the top folder, without a second copy of the same weights.

    Mistral's repositories hold ``consolidated.safetensors`` beside the sharded files; other folders hold originals.
    """
    for suffix in _WEIGHTS:
        files = {name: size for name, size in sizes.items() if name.endswith(suffix) and "/" not in name}
        shards = {name: size for name, size in files.items() if not name.startswith("consolidated")}
        chosen = shards or files
        if chosen and suffix != ".gguf":
            known = [size for size in chosen.values() if size is not None]
            return sum(known) if len(known) == len(chosen) else None
    return None


def override(spec: ModelSpec, hub_model: HubModel) -> ModelSpec:
    """Let the hub's config and byte sizes replace the catalogue's.

    Args:
        spec: the catalogue's description.
        hub_model: the hub's answer about the model's own repository, or about one of its checkpoints.

    Returns:
        The description with the hub's structure (own repository only), the checkpoint's format, bytes and revision, and
        a note that names the revision. What the hub's config does not tell stays the catalogue's.
    """
    from tools.vram.architecture import spec_from_config

    told = note("specs.from_hub", name=hub_model.repo, revision=hub_model.revision[:12])
    changed = tuple(_with_hub(c, hub_model) if c.repo == hub_model.repo else c for c in spec.checkpoints)
    if hub_model.repo != spec.name:
        return replace(spec, checkpoints=changed, status=(*spec.status, told))
    known: dict[str, Any] = {
        "params_total": spec.params_total,
        "params_active": spec.params_active,
        "checkpoints": changed,
        "published_bytes": hub_model.weight_bytes or spec.published_bytes,
        "license": spec.license,
        "release_date": spec.release_date,
        "source": "hub config.json",
        "status": (told,),
        "revision": hub_model.revision,
    }
    plain = {key: value for key, value in hub_model.config.items() if key != "quantization_config"}
    try:
        return spec_from_config(plain, name=spec.name, **known)
    except RigfitError as reason:
        unread = note("specs.hub_config_unread", name=spec.name, reason=reason.code)
        return replace(spec, checkpoints=changed, status=(*spec.status, told, unread), revision=hub_model.revision)


def _with_hub(checkpoint: Checkpoint, hub_model: HubModel) -> Checkpoint:
    from tools.vram.architecture import quantization_from_config

    sized = replace(
        checkpoint,
        revision=hub_model.revision,
        file_bytes=hub_model.weight_bytes or checkpoint.file_bytes,
        file_provenance="published" if hub_model.weight_bytes else checkpoint.file_provenance,
        source="hub" if hub_model.weight_bytes else checkpoint.source,
    )
    try:
        declared = quantization_from_config(hub_model.quant_config or hub_model.config)
    except RigfitError:
        return sized
    return sized if declared.method == "none" else replace(sized, quantization=declared)
