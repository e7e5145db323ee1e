// libsmallmind for C++17 and later: language models inside your program.
//
//     smallmind::model model("model.gguf");
//     smallmind::session session(model);
//     for (const smallmind::token &token : session.generate("Once upon a time"))
//         std::cout << token.text << std::flush;
//
// Handles are move-only and may go in any order. Whatever the library refuses is thrown as an error
// (smallmind_options.hpp has a class for each status) with its message. What a callback throws ends
// the call and comes out of it; nothing is thrown through the library. What is not wrapped here is
// reached by get(), which gives the C handle.
#ifndef SMALLMIND_HPP
#define SMALLMIND_HPP

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include "smallmind_options.hpp"

namespace smallmind {

namespace detail {

/// A call that takes an error last; throws what it says.
template <class F, class... A> void call(F function, A... arguments) {
    sm_error e = {};
    if (function(arguments..., &e) != SM_OK)
        raise(e);
}

template <class T> T sized() {
    T made = {};
    made.struct_size = sizeof made;
    return made;
}

template <class T, void(SM_CALL *Free)(T *)> struct deleter {
    void operator()(T *handle) const noexcept { Free(handle); }
};
template <class T, void(SM_CALL *Free)(T *)> using handle = std::unique_ptr<T, deleter<T, Free>>;

/// What a callback throws, kept until the call is back.
class guard {
  public:
    /// Its answer to the library: a callback that returns false ends the call.
    template <class F> std::int32_t run(F &&callback) noexcept {
        try {
            if constexpr (std::is_same_v<decltype(callback()), bool>)
                return callback() ? 0 : 1;
            else
                callback();
            return 0;
        } catch (...) {
            thrown = std::current_exception();
            return 1;
        }
    }
    /// A call whose callbacks ran in this guard.
    template <class F, class... A> void call(F function, A... arguments) {
        sm_error e = {};
        const sm_status status = function(arguments..., &e);
        if (thrown && (status == SM_OK || status == SM_ERR_CANCELLED))
            std::rethrow_exception(std::exchange(thrown, nullptr));
        if (status != SM_OK)
            raise(e);
    }

  private:
    std::exception_ptr thrown;
};

inline std::vector<sm_text> texts(const std::vector<std::string> &from) {
    std::vector<sm_text> made;
    for (const std::string &text : from)
        made.push_back({text.data(), text.size()});
    return made;
}

/// A text whose length the library tells: asked for once more where it did not fit.
template <class T, class F> T measured(std::uint64_t guess, F ask) {
    T out;
    for (std::uint64_t n = guess;;) {
        out.resize(static_cast<std::size_t>(n));
        sm_error e = {};
        const sm_status status = ask(out.data(), static_cast<std::uint64_t>(out.size()), &n, &e);
        if (status != SM_OK && status != SM_ERR_BUFFER)
            raise(e);
        out.resize(static_cast<std::size_t>(status == SM_OK ? n : 0));
        if (status == SM_OK)
            return out;
    }
}

} // namespace detail

inline std::string version() {
    return sm_version();
}

/// Ends calls: any thread, and a signal handler, may set it. It stays set until it is cleared.
class canceller {
  public:
    canceller() {
        sm_cancel *made = nullptr;
        detail::call(sm_cancel_new, &made);
        owned.reset(made);
    }
    void set(bool on = true) const noexcept { sm_cancel_set(owned.get(), on); }
    void clear() const noexcept { set(false); }
    bool is_set() const noexcept { return sm_cancel_is_set(owned.get()) != 0; }
    sm_cancel *get() const noexcept { return owned.get(); }

  private:
    detail::handle<sm_cancel, sm_cancel_free> owned;
};

/// Text to ids and back. Any number of threads may use one.
class tokenizer {
  public:
    explicit tokenizer(sm_tokenizer *taken) noexcept : owned(taken) {}
    explicit tokenizer(const std::string &path) {
        sm_tokenizer *made = nullptr;
        detail::call(sm_tokenizer_load, &made, path.c_str(), nullptr);
        owned.reset(made);
    }

