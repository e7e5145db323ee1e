/* smallmind.hpp - libsmallmind for C++17 and later: handles that free themselves, failures as
 * exceptions, text that streams into a loop. Header only, over smallmind/smallmind.h; links with
 * the library and, for streams, threads.
 *
 *     smallmind::model model("model.gguf");
 *     smallmind::session session(model);
 *     for (const std::string &piece : session.stream("Once upon a time"))
 *         std::cout << piece << std::flush;
 *
 * Options are the C library's structs, whose fields its headers explain; smallmind::sized makes one
 * that is all defaults. What a callback throws ends the call and comes out of it. Handles move and
 * are not copied; in which order they go does not matter. Texts are UTF-8.
 *
 * Threads: as of the C library. A session is used by one thread at a time; cancel() of any.
 */
#ifndef SMALLMIND_HPP
#define SMALLMIND_HPP

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "smallmind/smallmind.h"

namespace smallmind {

/* ---- failures ---------------------------------------------------------------------------- */

/* What a call that failed says. */
class error : public std::runtime_error {
  public:
    explicit error(const sm_error &e) : std::runtime_error(e.message), code_(e.code),
                                        system_(e.system) {}
    sm_status code() const noexcept { return code_; }    /* SM_ERR_… */
    std::int32_t system() const noexcept { return system_; } /* the system's number; 0: none */

  private:
    sm_status code_;
    std::int32_t system_;
};

/* SM_ERR_CANCELLED. */
class cancelled : public error {
  public:
    using error::error;
};

namespace detail {

inline void fail(const sm_error &e) {
    if (e.code == SM_ERR_CANCELLED)
        throw cancelled(e);
    throw error(e);
}

/* Calls function(arguments…, &error). */
template <class Function, class... Arguments>
void call(Function function, Arguments... arguments) {
    sm_error e{};
    const sm_status status = function(arguments..., &e);
    if (status != SM_OK) {
        e.code = status;
        fail(e);
    }
}

/* What callbacks of one call threw: the call ends, then it is thrown again. */
class guard {
  public:
    template <class Function> std::int32_t operator()(Function &&function) noexcept {
        try {
            return function();
        } catch (...) {
            failure_ = std::current_exception();
            return 1;
        }
    }
    template <class Function, class... Arguments>
    void call(Function function, Arguments... arguments) {
        try {
            detail::call(function, arguments...);
        } catch (const cancelled &) {
            if (!failure_)
                throw;
        }
        if (failure_)
            std::rethrow_exception(failure_);
    }

  private:
    std::exception_ptr failure_;
};

template <class Handle, void (SM_CALL *Free)(Handle *)> struct deleter {
    void operator()(Handle *handle) const noexcept { Free(handle); }
};
template <class Handle, void (SM_CALL *Free)(Handle *)>
using owned = std::unique_ptr<Handle, deleter<Handle, Free>>;

/* function(&handle, arguments…, &error) */
template <class Owned, class Function, class... Arguments>
Owned made(Function function, Arguments... arguments) {
    typename Owned::pointer handle = nullptr;
    call(function, &handle, arguments...);
    return Owned(handle);
}

inline sm_text text_of(std::string_view text) {
    return sm_text{text.data() ? text.data() : "", text.size()};
}

/* Functions that give a length and SM_ERR_BUFFER where there is too little room. */
template <class Container, class Function>
Container sized_result(std::size_t guess, Function function) {
    Container out(guess, typename Container::value_type());
    for (;;) {
        sm_error e{};
        std::uint64_t n = 0;
        const sm_status status = function(out.data(), std::uint64_t(out.size()), &n, &e);
        if (status == SM_OK) {
            out.resize(std::size_t(n));
            return out;
        }
        e.code = status;
        if (status != SM_ERR_BUFFER || n <= out.size())
            fail(e);
        out.resize(std::size_t(n));
    }
}

} // namespace detail

/* A struct of the C library with its struct_size set, and all defaults. */
template <class Struct> Struct sized() {
    Struct s{};
    s.struct_size = std::uint32_t(sizeof s);
    return s;
}

inline std::string_view version() { return sm_version(); }

/* ---- cancelling -------------------------------------------------------------------------- */

/* A flag that any thread, or a signal handler, may set: what has it in its options ends. */
class cancel_flag {
  public:
    cancel_flag() : handle_(detail::made<owned>(sm_cancel_new)) {}
    void set(bool on = true) noexcept { sm_cancel_set(handle_.get(), on); }
    bool is_set() const noexcept { return sm_cancel_is_set(handle_.get()) != 0; }
    sm_cancel *get() const noexcept { return handle_.get(); }

