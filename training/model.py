"""The model: a BitNet b1.58 decoder, trained quantisation-aware.

It is the graph of transformers' BitNetForCausalLM (model_type "bitnet"): RMSNorm before each half of
a layer, rotary positions (rotate-half), grouped-query attention with `attn_sub_norm` before o_proj,
and a gated squared-ReLU feed-forward with `ffn_sub_norm` before down_proj.  Parameters carry the
Hugging Face names without the leading "model.", so exporting is a copy.

All seven projections of a layer are ternary: the forward pass sees round(W / g) in {-1, 0, 1} with
g = mean|W| over the whole matrix, and inputs rounded to int8 with one scale per token.  Both
roundings pass the gradient straight through.  Embeddings (tied with the head) and norms stay dense.
"""
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

END_OF_TEXT = "<|endoftext|>"
EOT = 0  # its id: begins every document and, by coming next, ends the one before


@dataclass
class Config:
    vocab_size: int = 2048
    hidden_size: int = 256
    intermediate_size: int = 768
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 512
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0

    def __post_init__(self):
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size must be a multiple of num_attention_heads")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads must be a multiple of num_key_value_heads")
        for name, rows in (("hidden_size", self.hidden_size), ("intermediate_size", self.intermediate_size),
                           ("key/value width", self.num_key_value_heads * self.head_dim)):
            if rows % 4:
                raise ValueError(f"{name} is {rows}; the packed format needs a multiple of 4")

    @property
    def head_dim(self):
        return self.hidden_size // self.num_attention_heads

    def to_dict(self):
        return asdict(self)


def round_through(x, low, high):
    """Round half to even and clamp; the gradient passes as if nothing had happened."""
    return x + (x.round().clamp(low, high) - x).detach()


def quantize_activations(x):
    """(q, step): integers q in -128..127, held as floats, with x about q * step; one step per token."""
    scale = 127.0 / x.detach().abs().amax(-1, keepdim=True).clamp_min(1e-5)
    return round_through(x * scale, -128, 127), 1.0 / scale


class BitLinear(nn.Module):
    def __init__(self, n_in, n_out, std):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * std)

    def forward(self, quantized):
        q, step = quantized
        inverse = 1.0 / self.weight.detach().abs().mean().clamp_min(1e-5)
        trits = round_through(self.weight * inverse, -1, 1)
        return F.linear(q, trits).float() * (step / inverse)  # small integers: exact in bf16


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


class Attention(nn.Module):
    def __init__(self, c, std):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c.num_attention_heads, c.num_key_value_heads, c.head_dim
        kv_width = self.kv_heads * self.head_dim
        self.q_proj = BitLinear(c.hidden_size, c.hidden_size, std)
        self.k_proj = BitLinear(c.hidden_size, kv_width, std)
        self.v_proj = BitLinear(c.hidden_size, kv_width, std)
        self.o_proj = BitLinear(c.hidden_size, c.hidden_size, std)
        self.attn_sub_norm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, x, cos, sin, cache):
        batch, length, _ = x.shape
        x = quantize_activations(x)

        def split(y, heads):
            return y.view(batch, length, heads, self.head_dim).transpose(1, 2)

        q = rotate(split(self.q_proj(x), self.heads), cos, sin)
        k = rotate(split(self.k_proj(x), self.kv_heads), cos, sin)
        v = split(self.v_proj(x), self.kv_heads)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
            cache[:] = [k, v]
        if torch.is_autocast_enabled("cpu"):
            q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        y = self.attn_sub_norm(y.transpose(1, 2).reshape(batch, length, -1))
        return self.o_proj(quantize_activations(y))


class FeedForward(nn.Module):
    def __init__(self, c, std):
        super().__init__()
        self.gate_proj = BitLinear(c.hidden_size, c.intermediate_size, std)
        self.up_proj = BitLinear(c.hidden_size, c.intermediate_size, std)
        self.down_proj = BitLinear(c.intermediate_size, c.hidden_size, std)
        self.ffn_sub_norm = RMSNorm(c.intermediate_size, c.rms_norm_eps)

    def forward(self, x):
        x = quantize_activations(x)
        y = F.relu(self.gate_proj(x)).square() * self.up_proj(x)
        return self.down_proj(quantize_activations(self.ffn_sub_norm(y)))


class Layer(nn.Module):
    def __init__(self, c, std):
        super().__init__()
        self.self_attn, self.mlp = Attention(c, std), FeedForward(c, std)
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, x, cos, sin, cache, dropout):
        x = x + F.dropout(self.self_attn(self.input_layernorm(x), cos, sin, cache), dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), dropout, self.training)


class Model(nn.Module):
    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config, self.dropout = config, dropout
        std = 0.04 * math.sqrt(256 / config.hidden_size)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        nn.init.normal_(self.embed_tokens.weight, std=0.04)
        self.layers = nn.ModuleList(Layer(config, std) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        half = torch.arange(0, config.head_dim, 2, dtype=torch.float) / config.head_dim
        angle = torch.outer(torch.arange(config.max_position_embeddings).float(), config.rope_theta ** -half)
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, ids, caches=None, start=0):
        """Logits for ids [batch, length]; `caches` (one list per layer) makes decoding incremental."""
        end = start + ids.shape[1]
        x = self.embed_tokens(ids)
        for i, layer in enumerate(self.layers):
            cache = None if caches is None else caches[i]
            x = layer(x, self.cos[start:end], self.sin[start:end], cache, self.dropout)
        return F.linear(self.norm(x), self.embed_tokens.weight)

    def loss(self, ids, targets):
        logits = self(ids).float()
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))

    def ternary_weights(self):
        return sum(m.weight.numel() for m in self.modules() if isinstance(m, BitLinear))


@torch.no_grad()
def generate(model, ids, new_tokens, temperature=0.0, top_k=40, generator=None):
    """Continue `ids` in fp32 with a key/value cache; stops after END_OF_TEXT. Temperature 0 is greedy."""
    model.eval()
    caches, ids = [[] for _ in model.layers], list(ids)
    logits = model(torch.tensor([ids]), caches)[0, -1]
    for _ in range(new_tokens):
        if temperature == 0:
            token = int(logits.argmax())
        else:
            best, index = torch.topk(logits, min(top_k, logits.numel()))
            token = int(index[torch.multinomial(F.softmax(best / temperature, -1), 1, generator=generator)])
        ids.append(token)
        if token == EOT or len(ids) >= model.config.max_position_embeddings:
            break
        logits = model(torch.tensor([[token]]), caches, len(ids) - 1)[0, -1]
    return ids