    /// flags: SM_ENCODE_…
    std::vector<std::int32_t> encode(std::string_view text,
                                     std::uint32_t flags = SM_ENCODE_MARKERS) const {
        sm_encode_options how = detail::sized<sm_encode_options>();
        how.flags = flags;
        return detail::measured<std::vector<std::int32_t>>(
            2 * text.size() + 16,
            [&](std::int32_t *ids, std::uint64_t room, std::uint64_t *n, sm_error *e) {
                return sm_tokenizer_encode(owned.get(), text.data(), text.size(), &how, ids, room,
                                           n, e);
            });
    }
    /// flags: SM_DECODE_…
    std::string decode(const std::vector<std::int32_t> &ids, std::uint32_t flags = 0) const {
        return detail::measured<std::string>(
            16 * ids.size() + 64,
            [&](char *text, std::uint64_t room, std::uint64_t *n, sm_error *e) {
                return sm_tokenizer_decode(owned.get(), ids.data(), ids.size(), flags, text, room,
                                           n, e);
            });
    }
    sm_tokenizer_info info() const {
        sm_tokenizer_info found = detail::sized<sm_tokenizer_info>();
        detail::call(sm_tokenizer_get_info, owned.get(), &found);
        return found;
    }
    bool is_end(std::int32_t id) const noexcept {
        return sm_tokenizer_is_end(owned.get(), id) != 0;
    }
    sm_tokenizer *get() const noexcept { return owned.get(); }

  private:
    detail::handle<sm_tokenizer, sm_tokenizer_free> owned;
};

/// A model of a GGUF file, or of a Hugging Face directory. Any number of threads may use it.
class model {
  public:
    explicit model(const std::string &path, const model_options &options = {}) {
        detail::guard guard;
        progress_call told = {&guard, &options};
        sm_model_options given = detail::sized<sm_model_options>();
        fill(given, options);
        given.cancel_flag = options.cancel ? options.cancel->get() : nullptr;
        given.progress = options.progress ? on_progress : nullptr;
        given.progress_user = &told;
        sm_model *made = nullptr;
        guard.call(sm_model_load, &made, path.c_str(), &given);
        owned.reset(made, sm_model_free);
    }
    model(model &&) noexcept = default;
    model &operator=(model &&) noexcept = default;
    /// Texts are valid as long as the model.
    sm_model_info info() const {
        sm_model_info found = detail::sized<sm_model_info>();
        detail::call(sm_model_get_info, owned.get(), &found);
        return found;
    }
    smallmind::tokenizer tokenizer() const {
        sm_tokenizer *made = nullptr;
        detail::call(sm_model_get_tokenizer, owned.get(), &made);
        return smallmind::tokenizer(made);
    }
    sm_model *get() const noexcept { return owned.get(); }

  private:
    friend class session;
    struct progress_call {
        detail::guard *guard;
        const model_options *options;
    };
    static std::int32_t SM_CALL on_progress(void *user, std::uint64_t done, std::uint64_t total) {
        const auto *told = static_cast<progress_call *>(user);
        return told->guard->run([&] { return told->options->progress(done, total); });
    }
    std::shared_ptr<sm_model> owned; // sessions look for its chat template
};

/// A LoRA adapter for a model: a GGUF file, or a directory of PEFT's.
class adapter {
  public:
    adapter(const model &of, const std::string &path) {
        sm_adapter *made = nullptr;
        detail::call(sm_adapter_load, &made, of.get(), path.c_str(), nullptr);
        owned.reset(made);
    }
    sm_adapter_info info() const {
        sm_adapter_info found = detail::sized<sm_adapter_info>();
        detail::call(sm_adapter_get_info, owned.get(), &found);
        return found;
    }
    sm_adapter *get() const noexcept { return owned.get(); }