  private:
    using owned = detail::owned<sm_cancel, sm_cancel_free>;
    owned handle_;
};

/* ---- tokenizers -------------------------------------------------------------------------- */

class tokenizer {
  public:
    /* Of a file or a directory. */
    explicit tokenizer(const std::string &path,
                       const sm_tokenizer_options &options = sized<sm_tokenizer_options>())
        : handle_(detail::made<owned>(sm_tokenizer_load, path.c_str(), &options)) {}

    /* flags: SM_ENCODE_… */
    std::vector<std::int32_t> encode(std::string_view text,
                                     std::uint32_t flags = SM_ENCODE_MARKERS) const {
        auto how = sized<sm_encode_options>();
        how.flags = flags;
        const sm_text t = detail::text_of(text);
        return detail::sized_result<std::vector<std::int32_t>>(
            text.size() + 16, [&](std::int32_t *ids, std::uint64_t capacity, std::uint64_t *n,
                                  sm_error *e) {
                return sm_tokenizer_encode(get(), t.text, t.length, &how, ids, capacity, n, e);
            });
    }
    /* Bytes: a text that ends inside a character does so here. flags: SM_DECODE_… */
    std::string decode(const std::vector<std::int32_t> &ids, std::uint32_t flags = 0) const {
        return detail::sized_result<std::string>(
            8 * ids.size() + 16, [&](char *text, std::uint64_t capacity, std::uint64_t *n,
                                     sm_error *e) {
                return sm_tokenizer_decode(get(), ids.data(), ids.size(), flags, text, capacity, n,
                                           e);
            });
    }
    sm_tokenizer_info info() const {
        auto info = sized<sm_tokenizer_info>();
        detail::call(sm_tokenizer_get_info, get(), &info);
        return info;
    }
    bool is_end(std::int32_t id) const noexcept { return sm_tokenizer_is_end(get(), id) != 0; }
    const sm_tokenizer *get() const noexcept { return handle_.get(); }

  private:
    friend class model;
    using owned = detail::owned<sm_tokenizer, sm_tokenizer_free>;
    explicit tokenizer(owned handle) : handle_(std::move(handle)) {}
    owned handle_;
};

/* ---- models ------------------------------------------------------------------------------ */

/* Done of total; false cancels. */
using progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

/* A model of a GGUF file or a Hugging Face directory. Any number of threads may use it. */
class model {
  public:
    explicit model(const std::string &path,
                   const sm_model_options &options = sized<sm_model_options>())
        : handle_(detail::made<owned>(sm_model_load, path.c_str(), &options)) {}
    model(const std::string &path, const progress &told,
          sm_model_options options = sized<sm_model_options>()) {
        struct hook {
            detail::guard guard;
            const progress *told;
        } hook{{}, &told};
        options.progress_user = &hook;
        options.progress = [](void *user, std::uint64_t done, std::uint64_t total) noexcept {
            auto &h = *static_cast<struct hook *>(user);
            return h.guard([&] { return (*h.told)(done, total) ? 0 : 1; });
        };
        sm_model *handle = nullptr;
        hook.guard.call(sm_model_load, &handle, path.c_str(), &options);
        handle_.reset(handle);
    }

    /* Texts in it are valid as long as the model. */
    sm_model_info info() const {
        auto info = sized<sm_model_info>();
        detail::call(sm_model_get_info, get(), &info);
        return info;
    }
    smallmind::tokenizer tokenizer() const {
        sm_tokenizer *handle = nullptr;
        detail::call(sm_model_get_tokenizer, get(), &handle);
        return smallmind::tokenizer(smallmind::tokenizer::owned(handle));
    }
    const sm_model *get() const noexcept { return handle_.get(); }

  private:
    using owned = detail::owned<sm_model, sm_model_free>;
    owned handle_;
};

/* A LoRA adapter for a model: llama.cpp's GGUF file, or a directory of PEFT's. */
class adapter {
  public:
    adapter(const model &m, const std::string &path,
            const sm_adapter_options &options = sized<sm_adapter_options>())
        : handle_(detail::made<owned>(sm_adapter_load, m.get(), path.c_str(), &options)) {}
    sm_adapter_info info() const {
        auto info = sized<sm_adapter_info>();
        detail::call(sm_adapter_get_info, get(), &info);
        return info;
    }
    const sm_adapter *get() const noexcept { return handle_.get(); }

