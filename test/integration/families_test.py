"""Every model family that is known, from its config.json to an answer: make-random, inspect, run, serve.

    families_test.py PROGRAM
"""
import json
import sys
import tempfile
from pathlib import Path

from quadrant import Server, call, check, main, run_json

SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "num_experts_per_tok": 2,
         "moe_intermediate_size": 64, "intermediate_size": 96, "vocab_size": 512, "max_position_embeddings": 512}
LATENT = {"kv_lora_rank": 64, "q_lora_rank": None, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32, "n_routed_experts": 8,
          "first_k_dense_replace": 1, "n_shared_experts": 1}
FAMILIES = {"deepseek_v2": LATENT, "deepseek_v3": {**LATENT, "q_lora_rank": 64, "n_group": 4, "topk_group": 2}, "llama": {},
            "mixtral": {"num_local_experts": 4}, "olmoe": {"num_experts": 4, "clip_qkv": 0.5},
            "qwen2_moe": {"num_experts": 4, "shared_expert_intermediate_size": 96}, "qwen3": {"head_dim": 32},
            "qwen3_moe": {"num_experts": 4, "head_dim": 32}}


def each_family_answers(program):
    """make-random writes it, inspect finds it whole, run and serve answer alike"""
    with tempfile.TemporaryDirectory() as folder:
        for family, own in FAMILIES.items():
            config, out = Path(folder) / f"{family}.json", Path(folder) / family
            config.write_text(json.dumps({"model_type": family, **SIZES, **own}))
            status, _, err = call(program, "make-random", "--like", config, out)
            check(status == 0 and err == "", err)
            status, text, err = call(program, "inspect", out, "--json")
            check(status == 0, err)
            about = json.loads(text)
            check(about["family"] == family and 0 < about["active_parameters"] <= about["parameters"], about)
            check([p["name"] for p in about["precisions"]] == ["f32", "bf16", "w8a8", "w4a8"], about)
            a, b = (run_json(program, "hello", "--model", out, "--max-tokens", 6, "--ignore-eos") for _ in range(2))
            check(len(a["token_ids"]) == 6 and a["logits_digest"] == b["logits_digest"], (a, b))
            with Server(program, "--model", out) as server:
                answer = server.stream("hello", max_tokens=6, ignore_eos=True)
                check(answer["done"] and answer["finish"] == "length", (family, answer))


def a_checkpoint_with_a_hole_is_told(program):
    """inspect names what is missing or misshapen, and run does not start with it"""
    with tempfile.TemporaryDirectory() as folder:
        config, out = Path(folder) / "config.json", Path(folder) / "model"
        config.write_text(json.dumps({"model_type": "mixtral", **SIZES, "num_local_experts": 4}))
        check(call(program, "make-random", "--like", config, out)[0] == 0, "make-random")
        changed = json.loads((out / "config.json").read_text())
        (out / "config.json").write_text(json.dumps({**changed, "num_local_experts": 6}))
        status, _, err = call(program, "inspect", out)
        check(status == 1 and "experts.4" in err, err)
        status, _, err = call(program, "run", "hello", "--model", out)
        check(status != 0 and "block_sparse_moe" in err and err.count("\n") == 1, err)
        (out / "config.json").write_text(json.dumps({**changed, "model_type": "gpt2"}))
        status, _, err = call(program, "inspect", out)
        check(status != 0 and "known: deepseek_v2" in err and err.count("\n") == 1, err)


if __name__ == "__main__":
    main([each_family_answers, a_checkpoint_with_a_hole_is_told], sys.argv[1])