  private:
    detail::handle<sm_adapter, sm_adapter_free> owned;
};

/// What a text must match: a grammar, an expression, a JSON Schema.
class constraint {
  public:
    static constraint regex(const tokenizer &of, std::string_view text) {
        return constraint(of, SM_CONSTRAINT_REGEX, text);
    }
    /// GBNF, and rules that begin with themselves.
    static constraint grammar(const tokenizer &of, std::string_view text) {
        return constraint(of, SM_CONSTRAINT_GRAMMAR, text);
    }
    static constraint choices(const tokenizer &of, const std::vector<std::string> &from) {
        const auto texts = detail::texts(from);
        sm_constraint *made = nullptr;
        detail::call(sm_constraint_new_choices, &made, of.get(), texts.data(),
                     static_cast<std::uint64_t>(texts.size()), nullptr);
        return constraint(made);
    }
    /// A JSON Schema.
    static constraint schema(const tokenizer &of, std::string_view text) {
        sm_constraint *made = nullptr;
        detail::call(sm_constraint_new_schema, &made, of.get(), text.data(), text.size(), nullptr,
                     nullptr);
        return constraint(made);
    }
    sm_constraint *get() const noexcept { return owned.get(); }

  private:
    explicit constraint(sm_constraint *taken) noexcept : owned(taken) {}
    constraint(const tokenizer &of, std::uint32_t kind, std::string_view text) {
        sm_constraint *made = nullptr;
        detail::call(sm_constraint_new, &made, of.get(), kind, text.data(), text.size(), nullptr);
        owned.reset(made);
    }
    detail::handle<sm_constraint, sm_constraint_free> owned;
};

/// One generated piece; id is -1 where only text comes that had been waiting.
struct token {
    std::int32_t id = -1;
    double logprob = 0;
    std::string text;
    std::vector<sm_token_logprob> top; ///< likeliest tokens, best first: option n_logprobs
    bool in_prompt = false;            ///< option echo
};

/// What has become certain of an answer.
struct delta {
    std::uint32_t kind = 0; ///< SM_DELTA_…
    std::string text;       ///< content, reasoning, or a call's arguments, a JSON object
    std::string name;       ///< of a call
    std::string id;         ///< of a call
    std::string json;       ///< the same as a "delta" of OpenAI's chunks
};

struct message {
    std::string role;
    std::string content;
};

/// A whole answer.
struct answer {
    std::string content;
    std::string reasoning;
    std::vector<delta> calls;
    std::string json; ///< {"message": …, "finish_reason": …, "usage": …}
};

struct chat_options {
    generate_options generate = {};
    std::string tools;         ///< a JSON array as in OpenAI's API; "": none
    std::string tool_choice;   ///< "auto", "none", "required", a name; "": auto where there are
    std::string variables;     ///< more for the template, a JSON object
    std::string template_name; ///< of the model's, or a layout; "": the model's own
};

/// Messages as the JSON array that the library reads.
inline std::string json_of(const std::vector<message> &messages) {
    const auto quoted = [](const std::string &text) {
        static const char hex[] = "0123456789abcdef";
        std::string out = "\"";
        for (const char c : text) {
            const auto code = static_cast<unsigned char>(c);
            if (code < 0x20)
                (out += "\\u00") += {hex[code >> 4], hex[code & 15]};
            else
                (c == '"' || c == '\\' ? out += '\\' : out) += c;
        }
        return out + "\"";
    };
    std::string out = "[";
    for (const message &m : messages) {
        out += out.size() > 1 ? "," : "";
        out += "{\"role\":" + quoted(m.role) + ",\"content\":" + quoted(m.content) + "}";
    }
    return out + "]";
}

/// What a call tells piece by piece, as an input range: the call runs in a thread of the stream's,
/// a few pieces ahead. Destroying the stream ends the call; what the call throws comes out of the
/// iterator. One pass; the session may do nothing else meanwhile (state_error).
template <class T> class stream {
  public:
    class iterator {
      public:
        using iterator_category = std::input_iterator_tag;
        using iterator_concept = std::input_iterator_tag;
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        using pointer = const T *;
        using reference = const T &;

        iterator() = default;
        explicit iterator(stream *of) : from(of) { step(); }
        reference operator*() const { return from->current; }
        pointer operator->() const { return &from->current; }
        iterator &operator++() {
            step();
            return *this;
        }
        void operator++(int) { step(); }
        friend bool operator==(const iterator &a, const iterator &b) { return a.from == b.from; }
        friend bool operator!=(const iterator &a, const iterator &b) { return a.from != b.from; }

      private:
        void step() {
            if (!from->advance())
                from = nullptr;
        }
        stream *from = nullptr;
    };

    using teller = std::function<void(T)>;

    /// run makes the call and tells each piece; stop makes it end.
    stream(std::function<void(const teller &)> run, std::function<void(bool)> stop)
        : state(new shared), cancel(std::move(stop)) {
        thread = std::thread([s = state.get(), r = std::move(run)] { s->work(r); });
    }
    stream(stream &&) = default;
    stream &operator=(stream &&from) noexcept {
        stream old(std::move(*this)); // ends
        state = std::move(from.state);
        cancel = std::move(from.cancel);
        thread = std::move(from.thread);
        current = std::move(from.current);
        return *this;
    }
    ~stream() {
        if (thread.joinable())
            finish();
    }

    iterator begin() { return iterator(this); }
    iterator end() { return iterator(); }

  private:
    static constexpr std::size_t ahead = 64;

    struct stopped {};

    struct shared {
        std::mutex lock;
        std::condition_variable changed;
        std::deque<T> pieces;
        std::exception_ptr thrown;
        bool done = false, stop = false;

        void tell(T piece) {
            std::unique_lock<std::mutex> held(lock);
            changed.wait(held, [&] { return stop || pieces.size() < ahead; });
            if (stop)
                throw stopped();
            pieces.push_back(std::move(piece));
            changed.notify_all();
        }
        void work(const std::function<void(const teller &)> &run) noexcept {
            std::exception_ptr failure;
            try {
                run([this](T piece) { tell(std::move(piece)); });
            } catch (const stopped &) {
            } catch (...) {
                failure = std::current_exception();
            }
            const std::lock_guard<std::mutex> held(lock);
            thrown = failure;
            done = true;
            changed.notify_all();
        }
    };

    bool advance() {
        if (!state)
            return false;
        std::unique_lock<std::mutex> held(state->lock);
        state->changed.wait(held, [&] { return state->done || !state->pieces.empty(); });
        if (!state->pieces.empty()) {
            current = std::move(state->pieces.front());
            state->pieces.pop_front();
            state->changed.notify_all();
            return true;
        }
        const std::exception_ptr failure = std::exchange(state->thrown, nullptr);
        held.unlock();
        if (thread.joinable())
            thread.join(); // the session is free again when the last piece has been read
        if (failure)
            std::rethrow_exception(failure);
        return false;
    }

    void finish() noexcept {
        {
            const std::lock_guard<std::mutex> held(state->lock);
            state->stop = !state->done;
            if (state->stop)
                cancel(true);
            state->changed.notify_all();
        }
        thread.join();
        if (state->stop)
            cancel(false);
    }

    std::unique_ptr<shared> state;
    std::function<void(bool)> cancel;
    std::thread thread;
    T current;
};

/// A sequence of tokens with a model. One call at a time.
class session {
  public:
    explicit session(const model &of, const session_options &options = {})
        : mine(std::make_shared<core>(of.owned)) {
        sm_session_options given = detail::sized<sm_session_options>();
        fill(given, options);
        given.cancel_flag = mine->flag.get();
        sm_session *made = nullptr;
        detail::call(sm_session_new, &made, of.get(), &given);
        mine->handle.reset(made);
    }
    session(session &&) noexcept = default;
    session &operator=(session &&) noexcept = default;