  private:
    using owned = detail::owned<sm_adapter, sm_adapter_free>;
    owned handle_;
};

/* What generated text may be (constrain.h): for sm_generate_options.constraint, which borrows it. */
class constraint {
  public:
    static constraint regex(const tokenizer &t, std::string_view text) {
        return of(t, SM_CONSTRAINT_REGEX, text);
    }
    /* GBNF, and rules that begin with themselves. */
    static constraint grammar(const tokenizer &t, std::string_view text) {
        return of(t, SM_CONSTRAINT_GRAMMAR, text);
    }
    static constraint choices(const tokenizer &t, const std::vector<std::string> &texts) {
        std::vector<sm_text> list;
        for (const std::string &text : texts)
            list.push_back(detail::text_of(text));
        return constraint(detail::made<owned>(sm_constraint_new_choices, t.get(),
                                              static_cast<const sm_text *>(list.data()),
                                              std::uint64_t(list.size()), nothing()));
    }
    /* A JSON Schema, as text. */
    static constraint schema(const tokenizer &t, std::string_view json) {
        const sm_text text = detail::text_of(json);
        return constraint(detail::made<owned>(
            sm_constraint_new_schema, t.get(), text.text, text.length,
            static_cast<const sm_schema_options *>(nullptr), nothing()));
    }
    sm_constraint *get() const noexcept { return handle_.get(); }

  private:
    using owned = detail::owned<sm_constraint, sm_constraint_free>;
    static const sm_constraint_options *nothing() { return nullptr; }
    static constraint of(const tokenizer &t, std::uint32_t kind, std::string_view text) {
        const sm_text as = detail::text_of(text);
        return constraint(
            detail::made<owned>(sm_constraint_new, t.get(), kind, as.text, as.length, nothing()));
    }
    explicit constraint(owned handle) : handle_(std::move(handle)) {}
    owned handle_;
};

/* A chat template (chat.h). Messages and tools are JSON texts as in OpenAI's API. */
class chat {
  public:
    /* The model's own, or what the options name. */
    explicit chat(const model &m, const sm_chat_options &options = sized<sm_chat_options>())
        : handle_(detail::made<owned>(sm_chat_new_from_model, m.get(), &options)) {}
    /* tools may be empty. */
    std::string render(const std::string &messages, const std::string &tools = {},
                       const sm_render_options &options = sized<sm_render_options>()) const {
        return detail::sized_result<std::string>(
            1024, [&](char *text, std::uint64_t capacity, std::uint64_t *n, sm_error *e) {
                return sm_chat_render(get(), messages.c_str(),
                                      tools.empty() ? nullptr : tools.c_str(), &options, text,
                                      capacity, n, e);
            });
    }
    const sm_chat *get() const noexcept { return handle_.get(); }

  private:
    using owned = detail::owned<sm_chat, sm_chat_free>;
    owned handle_;
};

/* ---- text that comes while one waits ----------------------------------------------------- */

/* The pieces of a text that another thread generates: an input range, gone through once. A stream
 * that goes before its end ends the generating, and waits for that. Whatever ended the generating
 * but the text's end is thrown by the loop. */
class stream {
  public:
    using work = std::function<void(const std::function<void(std::string)> &put)>;

    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = std::string;
        using difference_type = std::ptrdiff_t;
        using pointer = const std::string *;
        using reference = const std::string &;

        iterator() = default;
        explicit iterator(stream *from) : from_(from) { ++*this; }
        reference operator*() const { return piece_; }
        pointer operator->() const { return &piece_; }
        iterator &operator++() {
            if (!from_->next(piece_))
                from_ = nullptr;
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const iterator &a, const iterator &b) { return a.from_ == b.from_; }
        friend bool operator!=(const iterator &a, const iterator &b) { return !(a == b); }

      private:
        stream *from_ = nullptr;
        std::string piece_;
    };

    /* `end` makes `run` return soon, by an exception. */
    stream(work run, std::function<void(bool)> end)
        : state_(std::make_unique<state>()), end_(std::move(end)) {
        state *s = state_.get();
        thread_ = std::thread([s, run = std::move(run)] {
            std::exception_ptr failure;
            try {
                run([s](std::string piece) {
                    const std::lock_guard<std::mutex> lock(s->mutex);
                    s->pieces.push_back(std::move(piece));
                    s->changed.notify_one();
                });
            } catch (...) {
                failure = std::current_exception();
            }
            const std::lock_guard<std::mutex> lock(s->mutex);
            s->failure = failure;
            s->over = true;
            s->changed.notify_one();
        });
    }
    stream(stream &&) = default;
    stream &operator=(stream &&) = delete;
    ~stream() {
        if (!thread_.joinable())
            return;
        end_(true);
        thread_.join();
        end_(false);
    }

