package smallmind;

import java.util.List;
import java.util.Map;
import smallmind.abi.C;

/** What {@link Sampling} has beside numbers and words. */
abstract class SamplingLists<T> {
    private Map<Integer, Double> bias = Map.of();
    private List<String> breakers = List.of();

    /** Added to the logits of tokens. */
    @SuppressWarnings("unchecked")
    public T bias(Map<Integer, Double> value) {
        bias = Map.copyOf(value);
        return (T) this;
    }

    /** Texts that repetitions do not reach over. */
    @SuppressWarnings("unchecked")
    public T dryBreakerTexts(String... texts) {
        breakers = List.of(texts);
        return (T) this;
    }

    void lists(C.sm_sampling c, Arena arena) {
        c.dry_breaker_texts = arena.texts(breakers);
        c.n_dry_breaker_texts = breakers.size();
        c.n_bias = bias.size();
        if (bias.isEmpty()) {
            return;
        }
        C.sm_logit_bias[] list = (C.sm_logit_bias[]) new C.sm_logit_bias().toArray(bias.size());
        int i = 0;
        for (Map.Entry<Integer, Double> one : bias.entrySet()) {
            list[i].token = one.getKey();
            list[i++].bias = one.getValue();
        }
        c.bias = arena.structs(list);
    }
}