    /// Ends the call that another thread is in, or the next one: it throws cancelled_error. A
    /// signal handler may do it, too.
    void cancel() const noexcept { mine->flag.set(); }

    std::uint32_t size() const noexcept { return sm_session_length(get()); }
    sm_session_info info() const {
        sm_session_info found = detail::sized<sm_session_info>();
        detail::call(sm_session_get_info, get(), &found);
        return found;
    }
    /// About the last text that was generated.
    sm_generate_stats stats() const {
        sm_generate_stats found = detail::sized<sm_generate_stats>();
        detail::call(sm_session_get_stats, get(), &found);
        return found;
    }
    std::vector<std::int32_t> tokens() const {
        std::vector<std::int32_t> ids(size());
        std::uint64_t n = 0;
        detail::call(sm_session_tokens, get(), 0u, ids.data(),
                     static_cast<std::uint64_t>(ids.size()), &n);
        ids.resize(static_cast<std::size_t>(n));
        return ids;
    }

    /// Appends tokens and computes them.
    void feed(const std::vector<std::int32_t> &ids) {
        mine->work([&] {
            detail::call(sm_session_feed, get(), ids.data(),
                         static_cast<std::uint64_t>(ids.size()));
        });
    }
    /// Makes the session hold exactly these tokens; how many of them it held already.
    std::uint64_t sync(const std::vector<std::int32_t> &ids) {
        std::uint64_t reused = 0;
        mine->work([&] {
            detail::call(sm_session_sync, get(), ids.data(), static_cast<std::uint64_t>(ids.size()),
                         &reused);
        });
        return reused;
    }
    void rewind(std::uint32_t length) {
        mine->work([&] { detail::call(sm_session_rewind, get(), length); });
    }
    /// After the last token; a copy.
    std::vector<float> logits() const {
        const float *first = nullptr;
        std::uint64_t n = 0;
        detail::call(sm_session_logits, get(), &first, &n);
        return std::vector<float>(first, first + n);
    }
    /// The next token by sampling options, and what the model thought of it.
    sm_token_logprob sample(const sampling_options &how = {}) {
        const sampling held(how);
        sm_choice choice = detail::sized<sm_choice>();
        detail::call(sm_session_sample, get(), &held.given, &choice);
        return {choice.id, 0, choice.logprob};
    }
    /// A second session with the same tokens.
    session fork(const fork_options &options = {}) const {
        session made(std::make_shared<core>(mine->model));
        sm_fork_options given = detail::sized<sm_fork_options>();
        fill(given, options);
        given.cancel_flag = made.mine->flag.get();
        sm_session *fork = nullptr;
        detail::call(sm_session_fork, &fork, get(), &given);
        made.mine->handle.reset(fork);
        return made;
    }
    void attach(const adapter &a, double scale = 1) {
        detail::call(sm_session_attach, get(), a.get(), scale);
    }
    void detach(const adapter &a) { detail::call(sm_session_detach, get(), a.get()); }
    void save(const std::string &path) const { detail::call(sm_session_save, get(), path.c_str()); }
    void restore(const std::string &path) {
        mine->work([&] { detail::call(sm_session_restore, get(), path.c_str()); });
    }

