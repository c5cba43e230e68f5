// gpu/cpu/reference.hpp: the plain scalar back-end: each op the literal transcription of gpu/ops.hpp. The truth for all
// others.
#pragma once
#include "gpu/cpu/limits.hpp"
#include "gpu/ops.hpp"

namespace quadrant::gpu::reference {

void embed(team&, const embed_args&);
void rms_norm(team&, const rms_norm_args&);
void head_norm_rope(team&, const head_norm_rope_args&);
void join_rope(team&, const join_rope_args&);
void quantise(team&, const quantise_args&);
void add(team&, const add_args&);
void add_gated(team&, const add_gated_args&);
void clamp(team&, const clamp_args&);
void linear(team&, const linear_args&);
void prefetch(team&, const prefetch_args&); ///< does nothing
void grouped_linear(team&, const grouped_linear_args&);
void gate_up(team&, const gate_up_args&);
void kv_append(team&, const kv_append_args&);
void attend(team&, const attend_args&);
void merge(team&, const merge_args&);
void route(team&, const route_args&);
void moe_sort(team&, const moe_sort_args&);
void gather_rows(team&, const gather_rows_args&);
void combine(team&, const combine_args&);
void sample(team&, const sample_args&);

// Pieces that the vector back-ends share.
std::uint64_t digest_of(const float* logits, std::int32_t vocab);
/// A token that may be chosen.
struct candidate {
  float logit; ///< over the temperature
  std::int32_t id;
  std::uint64_t mass; ///< mass_of(logit, the largest of all)
};
/// The order of rule 10.
inline bool better(const candidate& a, const candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}
/// Which of the groups of candidates c[num_experts] stay: the others become -inf (route_args).
void drop_groups(const router& how, float* c, std::int32_t num_experts);
/// Puts what top-k, top-p and min-p leave of n candidates first, in any order; returns how many. What lies below all that
/// top-k keeps, or has no mass, may be missing; masses may be missing where top_p is 1.
std::size_t filter(candidate* c, std::size_t n, const sampling& s);
/// Would the rules change any row?
bool changes(const sampling& s, const logit_rules& rules);
/// row = logits as the rules change them.
void apply(const logit_rules& rules, const sampling& s, const float* logits, std::int32_t vocab, float* row);
/// The largest of logits that are offered by ascending id.
class likeliest {
public:
  explicit likeliest(std::int32_t count) : count_(count) {} ///< at most max_top_logprobs
  /// A logit that does not pass it will not get in.
  [[nodiscard]] float bound() const noexcept;
  void offer(std::int32_t id, float logit);
  [[nodiscard]] std::span<const token_logprob> best_first() const noexcept { return {list_, std::size_t(size_)}; }

private:
  std::int32_t count_, size_ = 0;
  token_logprob list_[max_top_logprobs]; ///< with logits
};
/// to[0] of the chosen token, then those of the likeliest; sum: of exp(l - top) over the row.
void write_logprobs(token_logprob chosen, const likeliest& others, float top, float sum, token_logprob* to);
/// The k-th largest of n numbers, k >= 1; their order changes.
float kth_largest(float* list, std::size_t n, std::size_t k);
/// Rule 12's noise of a token.
float gumbel(const sampling& s, std::int32_t position, std::int32_t id);
/// Above every value of gumbel().
inline constexpr float most_gumbel = 16.7f;

const ops_table& ops();
const limit_fns& limits();

} // namespace quadrant::gpu::reference