    iterator begin() { return iterator(this); }
    iterator end() { return iterator(); }

  private:
    struct state {
        std::mutex mutex;
        std::condition_variable changed;
        std::deque<std::string> pieces;
        bool over = false;
        std::exception_ptr failure;
    };

    bool next(std::string &piece) {
        std::unique_lock<std::mutex> lock(state_->mutex);
        state_->changed.wait(lock, [&] { return state_->over || !state_->pieces.empty(); });
        if (!state_->pieces.empty()) {
            piece = std::move(state_->pieces.front());
            state_->pieces.pop_front();
            return true;
        }
        lock.unlock();
        if (thread_.joinable())
            thread_.join();
        if (state_->failure)
            std::rethrow_exception(std::exchange(state_->failure, nullptr));
        return false;
    }

    std::unique_ptr<state> state_;
    std::function<void(bool)> end_;
    std::thread thread_;
};

/* ---- sessions ---------------------------------------------------------------------------- */

/* What a call may be told beside its options, which are copied and whose pointers are borrowed. */
struct generate_options {
    sm_generate_options c = sized<sm_generate_options>();
    sm_sampling sampling = sized<sm_sampling>(); /* all defaults: greedy */
    std::vector<std::string> stop, ban;
};

/* A sequence of tokens with a model. */
class session {
  public:
    explicit session(const model &m, sm_session_options options = sized<sm_session_options>()) {
        if (!options.cancel_flag)
            options.cancel_flag = flag_.get();
        handle_ = detail::made<owned>(sm_session_new, m.get(),
                                      static_cast<const sm_session_options *>(&options));
    }

    std::uint32_t length() const noexcept { return sm_session_length(get()); }
    std::vector<std::int32_t> tokens() const {
        std::vector<std::int32_t> ids(length());
        std::uint64_t n = 0;
        detail::call(sm_session_tokens, get(), std::uint32_t(0), ids.data(),
                     std::uint64_t(ids.size()), &n);
        ids.resize(std::size_t(n));
        return ids;
    }
    sm_session_info info() const {
        auto info = sized<sm_session_info>();
        detail::call(sm_session_get_info, get(), &info);
        return info;
    }
    /* About the last text. */
    sm_generate_stats stats() const {
        auto stats = sized<sm_generate_stats>();
        detail::call(sm_session_get_stats, get(), &stats);
        return stats;
    }
    /* Ends the call that another thread is in, and those after it until cancel(false). Without
     * effect where the session was made with a flag of the caller's. */
    void cancel(bool on = true) noexcept { flag_.set(on); }

    /* ---- token by token ---- */

    void feed(const std::vector<std::int32_t> &ids) {
        detail::call(sm_session_feed, get(), ids.data(), std::uint64_t(ids.size()));
    }
    void rewind(std::uint32_t length) { detail::call(sm_session_rewind, get(), length); }
    struct logits_view {
        const float *data; /* valid until the session is next fed, rewound or gone */
        std::size_t size;
        const float *begin() const noexcept { return data; }
        const float *end() const noexcept { return data + size; }
        float operator[](std::size_t i) const noexcept { return data[i]; }
    };
    logits_view logits() const {
        const float *data = nullptr;
        std::uint64_t n = 0;
        detail::call(sm_session_logits, get(), &data, &n);
        return {data, std::size_t(n)};
    }
    sm_choice sample(const sm_sampling &sampling = sized<sm_sampling>()) {
        auto choice = sized<sm_choice>();
        detail::call(sm_session_sample, get(), &sampling, &choice);
        return choice;
    }
    /* A second session with the same tokens. */
    session fork(sm_fork_options options = sized<sm_fork_options>()) const {
        session copy{nothing{}};
        if (!options.cancel_flag)
            options.cancel_flag = copy.flag_.get();
        copy.handle_ = detail::made<owned>(sm_session_fork,
                                           static_cast<const sm_session *>(get()),
                                           static_cast<const sm_fork_options *>(&options));
        return copy;
    }
    void save(const std::string &path) const { detail::call(sm_session_save, get(), path.c_str()); }
    void restore(const std::string &path) {
        detail::call(sm_session_restore, get(), path.c_str());
    }
    void attach(const adapter &a, double scale = 1) {
        detail::call(sm_session_attach, get(), a.get(), scale);
    }
    void detach(const adapter &a) { detail::call(sm_session_detach, get(), a.get()); }