    /// Continues a text and tells each piece on the calling thread.
    template <class F>
    void generate(std::string_view prompt, const generate_options &options, F &&on_token) {
        mine->generate(prompt, options, on_token);
    }
    /// Continues a text: a range of tokens.
    stream<token> generate(std::string prompt, generate_options options = {}) {
        auto run = [s = mine, p = std::move(prompt), o = std::move(options)](
                       const stream<token>::teller &tell) { s->generate(p, o, tell); };
        return stream<token>(std::move(run), [s = mine](bool on) { s->flag.set(on); });
    }
    /// The whole continuation.
    std::string complete(std::string_view prompt, const generate_options &options = {}) {
        std::string text;
        generate(prompt, options, [&](const token &t) { text += t.text; });
        return text;
    }

    /// Answers messages (a JSON array as in OpenAI's API; json_of makes one) and tells each delta,
    /// the last of which (SM_DELTA_END) has the whole message.
    template <class F>
    void chat(const std::string &messages, const chat_options &options, F &&on_delta) {
        mine->chat(messages, options, on_delta);
    }
    /// Answers: a range of deltas.
    stream<delta> stream_chat(const std::vector<message> &messages, chat_options options = {}) {
        auto run = [s = mine, m = json_of(messages), o = std::move(options)](
                       const stream<delta>::teller &tell) { s->chat(m, o, tell); };
        return stream<delta>(std::move(run), [s = mine](bool on) { s->flag.set(on); });
    }
    /// The whole answer.
    answer chat(const std::vector<message> &messages, const chat_options &options = {}) {
        answer made;
        chat(json_of(messages), options, [&](const delta &d) {
            if (d.kind == SM_DELTA_CONTENT)
                made.content += d.text;
            else if (d.kind == SM_DELTA_REASONING)
                made.reasoning += d.text;
            else if (d.kind == SM_DELTA_CALL)
                made.calls.push_back(d);
            else if (d.kind == SM_DELTA_END)
                made.json = d.json;
        });
        return made;
    }
    sm_session *get() const noexcept { return mine->handle.get(); }

