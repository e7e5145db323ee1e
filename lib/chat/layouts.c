/* layouts.c - well-known layouts of conversations, for models that carry no template: as templates.
 */
#include "handle.h"

#define TAGGED(before, between, after)                                                    \
    "{% for m in messages %}" before "{{ m['role'] }}" between "{{ m['content'] }}" after \
    "{% endfor %}{% if add_generation_prompt %}" before "assistant" between "{% endif %}"

static const struct {
    const char *name, *text;
} layouts[] = {
    {"chatml", TAGGED("<|im_start|>", "\n", "<|im_end|>\n")},
    {"zephyr", TAGGED("<|", "|>\n", "{{ eos_token }}\n")},
    {"phi-3", TAGGED("<|", "|>\n", "<|end|>\n")},
    {"llama-3", "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}"
                "<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
                "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
                "{% endif %}"},
    {"llama-2",
     "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\n' + "
     "messages[0]['content'] + '\n<</SYS>>\n\n' %}{% set rest = messages[1:] %}{% else %}"
     "{% set system = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}"
     "{% if m['role'] == 'user' %}{{ bos_token }}[INST] {{ system if loop.first else '' }}"
     "{{ m['content'] | trim }} [/INST]{% else %} {{ m['content'] | trim }} {{ eos_token }}"
     "{% endif %}{% endfor %}"},
    {"mistral", "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
                "{{ m['content'] }} [/INST]{% elif m['role'] == 'system' %}"
                "{{ raise_exception('no system role') }}{% else %}{{ m['content'] }}"
                "{{ eos_token }}{% endif %}{% endfor %}"},
    {"gemma", "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
              "{{ raise_exception('no system role') }}{% endif %}<start_of_turn>"
              "{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}"
              "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n"
              "{% endif %}"},
    {"vicuna", "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}\n\n"
               "{% elif m['role'] == 'user' %}USER: {{ m['content'] }}\n{% else %}ASSISTANT: "
               "{{ m['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}"
               "{% if add_generation_prompt %}ASSISTANT:{% endif %}"},
    {"alpaca", "{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}\n\n"
               "{% elif m['role'] == 'user' %}### Instruction:\n{{ m['content'] }}\n\n{% else %}"
               "### Response:\n{{ m['content'] }}{{ eos_token }}\n\n{% endif %}{% endfor %}"
               "{% if add_generation_prompt %}### Response:\n{% endif %}"},
};

const char *sm_chat_layout(const char *name) {
    for (uint32_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (sm_names_find(layouts[i].name, name, NULL) != SM_NAME_NONE)
            return layouts[i].text;
    return NULL;
}

const char *sm_chat_layouts_list(void) {
    return "chatml|zephyr|phi-3|llama-3|llama-2|mistral|gemma|vicuna|alpaca";
}