    /* ---- text ---- */

    /* Told of each token; false ends the text. */
    using token_hook = std::function<bool(const sm_token &token)>;

    void generate(std::string_view prompt, const generate_options &options,
                  const token_hook &told) {
        const prepared ready(options);
        const sm_text text = detail::text_of(prompt);
        token_call hook{{}, &told};
        hook.guard.call(sm_session_generate, get(), text.text, text.length, &ready.c, on_token,
                        static_cast<void *>(&hook));
    }
    /* The whole continuation. */
    std::string complete(std::string_view prompt, const generate_options &options = {}) {
        std::string out;
        generate(prompt, options, [&](const sm_token &token) {
            out.append(token.text, std::size_t(token.length));
            return true;
        });
        return out;
    }
    /* The same as pieces that come while one waits. The session must stay where it is, and may not
     * be used for anything else, until the stream is gone or has ended. */
    smallmind::stream stream(std::string prompt, generate_options options = {}) {
        return smallmind::stream(
            [this, prompt = std::move(prompt), options = std::move(options)](const auto &put) {
                generate(prompt, options, [&](const sm_token &token) {
                    if (token.length)
                        put(std::string(token.text, std::size_t(token.length)));
                    return true;
                });
            },
            [this](bool on) { cancel(on); });
    }

    /* Told of what has become certain; false ends the answer. */
    using delta_hook = std::function<bool(const sm_delta &delta)>;

    /* Answers messages, a JSON array as in OpenAI's API, with tools (likewise, or empty): returns
     * the end's JSON, {"message": …, "finish_reason": …, "usage": …}. tool_choice: "auto", "none",
     * "required", a tool's name, or empty. */
    std::string answer(const chat &c, const std::string &messages,
                       const generate_options &options = {}, const delta_hook &told = {},
                       const std::string &tools = {}, const std::string &tool_choice = {}) {
        const prepared ready(options);
        auto how = sized<sm_answer_options>();
        how.generate = &ready.c;
        how.tool_choice = tool_choice.empty() ? nullptr : tool_choice.c_str();
        delta_call hook{{}, &told, {}};
        hook.guard.call(sm_session_chat, get(), c.get(), messages.c_str(),
                        tools.empty() ? nullptr : tools.c_str(), &how, on_delta,
                        static_cast<void *>(&hook));
        return std::move(hook.last);
    }

    sm_session *get() const noexcept { return handle_.get(); }

  private:
    using owned = detail::owned<sm_session, sm_session_free>;
    struct nothing {};
    explicit session(nothing) {}

    /* The C struct with what it points to. */
    struct prepared {
        sm_generate_options c;
        std::vector<sm_text> stop, ban;
        explicit prepared(const generate_options &from) : c(from.c) {
            for (const std::string &text : from.stop)
                stop.push_back(detail::text_of(text));
            for (const std::string &text : from.ban)
                ban.push_back(detail::text_of(text));
            if (!stop.empty()) {
                c.stop = stop.data();
                c.n_stop = stop.size();
            }
            if (!ban.empty()) {
                c.ban = ban.data();
                c.n_ban = ban.size();
            }
            if (!c.sampling)
                c.sampling = &from.sampling;
        }
        prepared(const prepared &) = delete;
        prepared &operator=(const prepared &) = delete;
    };

    struct token_call {
        detail::guard guard;
        const token_hook *told;
    };
    static std::int32_t SM_CALL on_token(void *user, const sm_token *token) noexcept {
        auto &h = *static_cast<token_call *>(user);
        return h.guard([&] { return !*h.told || (*h.told)(*token) ? 0 : 1; });
    }
    struct delta_call {
        detail::guard guard;
        const delta_hook *told;
        std::string last;
    };
    static std::int32_t SM_CALL on_delta(void *user, const sm_delta *delta) noexcept {
        auto &h = *static_cast<delta_call *>(user);
        return h.guard([&] {
            if (delta->kind == SM_DELTA_END)
                h.last.assign(delta->json, std::size_t(delta->json_length));
            return !*h.told || (*h.told)(*delta) ? 0 : 1;
        });
    }

    cancel_flag flag_;
    owned handle_;
};

} // namespace smallmind

#endif