  private:
    /// Options of sampling as the library takes them, and what they point to.
    struct sampling {
        explicit sampling(const sampling_options &from)
            : breakers(detail::texts(from.dry_breaker_texts)) {
            fill(given, from);
            given.bias = from.bias.data();
            given.n_bias = from.bias.size();
            given.dry_breaker_texts = breakers.data();
            given.n_dry_breaker_texts = breakers.size();
        }
        std::vector<sm_text> breakers;
        sm_sampling given = detail::sized<sm_sampling>();
    };
    struct generation {
        explicit generation(const generate_options &from)
            : chosen(from.sampling), stop(detail::texts(from.stop)), ban(detail::texts(from.ban)) {
            fill(given, from);
            given.sampling = &chosen.given;
            given.stop = stop.data();
            given.n_stop = stop.size();
            given.ban = ban.data();
            given.n_ban = ban.size();
            given.constraint = from.constraint ? from.constraint->get() : nullptr;
            given.cancel_flag = from.cancel ? from.cancel->get() : nullptr;
        }
        generation(const generation &) = delete;
        generation &operator=(const generation &) = delete;
        sampling chosen;
        std::vector<sm_text> stop, ban;
        sm_generate_options given = detail::sized<sm_generate_options>();
    };

    template <class F> struct told {
        detail::guard guard;
        F &callback;
    };
    template <class F> static std::int32_t SM_CALL on_token(void *user, const sm_token *piece) {
        auto *call = static_cast<told<F> *>(user);
        return call->guard.run([&] {
            token made;
            made.id = piece->id;
            made.logprob = piece->logprob;
            made.text.assign(piece->text, static_cast<std::size_t>(piece->length));
            if (piece->top)
                made.top.assign(piece->top, piece->top + piece->n_top);
            made.in_prompt = piece->in_prompt != 0;
            return call->callback(std::move(made));
        });
    }
    template <class F> static std::int32_t SM_CALL on_delta(void *user, const sm_delta *piece) {
        auto *call = static_cast<told<F> *>(user);
        return call->guard.run([&] {
            delta made;
            made.kind = piece->kind;
            if (piece->text)
                made.text.assign(piece->text, static_cast<std::size_t>(piece->length));
            made.name = piece->name ? piece->name : "";
            made.id = piece->id ? piece->id : "";
            if (piece->json)
                made.json.assign(piece->json, static_cast<std::size_t>(piece->json_length));
            return call->callback(std::move(made));
        });
    }

    static const char *or_null(const std::string &text) {
        return text.empty() ? nullptr : text.c_str();
    }

    /// What streams keep when the session itself has gone.
    struct core {
        explicit core(std::shared_ptr<sm_model> of) : model(std::move(of)) {}

        /// A long call: the flag is cleared behind it.
        template <class F> void work(F &&call) {
            struct clearing {
                const canceller &flag;
                ~clearing() { flag.clear(); }
            } cleared = {flag};
            call();
        }
        template <class F>
        void generate(std::string_view prompt, const generate_options &options, F &&callback) {
            const generation held(options);
            told<F> call = {{}, callback};
            work([&] {
                call.guard.call(sm_session_generate, handle.get(), prompt.data(),
                                static_cast<std::uint64_t>(prompt.size()), &held.given,
                                &session::on_token<F>, static_cast<void *>(&call));
            });
        }
        template <class F>
        void chat(const std::string &messages, const chat_options &options, F &&callback) {
            const generation held(options.generate);
            sm_answer_options given = detail::sized<sm_answer_options>();
            given.generate = &held.given;
            given.tool_choice = or_null(options.tool_choice);
            given.variables = or_null(options.variables);
            const auto compiled = compile(options);
            told<F> call = {{}, callback};
            work([&] {
                call.guard.call(sm_session_chat, handle.get(), compiled.get(), messages.c_str(),
                                or_null(options.tools), &given, &session::on_delta<F>,
                                static_cast<void *>(&call));
            });
        }
        detail::handle<sm_chat, sm_chat_free> compile(const chat_options &options) const {
            sm_chat_options named = detail::sized<sm_chat_options>();
            named.template_name = or_null(options.template_name);
            sm_chat *made = nullptr;
            detail::call(sm_chat_new_from_model, &made, model.get(), &named);
            return detail::handle<sm_chat, sm_chat_free>(made);
        }

        canceller flag;
        std::shared_ptr<sm_model> model;
        detail::handle<sm_session, sm_session_free> handle;
    };

    explicit session(std::shared_ptr<core> taken) noexcept : mine(std::move(taken)) {}

    std::shared_ptr<core> mine;
};

/// Vectors and scores of texts, which are computed together and have the same bits as alone.
class encoder {
  public:
    explicit encoder(const model &of, const encoder_options &options = {})
        : flag(std::make_unique<canceller>()) {
        sm_encoder_options given = detail::sized<sm_encoder_options>();
        fill(given, options);
        given.cancel_flag = flag->get();
        sm_encoder *made = nullptr;
        detail::call(sm_encoder_new, &made, of.get(), &given);
        owned.reset(made);
    }

    /// Ends the call that another thread is in, or the next one: it throws cancelled_error. A
    /// signal handler may do it, too.
    void cancel() const noexcept { flag->set(); }

    sm_encoder_info info() const {
        sm_encoder_info found = detail::sized<sm_encoder_info>();
        detail::call(sm_encoder_get_info, get(), &found);
        return found;
    }
    /// The names of the scores of a text; "" for one that has none.
    std::vector<std::string> labels() const {
        std::vector<std::string> names(info().n_labels);
        for (std::size_t i = 0; i < names.size(); i++) {
            std::uint64_t n = 0;
            const char *name = sm_encoder_label(get(), static_cast<std::uint32_t>(i), &n);
            if (name)
                names[i].assign(name, static_cast<std::size_t>(n));
        }
        return names;
    }

    /// The vectors of texts, in their order.
    std::vector<std::vector<float>> embed(const std::vector<std::string> &texts) {
        return rows(texts, info().n_dims,
                    [&](auto... into) { detail::call(sm_encoder_embed, get(), into...); });
    }
    /// The scores of texts by labels, in their order.
    std::vector<std::vector<float>> score(const std::vector<std::string> &texts) {
        return rows(texts, info().n_labels,
                    [&](auto... into) { detail::call(sm_encoder_score, get(), into...); });
    }
    /// How well documents answer a query, the greater the better.
    std::vector<float> rerank(std::string_view query, const std::vector<std::string> &documents) {
        std::vector<float> scores;
        const auto length = static_cast<std::uint64_t>(query.size());
        for (const auto &row : rows(documents, 1, [&](auto... into) {
                 detail::call(sm_encoder_rerank, get(), query.data(), length, into...);
             }))
            scores.push_back(row[0]);
        return scores;
    }
    sm_encoder *get() const noexcept { return owned.get(); }

  private:
    /// The flag is cleared behind the call, however it ends.
    struct clearing {
        const canceller &flag;
        ~clearing() { flag.clear(); }
    };
    template <class F>
    std::vector<std::vector<float>> rows(const std::vector<std::string> &texts, std::size_t width,
                                         F fill_in) {
        const clearing behind = {*flag};
        const auto list = detail::texts(texts);
        // without labels the call says what is wrong
        std::vector<float> all(texts.size() * width + 1);
        fill_in(list.data(), static_cast<std::uint64_t>(list.size()), all.data(),
                static_cast<std::uint64_t>(all.size()));
        std::vector<std::vector<float>> made;
        for (std::size_t i = 0; i < texts.size(); i++)
            made.emplace_back(all.data() + i * width, all.data() + (i + 1) * width);
        return made;
    }
    std::unique_ptr<canceller> flag;
    detail::handle<sm_encoder, sm_encoder_free> owned;
};

} // namespace smallmind

#endif
